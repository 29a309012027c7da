"""Stands before the page: lets through what the page needs, and keeps the browser from asking other machines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_CALL_BYTES = 1 << 20  # of anything that is not an upload
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
"""What the page and its API clients use. Gradio has more doors (proxies to other hosts, development, monitoring)."""

HEADERS = {
    # Gradio compiles templates in the browser, hence unsafe-eval; nothing may come from, or go to, another host.
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


class Guard:
    """ASGI middleware.

    Args:
        app: What stands behind.
        uploads: The only folder from which the page may show a file.
        largest_upload_bytes: Of a request that uploads a video.
    """

    def __init__(self, app: ASGIApp, uploads: Path, largest_upload_bytes: int) -> None:
        self._app = app
        self._uploads = uploads
        self._largest_upload_bytes = largest_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        path = scope["path"]
        if not self._may_pass(path):
            await PlainTextResponse("not found", 404)(scope, receive, send_guarded)
            return
        largest = self._largest_upload_bytes if path == "/gradio_api/upload" else LARGEST_CALL_BYTES
        body: Receive = _BoundedBody(receive, largest)
        if _announced(scope) > largest:
            await PlainTextResponse("the request is too large", 413)(scope, receive, send_guarded)
            return
        if path == "/gradio_api/queue/join" or path.startswith("/gradio_api/call/"):
            content = await _whole(body)
            if not self._names_uploads_only(content):
                await PlainTextResponse(NO_UPLOAD, 400)(scope, receive, send_guarded)
                return
            body = _Again(content, receive)
        await self._app(scope, body, send_guarded)

    def _names_uploads_only(self, content: bytes) -> bool:
        """Whether every file that a call names is an upload: Gradio would fetch any other, and from anywhere."""
        try:
            document = json.loads(content or b"null")
        except (ValueError, RecursionError):
            return False
        return all(self._is_upload(file.get("path")) for file in _files(document))

    def _is_upload(self, path: object) -> bool:
        if not isinstance(path, str):
            return False
        asked = Path(path)
        return asked.is_absolute() and ".." not in asked.parts and asked.is_relative_to(self._uploads)

    def _may_pass(self, path: str) -> bool:
        if path.startswith(FILE_PREFIX):
            return self._is_upload(unquote(path.removeprefix(FILE_PREFIX)))
        return path.rstrip("/") in PATHS or path == "/" or path.startswith(PREFIXES)


def _announced(scope: Scope) -> int:
    """The length that a request states; 0 if none."""
    stated = dict(scope["headers"]).get(b"content-length", b"0")
    return int(stated) if stated.isdigit() else 0


def _files(document: object) -> Iterator[dict[str, Any]]:
    """What Gradio may take for a file, at any depth."""
    parts = [document]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            if "path" in part or "url" in part:
                yield part
            parts += part.values()
        elif isinstance(part, list):
            parts += part


async def _whole(receive: Receive) -> bytes:
    """A request's body; nothing if it breaks off."""
    parts = []
    while (message := await receive())["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
    return b"null"


class _Again:
    """A `receive` for a body that was read already."""

    def __init__(self, content: bytes, receive: Receive) -> None:
        self._content: bytes | None = content
        self._receive = receive

    async def __call__(self) -> Message:
        if self._content is None:
            return await self._receive()
        content, self._content = self._content, None
        return {"type": "http.request", "body": content, "more_body": False}


class _BoundedBody:
    """A request's body that breaks off where it becomes too large."""

    def __init__(self, receive: Receive, largest: int) -> None:
        self._receive = receive
        self._left = largest

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                return {"type": "http.disconnect"}
        return message
