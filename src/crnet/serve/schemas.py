"""Documents of the API, as pydantic models: they validate requests and describe the answers in `/openapi.json`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from crnet.serve.jobs import State
from crnet.text.encoder_interface import LONGEST_TEXT_CHARACTERS
from crnet.types import SCALE

Score = Annotated[float, Field(ge=0, le=1)]
Scores = dict[str, float]
MAX_TRANSCRIPT_CHARACTERS = 4 * LONGEST_TEXT_CHARACTERS


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_many_fields(cls, document: Any) -> Any:
        """Refuse a document of thousands of unknown fields with one error instead of one for each."""
        if isinstance(document, dict) and len(document) > 2 * len(cls.model_fields):
            raise ValueError("too many fields")
        return document


class NewUpload(_Request):
    """An upload to reserve."""

    name: str = Field(max_length=1000, description="Name of the file, for display only.")
    size: int = Field(ge=1, le=1 << 40, description="Size of the whole file in bytes.")


class UploadState(BaseModel):
    """An upload that arrives, or waits for its job."""

    id: str
    size: int = Field(description="Size of the whole file in bytes.")
    offset: int = Field(description="Bytes that have arrived; the next chunk begins here.")


class _NewJob(_Request):
    transcript: str = Field(
        "",
        max_length=MAX_TRANSCRIPT_CHARACTERS,
        description="Plain text, or SRT or WebVTT subtitles; empty if unknown.",
    )
    explain: bool = Field(False, description="Add heat maps, contributions and a report; takes several times as long.")


class UploadJob(_NewJob):
    """A video to score: an upload."""

    upload: str = Field(max_length=100, description="Id of a complete upload, which the job deletes.")


class FolderJob(_NewJob):
    """A video to score: a file in the server's own folder of videos, if it has one."""

    path: str = Field(max_length=1000, description="A file below the operator's --video-folder.")


def _kind_of_job(document: Any) -> str | None:
    kinds = [kind for kind in ("upload", "path") if isinstance(document, dict) and kind in document]
    return kinds[0] if len(kinds) == 1 else None


NewJob = Annotated[
    Annotated[UploadJob, Tag("upload")] | Annotated[FolderJob, Tag("path")],
    Discriminator(
        _kind_of_job,
        custom_error_type="upload_or_path",
        custom_error_message="a job needs either an upload or a path",
    ),
]


class Progress(BaseModel):
    """How far a job is."""

    task: str = Field(description="What the server does now.")
    note: str
    scores: Score = Field(description="Share of the scoring that is done.")
    explanation: Score = Field(description="Share of the explanation that is done.")


class ResultFile(BaseModel):
    """A file of a result."""

    name: str
    url: str = Field(description="Address on this server, without host.")
    media_type: str


class JobState(BaseModel):
    """A job."""

    id: str = Field(description="Whoever knows the id can read and delete the job.")
    state: State
    name: str = Field(description="Name of the video.")
    explain: bool
    videos_ahead: int = Field(description="Videos that are scored before this one.")
    progress: Progress
    has_scores: bool = Field(description="The scores can be read; an explanation may follow.")
    error: str | None = Field(description="Why the job failed, or why the server cancelled it.")
    files: list[ResultFile] = Field(description="Files that can be read now.")
    seconds_to_scores: float | None
    seconds: float | None = Field(description="From the creation of the job to its end.")


class Faces(BaseModel):
    """Frames with a face."""

    found: int
    looked_at: int


class Model(BaseModel):
    """The system that scored the video."""

    name: str
    fingerprint: str = Field(description="Changes whenever the system changes.")
    crnet_version: str


class Result(BaseModel):
    """Scores of a video, as crnet predict --json prints them. A high neuroticism score means emotionally stable."""

    model_config = ConfigDict(extra="allow")

    clip: str
    duration_s: float | None
    scores: Scores | None
    streams: dict[str, Scores]
    intervals: dict[str, list[float]] | None
    faces: Faces | None
    warnings: list[str]
    error: str | None
    model: Model | None = None
    scale: dict[str, str] = Field(
        dict(SCALE),
        description="What a reader must know about a target, such as that neuroticism is reversed.",
        examples=[dict(SCALE)],
    )


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str = Field(description="Short name of the problem, which does not change between versions.")
    detail: str


class Session(_Request):
    """A key, in exchange for a session of the page."""

    key: str = Field(max_length=1000)


class Health(BaseModel):
    """The server is running."""

    status: Literal["ok"] = "ok"
