"""Tests of clients that send or read slowly, with a real web server: they are cut off, the others are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import h11
import pytest
import uvicorn
from uvicorn.server import ServerState

from crnet.serve import http_protocol
from crnet.serve.http_protocol import TimedProtocol

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\0\0"
SHORT_S, LONG_S = 0.05, 60.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Awaitable[None]]
) -> None:
    """Read the body, then answer with as many bytes as the query says."""
    assert scope["type"] == "http"
    more = scope["path"] != "/unread"
    while more:
        more = (await receive()).get("more_body", False)
    body = bytes(int(scope["query_string"] or b"2"))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def new_config() -> uvicorn.Config:
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None, date_header=False, server_header=False)
    config.load()
    return config


@asynccontextmanager
async def serving() -> AsyncIterator[tuple[Callable[[], Awaitable[Connection]], set[Any]]]:
    """Serve the application; yield a function that connects to it, and the server's connections."""
    config, state = new_config(), ServerState()
    listener = await asyncio.get_running_loop().create_server(lambda: TimedProtocol(config, state, {}), "127.0.0.1", 0)
    async with listener:
        yield lambda: asyncio.open_connection(*listener.sockets[0].getsockname()), state.connections


async def drip(connection: Connection, content: bytes) -> None:
    """Send bytes one by one until the server ends the connection."""
    for number in range(len(content)):
        connection[1].write(content[number : number + 1])
        await connection[1].drain()
        await asyncio.sleep(SHORT_S / 5)


async def is_ended(reader: asyncio.StreamReader) -> bool:
    """Return whether the server ends the connection."""
    try:
        await asyncio.wait_for(reader.read(), 20)
    except (ConnectionError, TimeoutError) as error:
        return isinstance(error, ConnectionError)
    return True


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that sets the limits; those not named are long."""

    def set_limits(**short: float) -> None:
        monkeypatch.setattr(http_protocol, "CHECK_INTERVAL_S", 0.01)
        for name in ("MAX_HEAD_S", "MAX_BODY_S", "MAX_UNREAD_S"):
            monkeypatch.setattr(http_protocol, name, short.get(name, LONG_S))

    return set_limits


@pytest.mark.parametrize(
    ("limit", "start", "rest"),
    [
        ("MAX_HEAD_S", b"", b""),
        ("MAX_HEAD_S", HEAD, b"X-Slow: " + b"x" * 10_000),
        ("MAX_BODY_S", HEAD + b"Content-Length: 10000\r\n\r\n", b"x" * 9_999),
        ("MAX_BODY_S", HEAD.replace(b"/", b"/unread", 1) + b"Content-Length: 10000\r\n\r\n", b"x" * 9_999),
    ],
)
def test_a_request_that_arrives_byte_by_byte_ends(
    limits: Callable[..., None], limit: str, start: bytes, rest: bytes
) -> None:
    limits(**{limit: SHORT_S})

    async def scenario() -> None:
        async with serving() as (connect, _):
            reader, writer = await connect()
            writer.write(start)
            sending = asyncio.create_task(drip((reader, writer), rest))
            assert await is_ended(reader)
            sending.cancel()

    asyncio.run(scenario())


def test_a_client_that_does_not_read_its_answer_is_cut_off(limits: Callable[..., None]) -> None:
    limits(MAX_UNREAD_S=SHORT_S)

    async def scenario() -> None:
        async with serving() as (connect, connections):
            _, writer = await connect()
            writer.write(HEAD.replace(b"/", b"/?50000000", 1) + b"Content-Length: 0\r\n\r\n")
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(20):
                while not connections:
                    await asyncio.sleep(SHORT_S / 5)
                while connections:
                    await asyncio.sleep(SHORT_S / 5)
            writer.close()

    asyncio.run(scenario())


class FakeTransport(asyncio.Transport):
    """Takes every byte at once."""

    ended = False

    def abort(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return 0


def test_each_request_of_a_connection_has_its_own_time() -> None:
    now_s = 0.0
    loop = SimpleNamespace(time=lambda: now_s, call_later=lambda *_: None)
    protocol, transport = TimedProtocol(new_config(), ServerState(), {}, loop), FakeTransport()  # type: ignore[arg-type]
    protocol.connection_made(transport)
    for request in (1, 2, 3):
        for state in (h11.SEND_BODY, h11.DONE, h11.IDLE):
            protocol.cycle, protocol.conn = request, SimpleNamespace(their_state=state, trailing_data=b"x")  # type: ignore[assignment]
            protocol._check()
            now_s += http_protocol.MAX_HEAD_S - 1
            protocol._check()
            assert not transport.ended
    now_s += 2
    protocol._check()
    assert transport.ended


def test_a_connection_may_rest_between_two_requests(limits: Callable[..., None]) -> None:
    """Proxies keep connections for a minute; a request that meets the end of one is lost."""
    limits(MAX_HEAD_S=SHORT_S)

    async def scenario() -> None:
        async with serving() as (connect, _):
            reader, writer = await connect()
            for pause_s in (6 * SHORT_S, 0):
                writer.write(HEAD + b"Content-Length: 0\r\n\r\n")
                assert await reader.readexactly(len(ANSWER)) == ANSWER
                await asyncio.sleep(pause_s)
            writer.write(HEAD)  # but not in the middle of a header
            assert await is_ended(reader)

    asyncio.run(scenario())


def test_connections_beyond_the_limit_are_closed(limits: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    limits()
    monkeypatch.setattr(http_protocol, "MAX_CONNECTIONS", 2)

    async def scenario() -> None:
        async with serving() as (connect, _):
            first, second, third = [await connect() for _ in range(3)]
            assert await is_ended(third[0])
            for reader, writer in (first, second):
                writer.write(HEAD + b"Connection: close\r\nContent-Length: 1\r\n\r\nx")
                assert (await reader.read()).startswith(b"HTTP/1.1 200")

    asyncio.run(scenario())


@pytest.mark.parametrize("wait_for_the_answer", [False, True])
def test_a_body_that_is_no_http_is_no_error_of_the_server(
    wait_for_the_answer: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The application answers without reading the body, before or after the server refuses the body."""

    async def scenario() -> bytes:
        async with serving() as (connect, _):
            reader, writer = await connect()
            head = HEAD.replace(b"/", b"/unread", 1) + b"Transfer-Encoding: chunked\r\n\r\n"
            if wait_for_the_answer:
                writer.write(head)
                answer = await reader.readuntil(b"\r\n\r\n")
                writer.write(b"zz\r\n")
            else:
                answer = b""
                writer.write(head + b"zz\r\n")
            async with asyncio.timeout(20):
                return answer + await reader.read()

    with caplog.at_level("ERROR"):
        answer = asyncio.run(scenario())
    assert answer.startswith(b"HTTP/1.1 200" if wait_for_the_answer else b"HTTP/1.1 400")
    assert caplog.records == []
