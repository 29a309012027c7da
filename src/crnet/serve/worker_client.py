"""Our side of the worker: orders go out, progress comes back, and what takes too long is killed."""

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
from crnet.serve.worker import BUG, OUT_OF_MEMORY, OUT_OF_MEMORY_REMEDY, Order, Tell

logger = logging.getLogger(__name__)

START_S = 300.0  # for loading a system from a slow disk
PATIENCE_S = 10.0  # for a process that was told to end
LONGEST_LINE_BYTES = 8 << 20
LONGEST_GREETING_BYTES = 1 << 16
CRASHED = "the process that read this video has crashed: it is damaged, or needs more memory than the server grants"


class ScoringError(CrnetError):
    """A video of a visitor was not scored; the text is for the visitor."""


class Scorer:
    """A worker process with a loaded system. It scores one video at a time.

    Args:
        run: A run folder, or the bundle in it.
        encoder, asr: Text encoder and speech recognition, as in `crnet.load`.

    Raises:
        CrnetError: No system there, or a damaged one.
    """

    def __init__(self, run: Path, encoder: str | None = None, asr: str | None = None) -> None:
        self._asked = json.dumps({"run": str(run), "encoder": encoder, "asr": asr})
        self.facts = self._start()

    def _start(self) -> dict[str, Any]:
        self._orders, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "crnet.serve.worker", self._asked]
            # Its own session: Ctrl-C in a terminal ends the server, which then ends it.
            self._process = subprocess.Popen(command, stdin=theirs.fileno(), start_new_session=True)  # noqa: S603
        self._orders.settimeout(START_S)
        try:
            greeting = json.loads(self._orders.recv(LONGEST_GREETING_BYTES) or b"{}")
        except TimeoutError:
            greeting = {}
        self._orders.settimeout(None)
        if "ready" in greeting:
            return dict(greeting["ready"])
        self.close()
        kind = getattr(crnet.errors, str(greeting.get("kind")), CrnetError)
        reason = greeting.get("reason") or "the scoring process did not start"
        raise kind(reason, path=greeting.get("path"), remedy=greeting.get("remedy"))

    @property
    def pid(self) -> int:
        """Process number of the worker."""
        return self._process.pid

    def close(self) -> None:
        """End the worker and what it works on."""
        self._orders.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def score(self, folder: Path, order: Order, tell: Tell) -> dict[str, Any]:
        """Score the video in a job's folder; cancelled, it kills the process that does.

        Args:
            folder: Holds the video as `VIDEO_FILE`; the result's files come into its `OUT_FOLDER`.
            order: What to do.
            tell: Called with `{"task", "done", "total", "note"}` as work goes on.

        Returns:
            What the worker's `score` returned.

        Raises:
            ScoringError: It cannot be scored, with the reason for the visitor.
        """
        order.write(folder)
        answers, theirs = os.pipe()
        try:
            await self._send(folder, theirs)
            child = _Child(tell, await _reader(answers))
        except BaseException:
            os.close(answers)
            raise
        finally:
            os.close(theirs)
        try:
            async with asyncio.timeout(order.limits.time_s):
                await child.listen()
        except TimeoutError:
            raise ScoringError(
                f"the video took longer than {order.limits.time_s:.0f} s", remedy="send a shorter or smaller one"
            ) from None
        finally:
            # Also when the visitor has gone: whoever comes next must not wait for this one.
            await child.end()
        return child.outcome()

    async def _send(self, folder: Path, pipe: int) -> None:
        try:
            socket.send_fds(self._orders, [str(folder).encode()], [pipe])
        except OSError:
            logger.warning("the scoring process has ended with code %s and is started again", self._process.poll())
            await asyncio.to_thread(self._restart)
            socket.send_fds(self._orders, [str(folder).encode()], [pipe])

    def _restart(self) -> None:
        self.close()
        self.facts = self._start()


class _Child:
    """The process of one video, as far as its messages tell."""

    def __init__(self, tell: Tell, reader: asyncio.StreamReader) -> None:
        self._tell = tell
        self._reader = reader
        self._pid: int | None = None
        self._exit: int | None = None
        self._ending = False
        self._result: dict[str, Any] | None = None
        self._error: str | None = None

    async def listen(self) -> None:
        """Read messages until there are no more: then the process has ended."""
        while line := await self._reader.readline():
            # A child that was killed leaves half a line.
            with contextlib.suppress(ValueError):
                self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        match message:
            case {"pid": pid}:
                self._pid = pid
                if self._ending:
                    self._kill()
            case {"exit": code}:
                self._pid, self._exit = None, code
            case {"result": result}:
                self._result = result
            case {"error": sentence}:
                self._error = sentence
            case _:
                self._tell(message)

    async def end(self) -> None:
        """Kill the process if it still runs, and wait for it."""
        self._ending, self._tell = True, lambda _: None
        self._kill()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.listen(), PATIENCE_S)

    def _kill(self) -> None:
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)

    def outcome(self) -> dict[str, Any]:
        """The result.

        Raises:
            ScoringError: There is none.
        """
        if self._error is not None:
            raise ScoringError(self._error)
        if self._result is not None:
            return self._result
        logger.warning("a scoring process has ended with code %s without a result", self._exit)
        if self._exit in (-signal.SIGKILL, -signal.SIGXCPU):
            raise ScoringError(OUT_OF_MEMORY, remedy=OUT_OF_MEMORY_REMEDY)
        if self._exit is not None and self._exit < 0:
            raise ScoringError(CRASHED, remedy=OUT_OF_MEMORY_REMEDY)
        raise ScoringError(BUG)


async def _reader(descriptor: int) -> asyncio.StreamReader:
    """A stream of the lines that come out of a pipe."""
    reader = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader
