"""ASGI middleware in front of every route: access, security headers, metrics and the log of requests."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crnet.serve.access import Access, AccessPolicy, client_of
from crnet.serve.metrics import Metrics
from crnet.serve.problems import RETRY_SOON_S, ServiceError, http_problem

logger = logging.getLogger(__name__)

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
MAX_REQUESTS = 400  # at a time; `http_protocol.MAX_CONNECTIONS` is larger
HEALTH = "/healthz"
KEY_PREFIXES = ("/v1/", "/fragments/", "/metrics")
"""Routes that need a key, if the service has keys. The page itself then asks for one."""
RATE_PREFIXES = ("/v1/", "/fragments/", "/session")
"""Routes whose requests count for the rate, also those without a good key."""


class SecurityMiddleware:
    """Refuses what the policy does not allow, and adds the security headers to every answer.

    Args:
        app: The application.
        access: Checks requests.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access
        self._headers = security_headers(access.policy)
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or refuse it."""
        app: ASGIApp = self._app
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        try:
            self._check(scope)
        except ServiceError as error:
            app = error.response()
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}  # RFC 9110 demands it of every address; the connection omits the body
        self._running += 1
        try:
            await app(scope, receive, self._with_headers(send))
        finally:
            self._running -= 1

    def _check(self, scope: Scope) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if self._running >= MAX_REQUESTS and path != HEALTH:
            raise ServiceError(503, "busy", "the server has too many requests", retry_after_s=RETRY_SOON_S)
        if path != HEALTH:  # load balancers name a container, or nothing
            self._access.check_host(headers)
        if scope["method"] not in SAFE_METHODS:
            self._access.check_origin(headers)
        if path.startswith(RATE_PREFIXES):
            self._access.check_rate(client_of(scope))
        if path.startswith(KEY_PREFIXES) and scope["method"] != "OPTIONS":
            self._access.check_key(headers)

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        return send_with_headers


def security_headers(policy: AccessPolicy) -> dict[str, str]:
    """Return the headers of every answer that does not set its own.

    The page runs its own script and style files only, loads nothing from other hosts and sends nothing to them.
    """
    ancestors = " ".join(policy.frame_ancestors) or "'none'"
    return {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self' blob:; "
            f"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"
        ),
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
    }


class ProblemMiddleware:
    """Turns the plain text of libraries, which refuse large requests and bad ranges, into problem documents.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        is_replaced = False

        async def send_problem(message: Message) -> None:
            nonlocal is_replaced
            if message["type"] == "http.response.start" and _is_plain_error(message):
                is_replaced = True
                await http_problem(message["status"])(scope, receive, send)
            elif not is_replaced:
                await send(message)

        await self._app(scope, receive, send_problem)


def _is_plain_error(start: Message) -> bool:
    content_type = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] >= HTTPStatus.BAD_REQUEST and content_type.startswith("text/plain")


class MetricsMiddleware:
    """Counts and logs requests by route, never by address: an address holds the id of a job.

    Args:
        app: The application.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.perf_counter()
        status, watched = _watch_status(send)
        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            fields = {"method": _method(scope["method"]), "route": route, "status": status()}
            self._metrics.requests.labels(**fields).inc()
            ms = round(1000 * (time.perf_counter() - started_s))
            logger.debug("request", extra={"fields": {**fields, "ms": ms}})


def _method(name: str) -> str:
    """Return the method of a request; clients may send any word, and each would be a new time series."""
    return name if name in ("GET", "HEAD", "OPTIONS", "POST", "PATCH", "DELETE") else "other"


def _watch_status(send: Send) -> tuple[Callable[[], int], Send]:
    """Return a function that returns the status of the answer (500 if there is none), and the `send` that watches."""
    seen: list[int] = []

    async def watched(message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.append(message["status"])
        await send(message)

    return lambda: seen[0] if seen else 500, watched
