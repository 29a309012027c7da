"""The clip store: one safetensors file for each clip, written by `crnet prepare` and read by everything after it.

A store is a folder with `manifest.parquet` (see `crnet.data.manifest`) and `clips/<shard>/<name>.safetensors`.
Equal clips give equal bytes. Every file appears in one step, so a killed run leaves no half-written file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crnet.data.tensor_file import TensorFile, write_tensor_file
from crnet.errors import FormatError
from crnet.types import LONGEST_S, TEXT_DIMENSIONS, Clip, VisualStream
from crnet.utils.resumable import content_fingerprint
from crnet.utils.storage import RemotePath, as_path

CLIP_FORMAT = 1
"""Version of the clip file. It increases when a reader of the older version could misread the newer one."""

TENSORS = {  # name: (safetensors type, NumPy type on disk: little-endian)
    "scene_jpeg": ("U8", "|u1"),
    "scene_offsets": ("I64", "<i8"),
    "face_jpeg": ("U8", "|u1"),
    "face_offsets": ("I64", "<i8"),
    "time_s": ("F64", "<f8"),
    "segment": ("I16", "<i2"),
    "face_box": ("F32", "<f4"),
    "face_landmarks": ("F32", "<f4"),
    "face_score": ("F32", "<f4"),
    "audio": ("I16", "<i2"),
    "text": ("F32", "<f4"),
}
ALWAYS_FINITE = ("time_s", "text")  # faces are not-a-number where there is none
MOST_SEGMENTS = 8192  # limit of `MediaSettings`
FINGERPRINT_ENTRY = "origin"  # metadata entry with the clip's fingerprint
CONTENT_ENTRY = "sha256"  # metadata entry with the hash of the file's content
RECOGNISED = "recognised"  # metadata entry with the words from speech recognition, if it was used
LONGEST_NAME = 80  # of the readable part of a file name; file systems allow 255 bytes in all
NOT_A_CLIP = "not a clip file"
PREPARE_AGAIN = "delete it and run `crnet prepare` again"
MERGE_AGAIN = "run the `crnet merge` that wrote the shard again"


class ClipSource(Protocol):
    """The source of a sample: a clip file on disk (`ClipFile`) or a clip in memory (`as_clip_source`)."""

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Float64 [k], seconds from the first frame, ascending."""

    @property
    def segment(self) -> NDArray[np.int16]:
        """Int16 [k], the segment of each frame."""

    @property
    def segments(self) -> int:
        """Number of equal segments that the video was divided into."""

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds."""

    def jpegs(self, stream: VisualStream, frames: Sequence[int]) -> list[bytes]:
        """Return the JPEG files of some frames."""

    def read_audio(self) -> NDArray[np.int16]:
        """Return the sound: int16 [n], mono, 16 kHz."""

    def read_text(self) -> NDArray[np.float32]:
        """Return the transcript's vector: float32 [4800]."""


class _ClipInMemory:
    """See `as_clip_source`."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.time_s = clip.time_s
        self.segment = clip.segment
        self.segments = clip.segments
        self.duration_s = clip.duration_s

    def jpegs(self, stream: VisualStream, frames: Sequence[int]) -> list[bytes]:
        """Return the JPEG files of some frames."""
        return [self.clip.jpeg(stream, frame) for frame in frames]

    def read_audio(self) -> NDArray[np.int16]:
        """Return the sound: int16 [n], mono, 16 kHz."""
        return self.clip.audio

    def read_text(self) -> NDArray[np.float32]:
        """Return the transcript's vector: float32 [4800]."""
        return self.clip.text


def as_clip_source(clip: Clip) -> ClipSource:
    """Wrap a clip in memory as the source of samples."""
    return _ClipInMemory(clip)


