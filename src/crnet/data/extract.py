"""Extract one clip: from a video to a `Clip`, and from there to a clip file of a store."""

from __future__ import annotations

import json
import logging
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Self

from crnet.data.manifest import ClipRow
from crnet.data.sources.archives import Member
from crnet.data.sources.dataset import Failure, LabelledClip, Video
from crnet.data.store import RECOGNISED, clip_path, open_if_current, read_clip, write_clip
from crnet.data.video_files import download_video, temporary_folder
from crnet.errors import ConfigError, CrnetError, FormatError, MediaError, MissingDependencyError, StorageError
from crnet.media.frame_sampling import count_faces
from crnet.text.asr import SpeechRecogniser, recognition_warning
from crnet.text.encoder_interface import TextEncoder
from crnet.types import Clip
from crnet.utils.files import CHUNK_BYTES
from crnet.utils.resumable import short_fingerprint
from crnet.utils.storage import RemotePath

if TYPE_CHECKING:
    from crnet.media.settings import MediaSettings

WORK_NAME = ".tmp-work"  # folder in a store for unpacked videos and archives

_log = logging.getLogger(__name__)

ClipExtractor = Callable[..., Clip]
"""A function with the signature of `extract_clip`."""


@dataclass(frozen=True)
class ExtractContext:
    """Everything that the jobs of one `prepare` share; sent to each worker once.

    Attributes:
        store: The clip store.
        encoder: Turns transcripts into vectors.
        settings: How videos are read.
        fingerprint: Fingerprint of the store's settings.
        earlier_fingerprint: The same with the reader's earlier version.
        extract: Turns a video into a clip.
        recogniser: Speech recogniser for clips without a transcript; None disables it.
    """

    store: Path
    encoder: TextEncoder
    settings: MediaSettings
    fingerprint: str
    earlier_fingerprint: str
    extract: ClipExtractor
    recogniser: SpeechRecogniser | None = None


@dataclass(frozen=True)
class ExtractJob:
    """A clip to extract, its video, and the number of the video group that the video belongs to."""

    clip: LabelledClip
    video: Video
    group: int


@dataclass(frozen=True)
class ExtractedClip:
    """A finished clip file.

    Attributes:
        row: Its row in the manifest.
        reused: Whether an earlier run wrote the file.
        changed: Whether an earlier version of the reader read the clip differently, so that it was extracted again.
        simulated: Whether the clip shows a synthetic person.
    """

    row: ClipRow
    reused: bool
    changed: bool
    simulated: bool


def work_folder(store: Path) -> Path:
    """Return the local folder for unpacked videos and archives; for a store in object storage, one of this machine."""
    if isinstance(store, RemotePath):
        return temporary_folder(str(store))
    return store / WORK_NAME


def extract_clip(
    path: Path | str,
    *,
    clip_id: str,
    transcript: str,
    encoder: TextEncoder,
    settings: MediaSettings,
    recogniser: SpeechRecogniser | None = None,
    allow_still: bool = False,
) -> Clip:
    """Decode a video into a clip. `prepare` stores the result; prediction starts from it.

    Args:
        path: The video.
        clip_id: Name of the clip.
        transcript: Transcript of the clip, "" if unknown.
        encoder: Turns the transcript into a vector.
        settings: How frames, faces and sound are read.
        recogniser: Speech recogniser for an empty `transcript`; None disables it.
        allow_still: Also read a photo and a video of a single picture.

    Raises:
        MediaError: The video cannot be read.
        NotScoredError: It is a still picture.
        ConfigError: The recogniser's model cannot be loaded.
    """
    from crnet.media.reader import read_video

    clip = replace(read_video(path, settings, allow_still=allow_still), clip_id=clip_id)
    return with_words(clip, transcript, encoder, recogniser)


def with_words(clip: Clip, transcript: str, encoder: TextEncoder, recogniser: SpeechRecogniser | None = None) -> Clip:
    """Return a clip with its transcript as a vector; the arguments are those of `extract_clip`.

    Raises:
        ConfigError: The recogniser's model cannot be loaded.
    """
    if recogniser is not None and not transcript.strip() and clip.has_audio:
        transcript = recogniser.transcribe(clip.audio)
        warnings = (*clip.warnings, recognition_warning(recogniser, transcript))
        clip = replace(clip, recognised=transcript, warnings=warnings)
    return replace(clip, text=encoder.encode([transcript])[0], has_transcript=bool(transcript.strip()))


def extract_to_store(context: ExtractContext, job: ExtractJob) -> ExtractedClip | Failure:
    """Write a clip file unless a current one exists. Runs in a worker.

    Returns:
        The finished clip, or why it could not be extracted.

    Raises:
        ConfigError, StorageError, MissingDependencyError, ImportError: Every other clip would fail in the same way.
    """
    try:
        return _extract(context, job)
    except (ConfigError, StorageError, MissingDependencyError, ImportError):
        raise
    except CrnetError as error:
        return Failure(job.clip.clip_id, job.video.display_path, error.reason, error.remedy or "")
    except Exception as error:
        # One odd file must not end a run of hours.
        _log.debug("unexpected error in %s", job.video.display_path, exc_info=True)
        reason = f"unexpected {type(error).__name__}: {error}"
        return Failure(
            job.clip.clip_id, job.video.display_path, reason, "report it as a bug, with the file if possible"
        )


