"""The clip store: one safetensors file a clip. What `crnet prepare` writes and everything later reads.

A store is a folder with `manifest.parquet` (see `crnet.data.manifest`) and `clips/<shard>/<name>.safetensors`.
Equal clips give equal bytes, and every file appears in one step, so a killed run leaves nothing half-written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crnet.data.manifest import ClipRow, Manifest, read_manifest, write_manifest
from crnet.data.tensor_file import TensorFile
from crnet.errors import FormatError
from crnet.types import TEXT_DIMENSIONS, Clip, VisualStream
from crnet.utils.files import atomic_write

__all__ = [
    "FORMAT",
    "ClipFile",
    "ClipRow",
    "ClipSource",
    "Manifest",
    "as_clip_source",
    "clip_path",
    "read_clip",
    "read_manifest",
    "write_clip",
    "write_manifest",
]

FORMAT = 1
"""Version of the clip file; raised when a reader of the older one could misread the new one."""

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
CHECKSUM = "sha256"  # its name among the file's texts
RECOGNISED = "recognised"  # the name of the words that speech recognition heard, if it was asked
HEADER_ALIGNMENT_BYTES = 8
LONGEST_NAME = 80  # of the readable part of a file name; file systems allow 255 bytes in all
NO_CLIP = "not a clip file"
PREPARE_AGAIN = "delete it and run `crnet prepare` again"


class ClipSource(Protocol):
    """What a sample is cut from: a clip file on disk (`ClipFile`) or a clip in memory (`as_clip_source`)."""

    @property
    def time_s(self) -> NDArray[np.float64]:
        """Float64 [k], seconds from the first frame, ascending."""

    @property
    def segment(self) -> NDArray[np.int16]:
        """Int16 [k], the segment of each frame."""

    @property
    def segments(self) -> int:
        """Number of equal segments the video was cut into."""

    @property
    def duration_s(self) -> float:
        """Length of the video in seconds."""

    def jpeg(self, stream: VisualStream, frame: int) -> bytes:
        """The JPEG file of one frame."""

    def read_audio(self) -> NDArray[np.int16]:
        """Int16 [n], mono, 16 kHz."""

    def read_text(self) -> NDArray[np.float32]:
        """Float32 [4800]."""


class _ClipInMemory:
    """See `as_clip_source`."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.time_s = clip.time_s
        self.segment = clip.segment
        self.segments = clip.segments
        self.duration_s = clip.duration_s

    def jpeg(self, stream: VisualStream, frame: int) -> bytes:
        """The JPEG file of one frame."""
        return self.clip.jpeg(stream, frame)

    def read_audio(self) -> NDArray[np.int16]:
        """Int16 [n], mono, 16 kHz."""
        return self.clip.audio

    def read_text(self) -> NDArray[np.float32]:
        """Float32 [4800]."""
        return self.clip.text


def as_clip_source(clip: Clip) -> ClipSource:
    """A clip in memory as something to cut samples from."""
    return _ClipInMemory(clip)


class ClipFile:
    """A clip file, open: only what is asked for is read.

    Attributes:
        path: The file.
        metadata: The header's texts, by name.
        time_s, segment, segments, duration_s: As in `Clip`.

    Raises:
        FormatError: Missing, damaged, foreign, or of another format version; also later, when a part is read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with _reading(path):
            self._file = TensorFile(path)
            self.metadata = self._file.texts
            _check_version(self.metadata)
            self.segments = int(self.metadata["segments"])
            self.duration_s = float(self.metadata["duration_s"])
            self.time_s = _array(self._file, "time_s", (None,))
            frames = len(self.time_s)
            self.segment = _array(self._file, "segment", (frames,))
            self._offsets: dict[VisualStream, NDArray[np.int64]] = {
                "scene": self._read_offsets("scene", frames),
                "face": self._read_offsets("face", frames),
            }

    def _read_offsets(self, stream: VisualStream, frames: int) -> NDArray[np.int64]:
        """Where each picture begins and ends in the file."""
        offsets = _array(self._file, f"{stream}_offsets", (frames + 1,))
        start, end = self._file.place(f"{stream}_jpeg")
        if offsets[0] != 0 or offsets[-1] != end - start or not (offsets[1:] > offsets[:-1]).all():
            raise ValueError(f"{stream}_offsets do not cut {stream}_jpeg into frames")
        return offsets + start

    def jpeg(self, stream: VisualStream, frame: int) -> bytes:
        """The JPEG file of one frame."""
        start, end = self._offsets[stream][frame : frame + 2].tolist()
        try:
            return self._file.read(start, end)
        except OSError as error:
            raise FormatError(f"cannot be read: {error.strerror}", path=self.path, remedy=PREPARE_AGAIN) from error

    def read_audio(self) -> NDArray[np.int16]:
        """Int16 [n], mono, 16 kHz."""
        with _reading(self.path):
            return _array(self._file, "audio", (None,))

    def read_face_boxes(self) -> NDArray[np.float32]:
        """Float32 [k, 4], x0 y0 x1 y1 in source pixels; NaN where there is no face."""
        with _reading(self.path):
            return _array(self._file, "face_box", (len(self.time_s), 4))

    def read_text(self) -> NDArray[np.float32]:
        """Float32 [4800]."""
        with _reading(self.path):
            return _array(self._file, "text", (TEXT_DIMENSIONS,))

    def check(self) -> None:
        """Read the whole file and compare it with the SHA-256 of when it was written.

        Raises:
            FormatError: It has changed since.
        """
        with _reading(self.path):
            _check_content(self.metadata, partial(_array, self._file))


def open_whole(path: Path, origin: str) -> ClipFile | None:
    """A clip file that is there, undamaged to its last byte, and was written with this `origin`; else None."""
    if not path.is_file():
        return None
    try:
        file = ClipFile(path)
        if file.metadata.get("origin") != origin:
            return None
        file.check()
    except FormatError:
        return None
    return file


def clip_path(clip_id: str) -> str:
    """Where a clip's file lies in a store, with `/`: readable, safe for any id, apart from every other id's.

    The hash keeps ids apart that differ only in letter case or in characters that file names cannot have.
    """
    digest = hashlib.sha256(clip_id.encode("utf-8", "surrogatepass")).hexdigest()
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", clip_id).lstrip(".-")[:LONGEST_NAME]
    return f"clips/{digest[:2]}/{readable}-{digest[:12]}.safetensors"


def write_clip(path: Path, clip: Clip, origin: str = "") -> None:
    """Write a clip file in one step; equal arguments give equal bytes.

    Args:
        path: The file; its folder is made if it is missing.
        clip: What to write.
        origin: Fingerprint of everything the clip was made from (source, transcript, settings, encoder), kept as
            metadata, by which `prepare` knows that it need not be made again.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    arrays = {
        name: np.ascontiguousarray(getattr(clip, name), dtype=dtype)
        for name, (_, dtype) in sorted(TENSORS.items(), key=lambda item: (-np.dtype(item[1][1]).itemsize, item[0]))
    }
    metadata = _metadata_of(clip, origin)
    metadata[CHECKSUM] = _checksum(metadata, arrays.__getitem__)
    # Written here because safetensors' own writer puts metadata in random order: bytes would differ between runs.
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": TENSORS[name][0], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT_BYTES)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for array in arrays.values():
            file.write(array.data)