class ClipFile:
    """An open clip file; only what is requested is read.

    Attributes:
        path: The file.
        metadata: The metadata entries of the header.
        time_s, segment, segments, duration_s: As in `Clip`.

    Args:
        path: The file.
        clip_id: The clip that it must hold; None accepts any.

    Raises:
        FormatError: Missing, damaged, foreign, of another clip or of another format version; also raised later, when a
            part is read.
    """

    def __init__(self, path: Path | str, clip_id: str | None = None) -> None:
        self.path = path = as_path(path)
        with _format_errors(path):
            self._file = TensorFile(path)
            self.metadata = self._file.metadata
            _check_version(self.metadata)
            _check_name(self.metadata, clip_id)
            self.segments, self.duration_s = _parse_length(self.metadata)
            self.time_s = _require_finite("time_s", _array(self._file, "time_s", (None,)))
            frames = len(self.time_s)
            self.segment = _array(self._file, "segment", (frames,))
            self._offsets: dict[VisualStream, NDArray[np.int64]] = {
                "scene": self._read_offsets("scene", frames),
                "face": self._read_offsets("face", frames),
            }

    def _read_offsets(self, stream: VisualStream, frames: int) -> NDArray[np.int64]:
        """Return where each JPEG file begins and ends in the clip file."""
        offsets = _array(self._file, f"{stream}_offsets", (frames + 1,))
        start, end = self._file.byte_range(f"{stream}_jpeg")
        if offsets[0] != 0 or offsets[-1] != end - start or not (offsets[1:] > offsets[:-1]).all():
            raise ValueError(f"{stream}_offsets do not divide {stream}_jpeg into frames")
        return offsets + start

    @property
    def fingerprint(self) -> str:
        """Fingerprint of everything the clip was made from; "" if it was written without one."""
        return self.metadata.get(FINGERPRINT_ENTRY, "")

    def jpegs(self, stream: VisualStream, frames: Sequence[int]) -> list[bytes]:
        """Return the JPEG files of some frames."""
        offsets = self._offsets[stream]
        try:
            return self._file.read_ranges([(int(offsets[frame]), int(offsets[frame + 1])) for frame in frames])
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}"
            raise FormatError(reason, path=self.path, remedy=_again(self.path)) from error

    @property
    def audio_samples(self) -> int:
        """Length of the sound at 16 kHz, from the header alone."""
        with _format_errors(self.path):
            start, end = self._file.byte_range("audio")
            return (end - start) // np.dtype(TENSORS["audio"][1]).itemsize

    def read_audio(self) -> NDArray[np.int16]:
        """Return the sound: int16 [n], mono, 16 kHz."""
        with _format_errors(self.path):
            return _array(self._file, "audio", (None,))

    def read_face_boxes(self) -> NDArray[np.float32]:
        """Return the face boxes: float32 [k, 4], x0 y0 x1 y1 in source pixels; NaN where there is no face."""
        with _format_errors(self.path):
            return _array(self._file, "face_box", (len(self.time_s), 4))

    def read_text(self) -> NDArray[np.float32]:
        """Return the transcript's vector: float32 [4800]."""
        with _format_errors(self.path):
            return _require_finite("text", _array(self._file, "text", (TEXT_DIMENSIONS,)))

    def check(self) -> None:
        """Read the whole file and compare it with the SHA-256 in its metadata.

        Raises:
            FormatError: It has changed since it was written.
        """
        with _format_errors(self.path):
            _check_content(self.metadata, partial(_array, self._file))


def open_if_current(path: Path, fingerprint: str) -> ClipFile | None:
    """Open a clip file that is complete, undamaged and has this fingerprint; return None if there is none.

    Object storage checks the content itself when it is written, so an object's content is not fetched.
    """
    if not isinstance(path, RemotePath) and not path.is_file():
        return None
    try:
        file = ClipFile(path)
        if file.fingerprint != fingerprint:
            return None
        if not isinstance(path, RemotePath):
            file.check()
    except FormatError:
        return None
    return file


def clip_path(clip_id: str) -> str:
    """Return the path of a clip's file within a store, with `/`. It is readable, safe for any id, and unique.

    The hash distinguishes ids that differ only in letter case or in characters that file names cannot contain.
    """
    id_hash = content_fingerprint([clip_id.encode("utf-8", "surrogatepass")])
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", clip_id).lstrip(".-")[:LONGEST_NAME]
    return f"clips/{id_hash[:2]}/{readable}-{id_hash[:12]}.safetensors"