def _extract(context: ExtractContext, job: ExtractJob) -> ExtractedClip:
    if not _is_utf8(job.clip.clip_id):
        raise MediaError("its name is not UTF-8", path=job.video.display_path, remedy="rename it")
    file = clip_path(job.clip.clip_id)
    with _LocalVideo(job.video, work_folder(context.store) / PurePosixPath(file).stem) as video:
        content = video.size_and_crc32()
        fingerprint = _clip_fingerprint(context.fingerprint, job.clip, content)
        finished = _read_extracted(context.store, file, job.clip, fingerprint)
        if finished is not None:
            return replace(finished, reused=True)
        earlier_fingerprint = _clip_fingerprint(context.earlier_fingerprint, job.clip, content)
        is_earlier = open_if_current(context.store / file, earlier_fingerprint) is not None
        clip = _kept(context, context.store / file, video.path) if is_earlier else None
        is_kept = clip is not None
        if clip is None:
            clip = _call_extractor(context, job.clip, video.path)
    write_clip(context.store / file, clip, fingerprint)
    del clip  # tens of MB for a minute of video, which reading the file back would add to
    extracted = _read_extracted(context.store, file, job.clip, fingerprint)
    if extracted is None:
        raise FormatError(
            "the clip file reads back different from what was written",
            path=context.store / file,
            remedy="check the disk",
        )
    return replace(extracted, reused=is_kept, changed=is_earlier and not is_kept)


def _clip_fingerprint(settings: str, clip: LabelledClip, content: list[int]) -> str:
    """Return the fingerprint of everything that a clip is made from."""
    return short_fingerprint(
        {"settings": settings, "clip": clip.clip_id, "transcript": clip.transcript, "content": content}
    )


def _kept(context: ExtractContext, file: Path, video: Path) -> Clip | None:
    """Return the clip in a file of the reader's earlier version, if this version would read the same; else None."""
    from crnet.media.earlier_reader import is_read_alike

    clip = read_clip(file)
    if not is_read_alike(video, clip, context.settings):
        return None
    return replace(clip, settings=context.settings.fingerprint())


def _call_extractor(context: ExtractContext, clip: LabelledClip, video: Path) -> Clip:
    needs_transcript = not clip.transcript and not clip.transcribed
    speech = {"recogniser": context.recogniser} if context.recogniser is not None and needs_transcript else {}
    return context.extract(
        video,
        clip_id=clip.clip_id,
        transcript=clip.transcript,
        encoder=context.encoder,
        settings=context.settings,
        **speech,
    )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_extracted(store: Path, file: str, clip: LabelledClip, fingerprint: str) -> ExtractedClip | None:
    """Read the clip file back; None if it is missing, damaged or has another fingerprint."""
    source = open_if_current(store / file, fingerprint)
    if source is None:
        return None
    faces = count_faces(source.time_s, source.duration_s, source.segments, source.read_face_boxes())
    row = ClipRow(
        clip_id=clip.clip_id,
        file=file,
        split=clip.split,
        scores=clip.scores,
        person=clip.person,
        groups=clip.groups,
        transcript=clip.transcript or source.metadata.get(RECOGNISED, ""),
        duration_s=source.duration_s,
        frames=len(source.time_s),
        faces_found=faces.found,
        faces_looked_at=faces.looked_at,
        warnings=tuple(json.loads(source.metadata["warnings"])),
    )
    return ExtractedClip(row, reused=False, changed=False, simulated=source.metadata["simulated"] == "true")


class _LocalVideo:
    """A video as a local file.

    A member of an archive is unpacked, and an object fetched, when its path is first needed, and deleted on exit.

    Args:
        video: The video.
        temporary: Path for the unpacked file, without its suffix.
    """

    def __init__(self, video: Video, temporary: Path) -> None:
        self._location: Any = video.location
        self._is_in_place = not isinstance(video.location, (Member, RemotePath))
        self._temporary = temporary

    @cached_property
    def path(self) -> Path:
        """The file."""
        if self._is_in_place:
            return self._location
        unpacked = self._temporary.with_name(self._temporary.name + PurePosixPath(self._location.name).suffix)
        self._temporary = unpacked
        if isinstance(self._location, Member):
            self._location.extract(unpacked)
        else:
            download_video(self._location, unpacked)
        return unpacked

    def size_and_crc32(self) -> list[int]:
        """Return size in bytes and CRC-32 of the content, if possible from the archive's own directory."""
        if isinstance(self._location, Member) and self._location.crc32 != 0:
            return [self._location.bytes_unpacked, self._location.crc32]
        return _size_and_crc32(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_in_place:
            self._temporary.unlink(missing_ok=True)


def _size_and_crc32(path: Path) -> list[int]:
    crc32 = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                crc32 = zlib.crc32(chunk, crc32)
            return [os.fstat(file.fileno()).st_size, crc32]
    except FileNotFoundError as error:
        raise MediaError("no longer exists, or is a broken link", path=path, remedy="restore it") from error
    except OSError as error:
        raise MediaError(
            f"cannot be read: {error.strerror or error}", path=path, remedy="check its permissions"
        ) from error
