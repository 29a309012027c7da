"""Routes of the REST API, `/v1`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, BinaryIO

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import FileResponse, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from starlette.types import Receive, Scope, Send

from crnet.serve import schemas
from crnet.serve.access import client_of
from crnet.serve.job_queue import JobQueue
from crnet.serve.jobs import Job, JobRequest
from crnet.serve.problems import MEDIA_TYPE, RETRY_SOON_S, ServiceError, not_found
from crnet.serve.storage import display_name
from crnet.serve.uploads import Upload, Uploads
from crnet.serve.worker import PREDICTION_JSON
from crnet.utils.files import require_regular_file

REPORT_POLICY = "sandbox; default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".mp4": "video/mp4",
}
CHUNK_TYPE = "application/octet-stream"
MAX_FOLLOWERS = 10  # of one job: each holds a connection until the job ends

Errors = dict[int | str, dict[str, Any]]


@dataclass(frozen=True)
class Service:
    """The parts of the service that the routes use.

    Attributes:
        job_queue: All jobs.
        uploads: All uploads without a job.
        video_folder: The operator's folder of videos that jobs may name; None: there is none.
    """

    job_queue: JobQueue
    uploads: Uploads
    video_folder: Path | None = None


def errors(*statuses: int) -> Errors:
    """Return the documentation of the errors of a route. Every route may also answer the ones of the middleware."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    always = (400, 401, 403, 421, 422, 429, 503)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in sorted({*always, *statuses})
    }


def make_router(service: Service) -> APIRouter:
    """Return the routes of the API."""
    router = APIRouter(prefix="/v1")
    _add_upload_routes(router, service.uploads, service.job_queue.limits.max_upload_bytes)
    _add_job_routes(router, service)
    _add_result_routes(router, service.job_queue)
    return router


def _add_upload_routes(router: APIRouter, uploads: Uploads, max_chunk_bytes: int) -> None:
    @router.post("/uploads", status_code=201, tags=["uploads"], responses=errors(413))
    async def create_upload(new: schemas.NewUpload, request: Request, response: Response) -> schemas.UploadState:
        """Reserve space for a video."""
        upload = uploads.create(new.name, new.size, client_of(request.scope))
        response.headers["Location"] = f"/v1/uploads/{upload.id}"
        return _upload_state(upload)

    @router.patch(
        "/uploads/{upload_id}",
        tags=["uploads"],
        responses=errors(404, 408, 409, 413),
        max_body_size=max_chunk_bytes,
        openapi_extra={
            "requestBody": {
                "required": False,  # an empty chunk is one too
                "content": {CHUNK_TYPE: {"schema": {"type": "string", "format": "binary"}}},
            }
        },
    )
    async def append_to_upload(
        upload_id: str, request: Request, upload_offset: Annotated[int, Header(ge=0)] = 0
    ) -> schemas.UploadState:
        """Send the whole file or its next chunk. After a broken connection, ask for the offset and continue there."""
        return _upload_state(await uploads.append(upload_id, upload_offset, request.stream()))

    @router.get("/uploads/{upload_id}", tags=["uploads"], responses=errors(404))
    async def read_upload(upload_id: str) -> schemas.UploadState:
        """Return how much of an upload has arrived."""
        return _upload_state(uploads.get(upload_id))

    @router.delete("/uploads/{upload_id}", status_code=204, tags=["uploads"], responses=errors(404))
    async def delete_upload(upload_id: str) -> None:
        """Delete an upload."""
        uploads.delete(upload_id)


def _add_job_routes(router: APIRouter, service: Service) -> None:
    job_queue = service.job_queue

    async def find_job(job_id: str) -> Job:
        return job_queue.get(job_id)

    job_by_id = Depends(find_job)

    async def find_job_to_follow(job: Job = job_by_id) -> AsyncIterator[Job]:
        if job.followers >= MAX_FOLLOWERS:
            raise ServiceError(
                429,
                "too-many-followers",
                f"{MAX_FOLLOWERS} clients already follow this job",
                retry_after_s=RETRY_SOON_S,
            )
        job.followers += 1
        try:
            yield job
        finally:  # once the answer has ended
            job.followers -= 1

    job_to_follow = Depends(find_job_to_follow)

    @router.post("/jobs", status_code=202, tags=["jobs"], responses=errors(404, 409))
    async def create_job(new: schemas.NewJob, response: Response) -> schemas.JobState:
        """Put a video in the queue."""
        job_queue.require_space()
        if isinstance(new, schemas.UploadJob):
            upload = service.uploads.take(new.upload)
            job = job_queue.submit(JobRequest(upload.name, new.transcript, new.explain), upload.path)
        else:
            video = find_video(service, new.path)
            request = JobRequest(display_name(video.name), new.transcript, new.explain)
            job = job_queue.submit(request, video, is_upload=False)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return job_state(job)

    @router.get("/jobs/{job_id}", tags=["jobs"], responses=errors(404))
    async def read_job(job: Job = job_by_id) -> schemas.JobState:
        """Return the state of a job."""
        return job_state(job)

    @router.get("/jobs/{job_id}/events", tags=["jobs"], response_class=EventSourceResponse, responses=errors(404))
    async def follow_job(job: Job = job_to_follow) -> AsyncIterator[ServerSentEvent]:
        """Follow a job: server-sent events of the kind "job" with its state, until it has ended."""
        async for _ in job.updates():
            yield ServerSentEvent(event="job", id=str(job.version), data=job_state(job))

    @router.post("/jobs/{job_id}/cancel", tags=["jobs"], responses=errors(404))
    async def cancel_job(job: Job = job_by_id) -> schemas.JobState:
        """Stop a job and delete its video. Scores that are known can still be read."""
        await job_queue.cancel(job)
        return job_state(job)

    @router.delete("/jobs/{job_id}", status_code=204, tags=["jobs"], responses=errors(404))
    async def delete_job(job: Job = job_by_id) -> None:
        """Stop a job and delete everything that belongs to it."""
        await job_queue.delete(job)


