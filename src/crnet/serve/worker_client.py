"""Client side of the worker process: send jobs, relay progress, kill what takes too long."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import crnet.errors
from crnet.errors import CrnetError
from crnet.serve.progress import MessageHandler
from crnet.serve.worker import BUG, OUT_OF_MEMORY, OUT_OF_MEMORY_REMEDY, ScoringJob
from crnet.utils.job_limits import BYTES_PER_MB, POLL_INTERVAL_S, resident_bytes

logger = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0  # enough to load a system from a slow disk
EXIT_TIMEOUT_S = 10.0
MAX_LINE_BYTES = 8 << 20
MAX_GREETING_BYTES = 1 << 16
CRASHED = "the process that read this video crashed: the video is damaged or needs more memory than the server allows"


class ScoringError(CrnetError):
    """A visitor's video was not scored; the text is for the visitor."""


class WorkerClient:
    """Handle of a worker process with a loaded system, which scores one video at a time.

    Args:
        run: A run folder, or the bundle in it.
        encoder: Text encoder, as in `crnet.load`.
        asr: Speech recognition model, as in `crnet.load`.

    Raises:
        CrnetError: The system is missing or damaged.
    """

    def __init__(self, run: Path, encoder: str | None = None, asr: str | None = None) -> None:
        self._settings = json.dumps({"run": str(run), "encoder": encoder, "asr": asr})
        self.system_info = self._start()

    def _start(self) -> dict[str, Any]:
        self._jobs, worker_end = socket.socketpair()
        lifeline, server_end = os.pipe()
        self._lifeline = os.fdopen(server_end, "wb")  # closes when this process ends, however it does
        with worker_end:
            command = [sys.executable, "-m", "crnet.serve.worker", self._settings, str(lifeline)]
            # A new session: Ctrl-C in a terminal ends the server, which then ends the worker.
            self._process = subprocess.Popen(  # noqa: S603
                command, stdin=worker_end.fileno(), pass_fds=[lifeline], start_new_session=True
            )
        os.close(lifeline)
        self._jobs.settimeout(START_TIMEOUT_S)
        try:
            greeting = json.loads(self._jobs.recv(MAX_GREETING_BYTES) or b"{}")
        except TimeoutError:
            greeting = {}
        self._jobs.settimeout(None)
        if "ready" in greeting:
            return dict(greeting["ready"])
        self.close()
        kind = getattr(crnet.errors, str(greeting.get("kind")), CrnetError)
        reason = greeting.get("reason") or "the scoring process did not start"
        raise kind(reason, path=greeting.get("path"), remedy=greeting.get("remedy"))

    @property
    def pid(self) -> int:
        """Process id of the worker."""
        return self._process.pid

    def close(self) -> None:
        """End the worker and the job it runs."""
        self._jobs.close()
        try:
            self._process.wait(EXIT_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._lifeline.close()

    async def score(self, folder: Path, job: ScoringJob, on_progress: MessageHandler) -> None:
        """Score the video in a job folder; cancelling the task kills the process that scores it.

        Args:
            folder: Holds the video as `VIDEO_FILE`; the files of the result go to its `OUT_FOLDER`.
            job: What to do with the video.
            on_progress: Called with `{"task", "done", "total", "note"}` as the work advances, and with `SCORES_READY`.

        Raises:
            ScoringError: The video cannot be scored; the text is for the visitor.
        """
        job.write(folder)
        messages, worker_end = os.pipe()
        try:
            await self._send(folder, worker_end)
            child = _ChildProcess(on_progress, await _line_reader(messages))
        except BaseException:
            os.close(messages)
            raise
        finally:
            os.close(worker_end)
        watch = asyncio.create_task(child.watch_memory(job.limits.max_memory_mb * BYTES_PER_MB))
        try:
            async with asyncio.timeout(job.limits.max_time_s):
                await child.listen()
        except TimeoutError:
            raise ScoringError(
                f"scoring took longer than {job.limits.max_time_s:.0f} s",
                remedy="send a shorter video or one with a lower resolution",
            ) from None
        finally:
            watch.cancel()
            # Also after the visitor has gone: the next job must not wait for this one.
            await child.end()
        child.check()

    async def _send(self, folder: Path, pipe: int) -> None:
        try:
            socket.send_fds(self._jobs, [str(folder).encode()], [pipe])
        except OSError:
            logger.warning("the scoring process ended with code %s; restarting it", self._process.poll())
            await asyncio.to_thread(self._restart)
            socket.send_fds(self._jobs, [str(folder).encode()], [pipe])

    def _restart(self) -> None:
        self.close()
        self.system_info = self._start()


class _ChildProcess:
    """State of the process that scores one video, built from its messages."""

    def __init__(self, on_progress: MessageHandler, reader: asyncio.StreamReader) -> None:
        self._on_progress = on_progress
        self._reader = reader
        self._pid: int | None = None
        self._shared_bytes = 0
        self._exit_code: int | None = None
        self._ending = False
        self._done = False
        self._error: str | None = None

    async def listen(self) -> None:
        """Read messages until the process has ended."""
        while line := await self._reader.readline():
            # A killed child leaves half a line.
            with contextlib.suppress(ValueError):
                self._handle(json.loads(line))

    async def watch_memory(self, limit_bytes: int) -> None:
        """Kill the process as soon as its memory exceeds the limit; what the fork shares with its parent is free."""
        while True:
            await asyncio.sleep(POLL_INTERVAL_S)
            if resident_bytes(self._pid) > self._shared_bytes + limit_bytes:
                self._kill()

    def _handle(self, message: dict[str, Any]) -> None:
        match message:
            case {"pid": pid}:
                self._pid = pid
                self._shared_bytes = resident_bytes(pid)
                if self._ending:
                    self._kill()
            case {"exit": exit_code}:
                self._pid, self._exit_code = None, exit_code
            case {"result": _}:
                self._done = True
            case {"error": sentence}:
                self._error = sentence
            case _:
                self._on_progress(message)

    async def end(self) -> None:
        """Kill the process if it still runs, and wait for it."""
        self._ending, self._on_progress = True, lambda _: None
        self._kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.listen(), EXIT_TIMEOUT_S)

    def _kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    def check(self) -> None:
        """Check that the process has done its job.

        Raises:
            ScoringError: It has not.
        """
        if self._error is not None:
            raise ScoringError(self._error)
        if self._done:
            return
        logger.warning("a scoring process ended with code %s and no result", self._exit_code)
        if self._exit_code in (-signal.SIGKILL, -signal.SIGXCPU):
            raise ScoringError(OUT_OF_MEMORY, remedy=OUT_OF_MEMORY_REMEDY)
        if self._exit_code is not None and self._exit_code < 0:
            raise ScoringError(CRASHED, remedy=OUT_OF_MEMORY_REMEDY)
        raise ScoringError(BUG)


async def _line_reader(descriptor: int) -> asyncio.StreamReader:
    """Return a stream of the lines that arrive on a pipe."""
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader
