"""A fake video reader: small clips that depend on the bytes of the file, and failures on demand."""

from __future__ import annotations

import ctypes
import os
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from crnet.errors import MediaError, StorageError
from crnet.media.settings import READER_VERSION
from crnet.text.encoder_interface import TextEncoder
from crnet.types import Clip


@dataclass(frozen=True)
class FakeSettings:
    """The part of MediaSettings that `prepare` uses."""

    segments: int = 4
    frames_per_segment: int | None = None
    pixels: int = 8
    sleep_s: float = 0.0
    version: int = 1

    def to_dict(self) -> dict[str, object]:
        return asdict(self)

    def fingerprint(self, version: int = READER_VERSION) -> str:
        return f"{self!r} {version}"


def fake_clip(path: Path, *, clip_id: str, transcript: str, encoder: TextEncoder, settings: FakeSettings) -> Clip:
    """Make a clip from the bytes of `path`; some contents make it fail."""
    time.sleep(settings.sleep_s)
    content = path.read_bytes()
    if content == b"bad":
        raise MediaError("not a video", path=path, remedy="look at it")
    if content == b"odd":
        raise ZeroDivisionError("a bug")
    if content == b"full":
        raise StorageError("disk full", path=path)
    if content == b"die":
        os._exit(9)
    if content == b"crash":
        ctypes.string_at(0)
    if content == b"hang":
        time.sleep(60)
    if content == b"flood":
        held = [b"1" * (10 << 20) for _ in range(200)]
        time.sleep(len(held))
    frames = settings.segments * (settings.frames_per_segment or 3)
    rng = np.random.default_rng(zlib.crc32(content))
    jpegs = rng.integers(0, 256, (2, frames * 5), dtype=np.uint8)
    offsets = np.arange(frames + 1, dtype=np.int64) * 5
    return Clip(
        clip_id=clip_id,
        scene_jpeg=jpegs[0],
        scene_offsets=offsets,
        face_jpeg=jpegs[1],
        face_offsets=offsets,
        time_s=np.arange(frames) / 10,
        segment=(np.arange(frames) * settings.segments // frames).astype(np.int16),
        face_box=rng.random((frames, 4), dtype=np.float32),
        face_landmarks=rng.random((frames, 5, 2), dtype=np.float32),
        face_score=np.full(frames, np.nan, dtype=np.float32),
        audio=rng.integers(-9, 9, 50, dtype=np.int16),
        text=encoder.encode([transcript])[0],
        segments=settings.segments,
        duration_s=frames / 10,
        width=64,
        height=48,
        fps=10.0,
        source_sha256="00",
        settings="fake",
        simulated=content == b"synthetic",
        has_audio=True,
        has_transcript=bool(transcript),
        warnings=("fake",),
    )