def _add_result_routes(router: APIRouter, job_queue: JobQueue) -> None:
    @router.get("/jobs/{job_id}/result", tags=["results"], response_model=schemas.Result, responses=errors(404, 409))
    async def read_result(job_id: str) -> Response:
        """Return the scores, as soon as the job has them."""
        return _file(job_queue, job_id, PREDICTION_JSON)

    @router.get(
        "/jobs/{job_id}/files/{name}",
        tags=["results"],
        response_class=FileResponse,
        responses={
            200: {"content": {kind.split(";")[0]: {} for kind in MEDIA_TYPES.values()}},
            **errors(404, 409, 416),
        },
    )
    async def read_result_file(job_id: str, name: str, download: bool = False) -> Response:
        """Return a file of the result: prediction.json, prediction.csv, report.html, or a picture."""
        return _file(job_queue, job_id, name, download=download)


def find_video(service: Service, path: str) -> Path:
    """Return a file of the operator's folder of videos.

    Raises:
        ServiceError: There is no such folder or file, the file is outside after links, or it is too large.
    """
    if service.video_folder is None:
        raise ServiceError(403, "no-video-folder", "this server scores uploads only")
    folder = service.video_folder.resolve()
    try:
        video = (folder / path).resolve()
        if not video.is_relative_to(folder):
            raise not_found("video")
        require_regular_file(video)
        size_bytes = video.stat().st_size
    except (OSError, ValueError):
        raise not_found("video") from None
    limits = service.job_queue.limits
    if size_bytes > limits.max_upload_bytes:
        raise ServiceError(413, "too-large", f"the file is larger than {limits.max_upload_mb} MB")
    return video


def job_state(job: Job) -> schemas.JobState:
    """Return the document of a job."""
    return schemas.JobState(
        id=job.id,
        state=job.state,
        name=job.request.name,
        explain=job.request.explain,
        videos_ahead=job.videos_ahead,
        progress=schemas.Progress(
            task=job.task, note=job.note, scores=job.score_progress, explanation=job.explanation_progress
        ),
        has_scores=job.has_scores,
        error=job.error,
        files=[
            schemas.ResultFile(name=name, url=file_url(job, name), media_type=media_type(name)) for name in job.files
        ],
        seconds_to_scores=job.first_scores_s,
        seconds=None if job.finished_s is None else job.finished_s - job.created_s,
    )


def file_url(job: Job, name: str) -> str:
    """Return the address of a file of a result, without host."""
    return f"/v1/jobs/{job.id}/files/{name}"


def media_type(name: str) -> str:
    """Return the media type of a file of a result."""
    return MEDIA_TYPES.get(Path(name).suffix, CHUNK_TYPE)


def _upload_state(upload: Upload) -> schemas.UploadState:
    return schemas.UploadState(id=upload.id, size=upload.size_bytes, offset=upload.received_bytes)


def _file(job_queue: JobQueue, job_id: str, name: str, *, download: bool = False) -> Response:
    """Return a file of a result.

    Raises:
        ServiceError: There is no such job or file, or not yet.
    """
    job = job_queue.get(job_id)
    path = job_queue.storage.result_file(job_id, name) if name in job.files else None
    if path is None:
        if not job.is_final:
            raise ServiceError(409, "not-ready", "this result is not ready yet", remedy="follow its events")
        raise not_found("result")
    headers = {"Content-Security-Policy": REPORT_POLICY} if path.suffix == ".html" else {}
    return _OpenFileResponse(
        path.open("rb"),
        media_type=media_type(name),
        filename=f"crnet-{name}",
        content_disposition_type="attachment" if download else "inline",
        headers={"Cache-Control": "no-store", **headers},
    )


class _OpenFileResponse(FileResponse):
    """Sends a file that is already open, and can therefore be deleted before its last byte has been sent.

    Args:
        file: The file, which this response closes.
        options: As in `FileResponse`.
    """

    def __init__(self, file: BinaryIO, **options: Any) -> None:
        self._file = file
        super().__init__(f"/dev/fd/{file.fileno()}", stat_result=os.fstat(file.fileno()), **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `FileResponse`."""
        with self._file:
            await super().__call__(scope, receive, send)
