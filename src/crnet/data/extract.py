"""One clip: from a video to a clip file. What a worker of `prepare` does, and where prediction starts."""

from __future__ import annotations

import functools
import json
import logging
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from crnet.data.manifest import ClipRow
from crnet.data.sources.source import Failure, LabelledClip, Video
from crnet.data.store import RECOGNISED, ClipSource, clip_path, open_whole, write_clip
from crnet.errors import ConfigError, CrnetError, FormatError, MediaError, MissingDependencyError, StorageError
from crnet.text.asr import SpeechRecogniser, recognition_warning
from crnet.text.base import TextEncoder
from crnet.types import Clip, Faces
from crnet.utils.resumable import short_fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crnet.media.settings import MediaSettings

WORK_NAME = ".tmp-work"  # folder in a store for unpacked videos and archives
CHUNK_BYTES = 1 << 20

_log = logging.getLogger(__name__)

ClipExtractor = Callable[..., Clip]
"""Has the signature of `extract_clip`."""


@dataclass(frozen=True)
class ExtractContext:
    """What every job needs, sent to a worker once."""

    out: Path
    encoder: TextEncoder
    settings: MediaSettings
    fingerprint: str
    make_clip: ClipExtractor
    recogniser: SpeechRecogniser | None = None


@dataclass(frozen=True)
class Job:
    """A clip to make, from which video, and of which group of the source that is."""

    clip: LabelledClip
    video: Video
    group: int


@dataclass(frozen=True)
class ExtractedClip:
    """A finished clip file: its row, and whether it was there already."""

    row: ClipRow
    was_there: bool
    simulated: bool


def extract_clip(
    path: Path,
    *,
    clip_id: str,
    transcript: str,
    encoder: TextEncoder,
    settings: MediaSettings,
    recogniser: SpeechRecogniser | None = None,
) -> Clip:
    """Decode a video into a clip: what `prepare` stores and what prediction starts from.

    Args:
        path: The video.
        clip_id: Its name.
        transcript: What is said, "" if not known.
        encoder: Turns the transcript into a vector.
        settings: How frames, faces and sound are taken.
        recogniser: Listens where `transcript` is empty; None: nobody does.

    Raises:
        MediaError: The video cannot be read.
        ConfigError: The recogniser's model cannot be loaded.
    """
    from crnet.media.reader import read_video

    clip = replace(read_video(path, settings), clip_id=clip_id)
    if recogniser is not None and not transcript.strip() and clip.has_audio:
        transcript = recogniser.transcribe(clip.audio)
        warnings = (*clip.warnings, recognition_warning(recogniser, transcript))
        clip = replace(clip, recognised=transcript, warnings=warnings)
    return replace(clip, text=encoder.encode([transcript])[0], has_transcript=bool(transcript.strip()))


def count_faces(source: ClipSource, boxes: NDArray[np.float32]) -> Faces:
    """In how many segments the middle frame shows the person's face.

    Args:
        source: The clip.
        boxes: [k, 4], the person's face in each frame; NaN where there is none.
    """
    from crnet.media.frame_sampling import middle_frames

    middles = middle_frames(source.time_s, source.duration_s, source.segments)
    return Faces(int(np.isfinite(boxes[middles]).all(axis=1).sum()), len(middles))


def extract_to_store(shared: ExtractContext, job: Job) -> ExtractedClip | Failure:
    """One job, in a worker: make the clip file unless it is there, whole and up to date."""
    try:
        return _make(shared, job)
    except (ConfigError, StorageError, MissingDependencyError, ImportError):
        raise  # every other clip would fail alike
    except CrnetError as error:
        return Failure(job.clip.clip_id, job.video.shown, error.reason, error.remedy or "")
    except Exception as error:
        # One odd file must not end a run of hours.
        _log.debug("unexpected error in %s", job.video.shown, exc_info=True)
        reason = f"unexpected {type(error).__name__}: {error}"
        return Failure(job.clip.clip_id, job.video.shown, reason, "report it as a bug, with the file if possible")


def _make(shared: ExtractContext, job: Job) -> ExtractedClip:
    if not _is_utf8(job.clip.clip_id):
        raise MediaError("its name is not UTF-8", path=job.video.shown, remedy="rename it")
    relative = clip_path(job.clip.clip_id)
    path = shared.out / relative
    with _on_disk(job.video, shared.out / WORK_NAME / PurePosixPath(relative).stem) as (video, content):
        origin = short_fingerprint(
            {
                "settings": shared.fingerprint,
                "clip": job.clip.clip_id,
                "transcript": job.clip.transcript,
                "content": content(),
            }
        )
        made = _made(path, relative, job.clip, origin)
        if made is not None:
            return replace(made, was_there=True)
        unheard = not job.clip.transcript and not job.clip.transcribed
        listening = {"recogniser": shared.recogniser} if shared.recogniser is not None and unheard else {}
        clip = shared.make_clip(
            video(),
            clip_id=job.clip.clip_id,
            transcript=job.clip.transcript,
            encoder=shared.encoder,
            settings=shared.settings,
            **listening,
        )
    write_clip(path, clip, origin)
    del clip  # tens of MB for a minute, which reading the file back would come on top of
    made = _made(path, relative, job.clip, origin)
    if made is None:
        raise FormatError(
            "the clip file reads back different from what was written", path=path, remedy="check the disk"
        )
    return made


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _made(path: Path, relative: str, clip: LabelledClip, origin: str) -> ExtractedClip | None:
    """What the clip file holds; None if there is none that is whole and made from the same things."""
    file = open_whole(path, origin)
    if file is None:
        return None
    faces = count_faces(file, file.read_face_boxes())
    row = ClipRow(
        clip_id=clip.clip_id,
        file=relative,
        split=clip.split,
        scores=clip.scores,
        person=clip.person,
        groups=clip.groups,
        transcript=clip.transcript or file.metadata.get(RECOGNISED, ""),
        duration_s=file.duration_s,
        frames=len(file.time_s),
        faces_found=faces.found,
        faces_looked_at=faces.looked_at,
        warnings=tuple(json.loads(file.metadata["warnings"])),
    )
    return ExtractedClip(row, was_there=False, simulated=file.metadata["simulated"] == "true")


@contextmanager
def _on_disk(video: Video, temporary: Path) -> Iterator[tuple[Callable[[], Path], Callable[[], list[int]]]]:
    """How to get the video as a file, and its size and CRC-32; a member of an archive is unpacked only if needed."""
    if isinstance(video.where, Path):
        original = video.where
        yield lambda: original, lambda: _size_and_crc32(original)
        return
    member = video.where
    unpacked = temporary.with_name(temporary.name + PurePosixPath(member.name).suffix)

    @functools.cache
    def unpack() -> Path:
        member.extract(unpacked)
        return unpacked

    try:
        known = member.crc32 != 0
        yield unpack, lambda: [member.bytes_unpacked, member.crc32] if known else _size_and_crc32(unpack())
    finally:
        unpacked.unlink(missing_ok=True)


def _size_and_crc32(path: Path) -> list[int]:
    crc32 = 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                crc32 = zlib.crc32(chunk, crc32)
            return [os.fstat(file.fileno()).st_size, crc32]
    except FileNotFoundError as error:
        raise MediaError("is not there any more, or is a link to nothing", path=path, remedy="put it back") from error
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror or error}", path=path, remedy="check its rights") from error
