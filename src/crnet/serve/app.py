"""The ASGI application: REST API, page, health and metrics behind the middleware."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.routing import BaseRoute, compile_path
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

import crnet
from crnet.serve import schemas
from crnet.serve.access import Access, AccessPolicy
from crnet.serve.api import Service, errors, make_router
from crnet.serve.metrics import CONTENT_TYPE, Metrics
from crnet.serve.middleware import HEALTH, MetricsMiddleware, ProblemMiddleware, SecurityMiddleware, security_headers
from crnet.serve.page import add_page
from crnet.serve.problems import ServiceError, http_problem, problem_response

CLEANUP_INTERVAL_S = 15.0
MAX_CALL_BYTES = 3 << 20  # of every request that is not a chunk of an upload; the longest transcript fits
MAX_DETAIL_CHARACTERS = 1000  # an error repeats what the client sent
NO_JSON = "the request has no JSON document (send one with the header Content-Type: application/json)"
DESCRIPTION = (
    "Scores the first impression that a person in a video makes. Requests are queued. Do not use the scores to make "
    "decisions about people."
)


def make_app(service: Service, policy: AccessPolicy, on_ready: Callable[[], None] = lambda: None) -> FastAPI:
    """Build the application.

    Args:
        service: Queue and uploads.
        policy: Who may use it.
        on_ready: Called once the application serves requests.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        cleanup = asyncio.create_task(_remove_expired(service))
        asyncio.get_running_loop().call_soon(on_ready)
        yield
        cleanup.cancel()
        await service.job_queue.stop(0)

    app = FastAPI(
        title="crnet",
        version=crnet.__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False},
        generate_unique_id_function=_operation_id,
    )
    access, metrics = Access(policy), Metrics(service.job_queue, service.uploads)
    app.include_router(make_router(service))
    _add_operation_routes(app, metrics)
    add_page(app, service, access)
    _add_error_handlers(app, policy)
    _complete_openapi(app.openapi(), service, policy)
    app.add_middleware(RequestBodyLimitMiddleware, max_body_size=MAX_CALL_BYTES)
    app.add_middleware(ProblemMiddleware)
    app.add_middleware(MetricsMiddleware, metrics=metrics)
    app.add_middleware(SecurityMiddleware, access=access)
    if policy.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=policy.allowed_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Upload-Offset"],
            expose_headers=["Location", "Retry-After"],
        )
    if policy.trusted_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=list(policy.trusted_proxies))
    return app


def _operation_id(route: BaseRoute) -> str:
    """Return the name of a route's function, after which generated clients name theirs."""
    return str(getattr(route, "name", ""))


def _complete_openapi(document: dict[str, Any], service: Service, policy: AccessPolicy) -> None:
    """Add to the OpenAPI document what FastAPI cannot know."""
    if policy.keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        document["paths"][HEALTH]["get"]["security"] = []
    definitions = document["components"]["schemas"]
    definitions["Problem"] = schemas.Problem.model_json_schema()
    definitions["NewUpload"]["properties"]["size"]["maximum"] = service.job_queue.limits.max_upload_bytes
    # FastAPI uses a keyword of OpenAPI 3.2 for server-sent events, but declares 3.1, where they cannot be described.
    events = document["paths"]["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]
    events["text/event-stream"] = {}


def _add_operation_routes(app: FastAPI, metrics: Metrics) -> None:
    @app.get(HEALTH, tags=["operation"])
    async def healthz() -> schemas.Health:
        """Report that the server is running."""
        return schemas.Health()

    @app.get(
        "/metrics",
        tags=["operation"],
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **errors()},
    )
    async def read_metrics() -> Response:
        """Return metrics in Prometheus' text format."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)


def _add_error_handlers(app: FastAPI, policy: AccessPolicy) -> None:
    """Answer every error with a problem document."""
    headers_of_bugs = security_headers(policy)  # their answers do not pass the middleware

    @app.exception_handler(ServiceError)
    async def service_error(_: Request, error: ServiceError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> Response:
        if any(isinstance(entry.get("input"), bytes) for entry in error.errors()):
            return problem_response(422, "invalid-request", NO_JSON)
        reasons = [f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors()]
        return problem_response(422, "invalid-request", "; ".join(reasons)[:MAX_DETAIL_CHARACTERS])

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(_methods(app, request.url.path)) or headers.get("Allow", "")
        return http_problem(error.status_code, headers)

    @app.exception_handler(ClientDisconnect)
    async def client_left(_: Request, __: ClientDisconnect) -> Response:
        return problem_response(400, "incomplete-request", "the connection was closed in the middle of the request")

    @app.exception_handler(Exception)
    async def bug(_: Request, __: Exception) -> Response:
        return problem_response(
            500,
            "internal-error",
            "internal error; the server's administrator can find it in the log",
            headers_of_bugs,
        )


def _methods(app: FastAPI, path: str) -> list[str]:
    """Return every method of a path in the API; Starlette names only those of the first route."""
    paths = app.openapi()["paths"].items()
    return sorted(
        {name.upper() for template, names in paths if compile_path(template)[0].match(path) for name in names}
    )


async def _remove_expired(service: Service) -> None:
    while True:
        await asyncio.sleep(CLEANUP_INTERVAL_S)
        with contextlib.suppress(OSError):
            service.job_queue.remove_expired()
            service.uploads.remove_expired()
