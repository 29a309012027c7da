"""The web server: the page, uploads, results and health, without any request to other hosts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from crnet.errors import MissingDependencyError, UsageError
from crnet.serve.limits import Limits
from crnet.serve.storage import UPLOADS, Storage
from crnet.serve.worker_client import ScoringError, WorkerClient
from crnet.text.asr import FasterWhisper
from crnet.utils.extras import install_command

# Without these, Gradio would report its usage and check for updates; it reads them when it is imported.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

try:
    import gradio
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
except ImportError as error:
    raise MissingDependencyError("the web page needs Gradio", remedy=install_command("gradio")) from error

from crnet.serve.job_queue import JobQueue
from crnet.serve.middleware import SecurityMiddleware
from crnet.serve.page import make_page
from crnet.serve.uploads import Uploads

logger = logging.getLogger(__name__)

CLEANUP_INTERVAL_S = 30.0
SHUTDOWN_S = 3
READY_DELAY_S = 0.1
FORM_OVERHEAD_BYTES = 1 << 16  # of a multipart request around its file

REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".mp4": "video/mp4",
}


def serve(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    parallel_videos: int = 1,
    limits: Limits | None = None,
    encoder: str | None = None,
    asr: str | None = None,
    allow_no_face: bool = False,
    announce: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the page of a trained system until the process receives a signal to stop.

    Args:
        run: A run folder, or the bundle in it.
        host: Address to listen on; 127.0.0.1 is reachable from this machine only.
        port: Port to listen on; 0 picks a free one.
        parallel_videos: Number of videos to score at the same time; each worker holds the system in memory.
        limits: Limits for one video.
        encoder: Text encoder, as in `crnet.load`.
        asr: Speech recognition model, as in `crnet.load`; it must be on this machine.
        allow_no_face: As in `Predictor.predict`, for all videos.
        announce: Called with the page's URL once the page is ready.

    Raises:
        CrnetError: The system or the speech model is missing, the address is taken, or the disk is not writable.
    """
    limits = limits or Limits()
    if not 1 <= parallel_videos <= 64:
        raise UsageError(f"{parallel_videos} videos at once", remedy="choose 1 to 64")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(_listen(host, port))
        if asr is not None:
            FasterWhisper(asr).load()  # fail now, not when a visitor waits for it
        storage = Storage(limits)
        stack.callback(storage.close)
        workers: list[WorkerClient] = []
        for _ in range(parallel_videos):
            workers.append(WorkerClient(run, encoder, asr))
            stack.callback(workers[-1].close)
        url_host = f"[{host}]" if ":" in host else host
        url = f"http://{url_host}:{listener.getsockname()[1]}"
        queue = JobQueue(workers, storage, limits, allow_no_face=allow_no_face)
        _run(make_app(queue, on_ready=lambda: announce(url)), listener)


def _run(app: FastAPI, listener: socket.socket) -> None:
    """Run the application until the process receives a signal to stop."""
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_S)
    # Uvicorn shuts down on SIGTERM and then raises it again; the second one must not end the process before cleanup.
    previous_handler = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, previous_handler)


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


def make_app(job_queue: JobQueue, on_ready: Callable[[], None] = lambda: None) -> FastAPI:
    """Build the ASGI application: the page with its uploads, results and health check."""
    storage = job_queue.storage

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        cleanup = asyncio.create_task(_remove_expired(storage))
        ready = asyncio.get_running_loop().call_later(READY_DELAY_S, on_ready)
        yield
        ready.cancel()
        cleanup.cancel()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok")

    _add_result_route(app, storage)
    _add_upload_routes(app, storage)
    _mount_page(app, job_queue)
    app.add_middleware(
        SecurityMiddleware,
        uploads=storage.folder / UPLOADS,
        max_upload_request_bytes=job_queue.limits.max_upload_bytes + FORM_OVERHEAD_BYTES,
    )
    return app


def _add_result_route(app: FastAPI, storage: Storage) -> None:
    """Serve the files of results."""

    @app.get("/results/{token}/{name}")
    def result(token: str, name: str, download: bool = False) -> Response:
        path = storage.result(token, name)
        if path is None or path.suffix not in MEDIA_TYPES:
            return PlainTextResponse("this result does not exist or has expired", 404)
        headers = {"Cache-Control": "private, no-store"}
        if path.suffix == ".html":
            headers["Content-Security-Policy"] = REPORT_POLICY
        return FileResponse(
            path,
            media_type=MEDIA_TYPES[path.suffix],
            filename=f"crnet-{name}",
            content_disposition_type="attachment" if download else "inline",
            headers=headers,
        )


def _add_upload_routes(app: FastAPI, storage: Storage) -> None:
    """Replace Gradio's upload routes by ours, which enforce the limits."""
    uploads = Uploads(storage)

    @app.post("/gradio_api/upload")
    async def upload(request: Request, upload_id: str | None = None) -> Response:
        try:
            return JSONResponse([str(await uploads.receive(request, upload_id))])
        except ScoringError as error:
            return PlainTextResponse(str(error), 413)

    @app.get("/gradio_api/upload_progress")
    def upload_progress(upload_id: str) -> StreamingResponse:
        return StreamingResponse(uploads.progress(upload_id), media_type="text/event-stream")


def _mount_page(app: FastAPI, job_queue: JobQueue) -> None:
    """Mount the Gradio page at the root, with every optional feature off."""
    os.environ["GRADIO_TEMP_DIR"] = str(job_queue.storage.folder / UPLOADS)
    page, appearance = make_page(job_queue)
    # Gradio treats a mounted page as not launched, and then checks no path that a client sends.
    page.has_launched = True
    gradio.mount_gradio_app(
        app,
        page,
        path="/",
        show_error=False,
        max_file_size=job_queue.limits.max_upload_bytes,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        **appearance,
    )


async def _remove_expired(storage: Storage) -> None:
    while True:
        await asyncio.sleep(CLEANUP_INTERVAL_S)
        await asyncio.to_thread(storage.remove_expired)
