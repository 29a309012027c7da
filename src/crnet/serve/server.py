"""Start and stop the service: load the workers, listen, and leave no file behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from crnet.errors import MissingDependencyError, UsageError
from crnet.serve.access import AccessPolicy
from crnet.serve.limits import Limits
from crnet.serve.storage import Storage
from crnet.serve.worker_client import WorkerClient
from crnet.text.asr import FasterWhisper
from crnet.utils.extras import install_command

try:
    import fastapi  # noqa: F401
    import prometheus_client  # noqa: F401
    import uvicorn
except ImportError as error:
    raise MissingDependencyError(
        f"the service needs the package {error.name}", remedy=install_command("fastapi")
    ) from error

from starlette.types import ASGIApp

from crnet.serve.api import Service
from crnet.serve.app import make_app
from crnet.serve.http_protocol import TimedProtocol
from crnet.serve.job_queue import JobQueue
from crnet.serve.log_format import log_as_json
from crnet.serve.uploads import Uploads

READ_RESULT_S = 2  # in which clients can read the results of the last jobs
MAX_STOP_TIMEOUT_S = 86_400
KEEP_ALIVE_S = 5  # in which a client can send another request on its connection
PROXY_KEEP_ALIVE_S = 75  # a proxy that keeps it for 60 s, as usual, would else send a request while it is being closed
SHUTDOWN_S = 3  # for open connections, after the jobs have ended


@dataclass(frozen=True)
class ServerConfig:
    """Settings of the server.

    Attributes:
        host: Address to listen on; 127.0.0.1 is reachable from this machine only.
        port: Port to listen on; 0 picks a free one.
        workers: Number of videos to score at the same time; each worker holds the system in memory.
        limits: Limits for one video and one client.
        access: Who may use the service.
        video_folder: Folder of videos that jobs may name; None: uploads only.
        allow_no_face: As in `Predictor.predict`, for all videos.
        stop_timeout_s: Seconds that running jobs get to finish when the server is stopped.
    """

    host: str = "127.0.0.1"
    port: int = 7860
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    access: AccessPolicy = field(default_factory=AccessPolicy)
    video_folder: Path | None = None
    allow_no_face: bool = False
    stop_timeout_s: float = 10.0


def serve(
    run: Path,
    config: ServerConfig,
    *,
    encoder: str | None = None,
    asr: str | None = None,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve a trained system until the process receives a signal to stop.

    Args:
        run: A run folder, or the bundle in it.
        config: Settings.
        encoder: Text encoder, as in `crnet.load`.
        asr: Speech recognition model, as in `crnet.load`; it must be on this machine.
        announce: Called with the page's URL once the page is ready.

    Raises:
        CrnetError: The system or the speech model is missing, the address is taken, or the disk is not writable.
    """
    if not 1 <= config.workers <= 64:
        raise UsageError(f"{config.workers} workers", remedy="choose 1 to 64")
    if not 0 <= config.stop_timeout_s <= MAX_STOP_TIMEOUT_S:
        raise UsageError(f"a stop timeout of {config.stop_timeout_s} s", remedy=f"choose 0 to {MAX_STOP_TIMEOUT_S} s")
    if config.video_folder is not None and not config.video_folder.is_dir():
        raise UsageError(f"{config.video_folder}: no such folder", remedy="correct --video-folder")
    with contextlib.ExitStack() as stack:
        # Also while the system loads, a signal must not end the process before the cleanup. Uvicorn raises it again.
        stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, _interrupt))
        listener = stack.enter_context(_listen(config.host, config.port))
        if asr is not None:
            FasterWhisper(asr).load()  # fail now, not when a visitor waits for it
        storage = Storage()
        stack.callback(storage.close)
        workers: list[WorkerClient] = []
        for _ in range(config.workers):
            workers.append(WorkerClient(run, encoder, asr))
            stack.callback(workers[-1].close)
        queue = JobQueue(workers, storage, config.limits, allow_no_face=config.allow_no_face)
        service = Service(queue, Uploads(storage, config.limits), config.video_folder)
        host = f"[{config.host}]" if ":" in config.host else config.host
        url = f"http://{host}:{listener.getsockname()[1]}"
        log_as_json("crnet.serve", "uvicorn", "asyncio")
        app = make_app(service, config.access, on_ready=lambda: announce(url))
        with contextlib.suppress(KeyboardInterrupt):
            _Server(_uvicorn_config(app, config.access), queue, config.stop_timeout_s).run(sockets=[listener])


def _uvicorn_config(app: ASGIApp, policy: AccessPolicy) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=TimedProtocol,
        ws="none",
        proxy_headers=False,  # `make_app` adds the operator's proxies
        timeout_keep_alive=PROXY_KEEP_ALIVE_S if policy.trusted_proxies else KEEP_ALIVE_S,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )


class _Server(uvicorn.Server):
    """Lets jobs finish before it closes; the second signal ends it at once.

    Args:
        config: Settings of uvicorn.
        queue: The jobs.
        stop_timeout_s: How long they may take.
    """

    def __init__(self, config: uvicorn.Config, queue: JobQueue, stop_timeout_s: float) -> None:
        super().__init__(config)
        self._queue = queue
        self._stop_timeout_s = stop_timeout_s
        self._stop: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See `uvicorn.Server.startup`."""
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """See `uvicorn.Server.capture_signals`. SIGHUP stops the server, too, unless the caller ignores it (nohup)."""
        hangup = getattr(signal, "SIGHUP", None)  # Windows has none
        is_main = threading.current_thread() is threading.main_thread()
        with super().capture_signals(), contextlib.ExitStack() as stack:
            if hangup is not None and is_main and signal.getsignal(hangup) != signal.SIG_IGN:
                stack.callback(signal.signal, hangup, signal.signal(hangup, self.handle_exit))
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server.handle_exit`."""
        if self._stop is None and self.started:
            self._loop.call_soon_threadsafe(self._begin_stop, sig, frame)
        else:
            super().handle_exit(sig, frame)

    def _begin_stop(self, sig: int, frame: FrameType | None) -> None:
        if self._stop is None:
            self._stop = asyncio.create_task(self._finish_jobs(sig, frame))

    async def _finish_jobs(self, sig: int, frame: FrameType | None) -> None:
        was_busy = self._queue.running > 0
        await self._queue.stop(self._stop_timeout_s)
        if was_busy:
            await asyncio.sleep(READ_RESULT_S)
        super().handle_exit(sig, frame)


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise UsageError(
            f"cannot listen on {host}:{port}: {error}", remedy="choose another --port or --host"
        ) from error
