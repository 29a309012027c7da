"""Routes of the page: HTML, its script and style, and the login if the service has keys."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from crnet.serve import render
from crnet.serve.access import Access
from crnet.serve.api import Service
from crnet.serve.api_reference import documents, operations
from crnet.serve.problems import ServiceError
from crnet.serve.schemas import MAX_TRANSCRIPT_CHARACTERS, Session
from crnet.types import TRAINED_ON_SYNTHETIC_PEOPLE


def add_page(app: FastAPI, service: Service, access: Access) -> None:
    """Add the routes of the page to an application."""
    app.include_router(_pages(app, service, access), include_in_schema=False)
    app.include_router(_fragments(service), prefix="/fragments", include_in_schema=False)
    app.mount("/static", StaticFiles(directory=str(files("crnet.serve") / "static")), name="static")


def _pages(app: FastAPI, service: Service, access: Access) -> APIRouter:
    router = APIRouter(default_response_class=HTMLResponse)

    def page(template: str, request: Request, **values: Any) -> str:
        if not access.is_known(request.headers):
            template, values = "login.html", {}
        info = service.job_queue.system_info
        warning = TRAINED_ON_SYNTHETIC_PEOPLE if info["training_source"] == "simulated" else None
        return render.page(
            template,
            limits=service.job_queue.limits,
            synthetic_warning=warning,
            system={**info, "max_transcript": MAX_TRANSCRIPT_CHARACTERS},
            **values,
        )

    @router.get("/")
    async def one_video(request: Request) -> str:
        return page("one_video.html", request, current="one")

    @router.get("/compare")
    async def two_videos(request: Request) -> str:
        return page("two_videos.html", request, current="two")

    @router.get("/docs")
    async def docs(request: Request) -> str:
        keys = bool(access.policy.keys)
        values = {"server": str(request.base_url).rstrip("/"), "keys": keys}
        return page(
            "docs.html",
            request,
            current="docs",
            keys=keys,
            curl=render.page("curl_example.txt", **values),
            python=render.page("python_example.txt", **values),
            operations=operations(app.openapi()),
            documents=documents(app.openapi()),
        )

    @router.post("/session")
    async def start_session(session: Session, request: Request) -> Response:
        if not access.is_key(session.key):
            raise ServiceError(401, "key-required", "this is not one of the server's keys")
        return Response(status_code=204, headers={"Set-Cookie": access.new_session(request.headers)})

    return router


def _fragments(service: Service) -> APIRouter:
    """Return the routes that answer with a part of a page, which the script inserts."""
    router = APIRouter(default_response_class=HTMLResponse)
    job_queue = service.job_queue

    @router.get("/jobs/{job_id}/scores")
    async def scores(job_id: str) -> str:
        job = job_queue.get(job_id)
        _require(job.has_scores)
        return render.scores(job, job_queue.storage)

    @router.get("/jobs/{job_id}/explanation")
    async def explanation(job_id: str) -> str:
        job = job_queue.get(job_id)
        _require(job.state == "done" and render.EXPLANATION_JSON in job.files)
        return render.explanation(job, job_queue.storage)

    @router.get("/compare/{first}/{second}")
    async def comparison(first: str, second: str) -> str:
        jobs = (job_queue.get(first), job_queue.get(second))
        _require(all(job.has_scores for job in jobs))
        return render.comparison(jobs, job_queue.storage)

    return router


def _require(is_ready: bool) -> None:
    if not is_ready:
        raise ServiceError(409, "not-ready", "this result is not ready yet")