def read_clip(path: Path) -> Clip:
    """Read a whole clip file.

    Raises:
        FormatError: Missing, damaged, foreign, or of another format version.
    """
    with _reading(path):
        file = TensorFile(path)
        metadata = file.texts
        _check_version(metadata)
        arrays: dict[str, Any] = {name: _array(file, name) for name in TENSORS}
        _check_content(metadata, arrays.__getitem__)
        return Clip(**arrays, **_parsed(metadata))


def _array(file: TensorFile, name: str, shape: tuple[int | None, ...] | None = None) -> NDArray[Any]:
    return file.array(name, TENSORS[name], shape)


def _metadata_of(clip: Clip, origin: str) -> dict[str, str]:
    texts = {"format": str(FORMAT), "origin": origin}
    for field in fields(clip):
        value = getattr(clip, field.name)
        # Files of clips that no recogniser listened to stay what they were before there were any.
        if field.name not in TENSORS and (value or field.name != RECOGNISED):
            # JSON writes floats so that they read back the same, and keeps the flags apart from the numbers.
            texts[field.name] = value if isinstance(value, str) else json.dumps(_plain(value), allow_nan=False)
    return dict(sorted(texts.items()))


def _checksum(metadata: Mapping[str, str], array_of: Callable[[str], NDArray[Any]]) -> str:
    """SHA-256 of a clip file's texts and arrays, in a fixed order; asks for one array after the other."""
    texts = {name: text for name, text in metadata.items() if name != CHECKSUM}
    digest = hashlib.sha256(json.dumps(texts, sort_keys=True).encode())
    for name in TENSORS:
        content = np.ascontiguousarray(array_of(name))
        digest.update(content.data.cast("B") if content.size else b"")
    return digest.hexdigest()


def _check_content(metadata: Mapping[str, str], array_of: Callable[[str], NDArray[Any]]) -> None:
    if _checksum(metadata, array_of) != metadata[CHECKSUM]:
        raise FormatError("damaged: its content is not what was written")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _parsed(metadata: Mapping[str, str]) -> dict[str, Any]:
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
    values["warnings"] = tuple(str(warning) for warning in values["warnings"])
    return {**values, RECOGNISED: metadata.get(RECOGNISED, "")}


def _check_version(metadata: Mapping[str, str]) -> None:
    version = metadata.get("format")
    if "clip_id" not in metadata or version is None:
        raise FormatError(NO_CLIP, remedy="give a file that `crnet prepare` wrote")
    if version != str(FORMAT):
        raise FormatError(
            f"a clip file of format {version}, this version of crnet reads format {FORMAT}",
            remedy="run `crnet prepare` with this version, or use the version that wrote it",
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or foreign file raises into a `FormatError` that names it."""
    try:
        yield
    except FormatError as error:
        raise FormatError(error.reason, path=path, remedy=error.remedy or PREPARE_AGAIN) from error
    except FileNotFoundError as error:
        raise FormatError("clip file not found", path=path, remedy="run `crnet prepare` again") from error
    except KeyError as error:
        raise FormatError(f"{NO_CLIP}: it lacks {error}", path=path, remedy=PREPARE_AGAIN) from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(f"{NO_CLIP}, or damaged: {error}", path=path, remedy=PREPARE_AGAIN) from error
