"""HTTP connections that end when their client is too slow, so that slow clients cannot take every place."""

from __future__ import annotations

import asyncio
import contextlib
import math

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

CHECK_INTERVAL_S = 5.0
MAX_HEAD_S = 20.0  # from the opened connection, or the first byte after an answer, to the end of a request's header
MAX_IDLE_S = 90.0  # between two requests; Uvicorn's own limit is shorter (`server.PROXY_KEEP_ALIVE_S`)
MAX_BODY_S = 75.0  # longer than `uploads.CHUNK_TIMEOUT_S`, after which a client gets an answer
MAX_UNREAD_S = 60.0  # in which the client takes nothing of the answer
MAX_CONNECTIONS = 450  # further ones are closed at once; each may need a second file descriptor, and Linux gives 1024


class TimedProtocol(H11Protocol):
    """Connection to one client. It ends when a request or the reading of an answer takes too long.

    Uvicorn itself limits only the time between two requests.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol.connection_made`."""
        super().connection_made(transport)
        self._timer: asyncio.TimerHandle | None = None
        self._waits_for: tuple[object, ...] = ()
        self._waits_since_s = self._last_read_s = self.loop.time()
        self._unread_bytes = 0
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        else:
            self._check()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol.connection_lost`."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol.resume_writing`."""
        super().resume_writing()
        self._last_read_s = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, also in the middle of a request, whose answer may have begun.

        Uvicorn would send the answer of the application behind the refusal, or the refusal behind the answer; h11
        allows neither, and each would be an error of the server in the log.
        """
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        with contextlib.suppress(h11.LocalProtocolError):
            super().send_400_response(msg)
        self.transport.close()

    def _check(self) -> None:
        """End the connection if its client is too slow, else check again later."""
        now_s = self.loop.time()
        if self._sends_too_slowly(now_s) or self._reads_too_slowly(now_s):
            self.transport.abort()
        else:
            self._timer = self.loop.call_later(CHECK_INTERVAL_S, self._check)

    def _sends_too_slowly(self, now_s: float) -> bool:
        is_idle = self.cycle is not None and not self.conn.trailing_data[0]
        waits_for = (self.conn.their_state, self.cycle, is_idle)  # each request has its own cycle
        if waits_for != self._waits_for:
            self._waits_for, self._waits_since_s = waits_for, now_s
        head_s = MAX_IDLE_S if is_idle else MAX_HEAD_S
        longest_s = {h11.IDLE: head_s, h11.SEND_BODY: MAX_BODY_S}.get(self.conn.their_state, math.inf)
        return now_s - self._waits_since_s > longest_s

    def _reads_too_slowly(self, now_s: float) -> bool:
        unread_bytes = self.transport.get_write_buffer_size()
        if unread_bytes < self._unread_bytes or unread_bytes == 0:
            self._last_read_s = now_s
        self._unread_bytes = unread_bytes
        return now_s - self._last_read_s > MAX_UNREAD_S
