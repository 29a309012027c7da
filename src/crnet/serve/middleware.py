"""ASGI middleware in front of the page: blocks unused routes, bounds request bodies and adds security headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_CALL_BYTES = 1 << 20  # for every request that is not an upload
FILE_PREFIX = "/gradio_api/file="
NO_UPLOAD = "the video is not on the server (send it to /gradio_api/upload first)"

PATHS = frozenset(
    {
        "/",
        "/config",
        "/favicon.ico",
        "/healthz",
        "/manifest.json",
        "/robots.txt",
        "/theme.css",
        "/gradio_api/app_id",
        "/gradio_api/cancel",
        "/gradio_api/info",
        "/gradio_api/queue/data",
        "/gradio_api/queue/join",
        "/gradio_api/reset",
        "/gradio_api/startup-events",
        "/gradio_api/theme.css",
        "/gradio_api/upload",
        "/gradio_api/upload_progress",
    }
)
PREFIXES = ("/assets/", "/gradio_api/call/", "/gradio_api/heartbeat/", "/results/", "/static/", "/svelte/")
"""Routes that the page and its API clients use. Gradio has more: proxies to other hosts, development, monitoring."""

HEADERS = {
    # Gradio compiles templates in the browser, hence unsafe-eval. The page loads nothing from other hosts and sends
    # nothing to them.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' data: blob:; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'self'"
    ),
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class SecurityMiddleware:
    """ASGI middleware that refuses what the page does not need.

    Args:
        app: The wrapped application.
        uploads: The only folder from which the page may serve a file.
        max_upload_request_bytes: Largest body of a request that uploads a video.
    """

    def __init__(self, app: ASGIApp, uploads: Path, max_upload_request_bytes: int) -> None:
        self._app = app
        self._uploads = uploads
        self._max_upload_request_bytes = max_upload_request_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _with_headers(send)
        path = scope["path"]
        if not self._is_allowed_route(path):
            await PlainTextResponse("not found", 404)(scope, receive, send)
            return
        max_bytes = self._max_upload_request_bytes if path == "/gradio_api/upload" else MAX_CALL_BYTES
        if _content_length(scope) > max_bytes:
            await PlainTextResponse("the request is too large", 413)(scope, receive, send)
            return
        body: Receive = _LimitedBody(receive, max_bytes)
        if path == "/gradio_api/queue/join" or path.startswith("/gradio_api/call/"):
            content = await _read_body(body)
            if not self._references_uploads_only(content):
                await PlainTextResponse(NO_UPLOAD, 400)(scope, receive, send)
                return
            body = _ReplayedBody(content, receive)
        await self._app(scope, body, send)

    def _references_uploads_only(self, content: bytes) -> bool:
        """Return whether every file in a call is an upload. Gradio would fetch any other file, from any host."""
        try:
            document = json.loads(content or b"null")
        except (ValueError, RecursionError):
            return False
        return all(self._is_upload(file.get("path")) for file in _file_references(document))

    def _is_upload(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        file = Path(path)
        return file.is_absolute() and ".." not in file.parts and file.is_relative_to(self._uploads)

    def _is_allowed_route(self, path: str) -> bool:
        if path.startswith(FILE_PREFIX):
            return self._is_upload(unquote(path.removeprefix(FILE_PREFIX)))
        return path.rstrip("/") in PATHS or path == "/" or path.startswith(PREFIXES)


def _with_headers(send: Send) -> Send:
    """Wrap `send` so that every response carries `HEADERS`."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


def _content_length(scope: Scope) -> int:
    """Return the length that the request declares, or 0 if it declares none."""
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    return int(declared) if declared.isdigit() else 0


def _file_references(document: object) -> Iterator[dict[str, Any]]:
    """Yield every object in a call, at any depth, that Gradio may treat as a file."""
    pending = [document]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if "path" in value or "url" in value:
                yield value
            pending += value.values()
        elif isinstance(value, list):
            pending += value


async def _read_body(receive: Receive) -> bytes:
    """Return the body of a request, or JSON null if the client disconnects."""
    chunks = []
    while (message := await receive())["type"] == "http.request":
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)
    return b"null"


class _ReplayedBody:
    """A `receive` that replays a body that has already been read."""

    def __init__(self, content: bytes, receive: Receive) -> None:
        self._content: bytes | None = content
        self._receive = receive

    async def __call__(self) -> Message:
        if self._content is None:
            return await self._receive()
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}


class _LimitedBody:
    """A `receive` that disconnects as soon as the body exceeds its limit."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._bytes_left = max_bytes

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_left -= len(message.get("body", b""))
            if self._bytes_left < 0:
                return {"type": "http.disconnect"}
        return message