def write_clip(path: Path | str, clip: Clip, fingerprint: str = "") -> None:
    """Write a clip file in one step. Equal arguments give equal bytes.

    Args:
        path: The file; missing folders are created.
        clip: The clip.
        fingerprint: Fingerprint of everything the clip was made from (video, transcript, settings, encoder). It is
            stored in the file, and `prepare` skips a clip whose file has the right one.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    arrays = {
        name: np.ascontiguousarray(getattr(clip, name), dtype=dtype)
        for name, (_, dtype) in sorted(TENSORS.items(), key=lambda item: (-np.dtype(item[1][1]).itemsize, item[0]))
    }
    metadata = _clip_metadata(clip, fingerprint)
    metadata[CONTENT_ENTRY] = _content_sha256(metadata, arrays.__getitem__)
    write_tensor_file(as_path(path), arrays, {name: kind for name, (kind, _) in TENSORS.items()}, metadata)


def read_clip(path: Path | str, clip_id: str | None = None) -> Clip:
    """Read a whole clip file.

    Args:
        path: The file.
        clip_id: The clip that it must hold; None accepts any.

    Raises:
        FormatError: Missing, damaged, foreign, of another clip or of another format version.
    """
    path = as_path(path)
    with _format_errors(path):
        file = TensorFile(path)
        _check_version(file.metadata)
        _check_name(file.metadata, clip_id)
        arrays: dict[str, Any] = {name: _array(file, name) for name in TENSORS}
        _check_content(file.metadata, arrays.__getitem__)
        for name in ALWAYS_FINITE:
            _require_finite(name, arrays[name])
        return Clip(**arrays, **_parse_metadata(file.metadata))


def _require_finite(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains values that are not finite")
    return array


def _parse_length(metadata: Mapping[str, str]) -> tuple[int, float]:
    """Return the number of segments and the duration in seconds, both in their possible ranges."""
    segments, duration_s = int(metadata["segments"]), float(metadata["duration_s"])
    if not 1 <= segments <= MOST_SEGMENTS or not 0 <= duration_s <= LONGEST_S:
        raise ValueError(f"it has {segments} segments and lasts {duration_s} s")
    return segments, duration_s


def _array(file: TensorFile, name: str, shape: tuple[int | None, ...] | None = None) -> NDArray[Any]:
    return file.array(name, TENSORS[name], shape)


def _clip_metadata(clip: Clip, fingerprint: str) -> dict[str, str]:
    metadata = {"format": str(CLIP_FORMAT), FINGERPRINT_ENTRY: fingerprint}
    for field in fields(clip):
        value = getattr(clip, field.name)
        # The entry for speech recognition came later: without it, files are the same as in the first version.
        if field.name not in TENSORS and (value or field.name != RECOGNISED):
            # JSON writes floats so that they read back the same, and distinguishes flags from numbers.
            metadata[field.name] = value if isinstance(value, str) else json.dumps(_scalar(value), allow_nan=False)
    return dict(sorted(metadata.items()))


def _content_sha256(metadata: Mapping[str, str], read_array: Callable[[str], NDArray[Any]]) -> str:
    """Return the SHA-256 of a clip's metadata and arrays in a fixed order; reads one array at a time."""

    def parts() -> Iterator[bytes | memoryview]:
        hashed = {name: text for name, text in metadata.items() if name != CONTENT_ENTRY}
        yield json.dumps(hashed, sort_keys=True).encode()
        for name in TENSORS:
            content = np.ascontiguousarray(read_array(name))
            yield content.data.cast("B") if content.size else b""

    return content_fingerprint(parts())


def _check_content(metadata: Mapping[str, str], read_array: Callable[[str], NDArray[Any]]) -> None:
    if _content_sha256(metadata, read_array) != metadata[CONTENT_ENTRY]:
        raise FormatError("damaged: its content is not what was written")


def _scalar(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _parse_metadata(metadata: Mapping[str, str]) -> dict[str, Any]:
    number = (int, float)
    kinds: dict[str, type | tuple[type, ...]] = {
        "segments": int,
        "duration_s": number,
        "width": int,
        "height": int,
        "fps": number,
        "simulated": bool,
        "has_audio": bool,
        "has_transcript": bool,
        "warnings": list,
    }
    values: dict[str, Any] = {name: metadata[name] for name in ("clip_id", "source_sha256", "settings")}
    for name, kind in kinds.items():
        value = json.loads(metadata[name])
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"{name} is {metadata[name]!r}")
        values[name] = float(metadata[name]) if kind is number else value
    values["segments"], values["duration_s"] = _parse_length(metadata)
    values["warnings"] = tuple(str(warning) for warning in values["warnings"])
    return {**values, RECOGNISED: metadata.get(RECOGNISED, "")}


def _check_version(metadata: Mapping[str, str]) -> None:
    version = metadata.get("format")
    if "clip_id" not in metadata or version is None:
        raise FormatError(NOT_A_CLIP, remedy="give a file that `crnet prepare` wrote")
    if version != str(CLIP_FORMAT):
        raise FormatError(
            f"a clip file of format {version}; this version of crnet reads format {CLIP_FORMAT}",
            remedy="run `crnet prepare` with this version, or use the version that wrote it",
        )


def _check_name(metadata: Mapping[str, str], clip_id: str | None) -> None:
    """Refuse the file of another clip, whose content would get this clip's labels."""
    if clip_id is not None and metadata["clip_id"] != clip_id:
        raise FormatError(f"holds the clip {metadata['clip_id']:.100}, not {clip_id:.100}")


def _again(path: Path) -> str:
    """Return what to do about a clip file that cannot be read."""
    return MERGE_AGAIN if ".tar#" in path.name else PREPARE_AGAIN


@contextmanager
def _format_errors(path: Path) -> Iterator[None]:
    """Turn everything that a damaged or foreign file raises into a `FormatError` that names the file."""
    again = _again(path)
    try:
        yield
    except FormatError as error:
        raise FormatError(error.reason, path=path, remedy=error.remedy or again) from error
    except FileNotFoundError as error:
        raise FormatError("clip file not found", path=path, remedy=again) from error
    except KeyError as error:
        raise FormatError(f"{NOT_A_CLIP}: it lacks {error}", path=path, remedy=again) from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{NOT_A_CLIP}, or damaged: {error}", path=path, remedy=again) from error
