"""The campaign of damaged media files: a few seconds of a synthetic person in many containers and codecs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import simplejpeg

from crnet.media.settings import MediaSettings
from crnet.types import LONGEST_S, SAMPLE_RATE_HZ, Clip
from tests.fuzz.measure import CaseResult, classify, measured
from tests.fuzz.mutators import mutate_bytes
from tests.unit.media.video_maker import mux_sound

SETTINGS = MediaSettings(segments=8, pixels=32, frames_per_segment=1)
FRAMES, FPS, HEIGHT = 25, 25, 120
QUIET = {"hevc": {"x265-params": "log-level=none"}}


@dataclass(frozen=True)
class Seed:
    """An intact media file: its suffix, how the picture is coded, how the sound is, and its channels."""

    suffix: str
    codec: str
    sound_codec: str | None = None
    pixel_format: str = "yuv420p"
    sound_hz: int = 44_100
    layout: str = "mono"


SEEDS = (
    Seed(".mp4", "libx264", "aac"),
    Seed(".mov", "libx264", "aac", layout="5.1"),
    Seed(".mkv", "libx264", "libopus", sound_hz=48_000, layout="stereo"),
    Seed(".webm", "libvpx", "libopus", sound_hz=48_000),
    Seed(".avi", "mpeg4", "libmp3lame", layout="stereo"),
    Seed(".avi", "mjpeg", "pcm_s16le", "yuvj420p"),
    Seed(".ts", "mpeg2video", "mp2", layout="stereo"),
    Seed(".mpg", "mpeg2video", "mp2"),
    Seed(".flv", "flv", "libmp3lame"),
    Seed(".wmv", "wmv2", "pcm_s16le"),
    Seed(".mkv", "ffv1", "flac", "yuv422p10le", layout="stereo"),
    Seed(".mp4", "hevc", "aac", "yuv420p10le", layout="7.1"),
    Seed(".mov", "prores", "pcm_s16le", "yuv422p10le"),
    Seed(".gif", "gif", None, "rgb8"),
)


@dataclass(frozen=True)
class MediaJob:
    """One case: its number, the seed of the campaign, and the folder for its files."""

    number: int
    seed: int
    work: Path


def run_media_job(job: MediaJob) -> CaseResult:
    """Damage a media file and read it. Runs in a worker."""
    rng = np.random.default_rng([job.seed, job.number])
    seed = SEEDS[int(rng.integers(len(SEEDS)))]
    path, damage = job.work / f"case{seed.suffix}", "none"
    other = SEEDS[int(rng.integers(len(SEEDS)))]
    content, damage = mutate_bytes(intact_content(seed, job.work), intact_content(other, job.work), rng)
    intact = _intact_result(seed, job.work)
    path.write_bytes(content)
    sizes: list[float] = []
    with measured(sizes):
        outcome, detail = classify(
            lambda: read_media(path), intact, lambda result: judge_clip(result, content), (str(path),)
        )
    kind = f"{seed.suffix} {seed.codec} {seed.sound_codec}"
    return CaseResult(job.number, kind, damage, outcome, detail, *sizes)


def read_media(path: Path) -> Clip:
    """Read a media file as `crnet prepare` and `crnet predict` do."""
    from crnet.data.extract import extract_clip
    from crnet.text.hashed_ngrams import HashedNgrams

    return extract_clip(path, clip_id=path.name, transcript="", encoder=HashedNgrams(), settings=SETTINGS)


def judge_clip(clip: Clip, content: bytes) -> Iterator[str]:
    """Find values that no video can have. `Clip` itself checks shapes, types and the order of the frames."""
    if clip.source_sha256 != hashlib.sha256(content).hexdigest():
        yield "the hash of another file"
    if not 0 < clip.duration_s <= LONGEST_S or not np.isfinite(clip.time_s).all():
        yield f"a duration of {clip.duration_s} s"
    if clip.time_s[0] < 0 or clip.time_s[-1] > clip.duration_s:
        yield f"frames from {clip.time_s[0]} to {clip.time_s[-1]} s in {clip.duration_s} s"
    if len(clip.audio) > SAMPLE_RATE_HZ * SETTINGS.max_audio_s:
        yield f"{len(clip.audio) / SAMPLE_RATE_HZ} s of sound in {clip.duration_s} s"
    if not (0 < clip.fps < 1e6 and clip.width > 0 and clip.height > 0):
        yield f"{clip.width}x{clip.height} at {clip.fps} fps"
    missing = np.isnan(clip.face_box).any(axis=1)
    if not np.isfinite(clip.face_box[~missing]).all() or not np.isfinite(clip.face_landmarks[~missing]).all():
        yield "a face that is nowhere"
    for frame in range(len(clip.time_s)):
        for stream in ("scene", "face"):
            if simplejpeg.decode_jpeg(clip.jpeg(stream, frame)).shape != (SETTINGS.pixels, SETTINGS.pixels, 3):
                yield f"a {stream} picture of another size"


class _Intact:
    """The clip of an intact file, equal to every clip with the same content from another path or file."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Clip):
            return NotImplemented
        names = [field.name for field in fields(Clip) if field.name not in ("clip_id", "source_sha256")]
        return all(_equal(getattr(self.clip, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return bool(first == second)


@lru_cache(maxsize=len(SEEDS))
def _intact_result(seed: Seed, work: Path) -> _Intact:
    return _Intact(read_media(_intact_path(seed, work)))


@lru_cache(maxsize=len(SEEDS))
def intact_content(seed: Seed, work: Path) -> bytes:
    """Return the bytes of an intact file, which is made at first use."""
    path = _intact_path(seed, work)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, seed)
    return path.read_bytes()


def _write(path: Path, seed: Seed) -> None:
    """Write a second of picture and sound."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream(seed.codec, rate=FPS, options=QUIET.get(seed.codec, {}))
        track = container.add_stream(seed.sound_codec, seed.sound_hz, layout=seed.layout) if seed.sound_codec else None
        images = _person()
        picture.height, picture.width = images[0].shape[:2]
        picture.pix_fmt = seed.pixel_format
        for image in images:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(picture.encode(None))
        if track is not None:
            mux_sound(container, track, _sound(seed), seed.sound_hz, seed.layout)


def _intact_path(seed: Seed, work: Path) -> Path:
    return work / "intact media" / f"{seed.codec} {seed.sound_codec}{seed.suffix}"


def _sound(seed: Seed) -> np.ndarray:
    """Return a tone that swells, float32 [channels, n]."""
    channels = {"mono": 1, "stereo": 2, "5.1": 6, "7.1": 8}[seed.layout]
    time_s = np.arange(seed.sound_hz * FRAMES // FPS) / seed.sound_hz
    tone = (0.3 * np.sin(2 * np.pi * 300 * time_s) * time_s).astype(np.float32)
    return np.repeat(tone[None], channels, axis=0)


@lru_cache(maxsize=1)
def _person() -> list[np.ndarray]:
    """Return the frames of a synthetic person."""
    from crnet.simulate.performance import perform, render_frames
    from crnet.simulate.planning import SimulationConfig, plan_clips

    config = SimulationConfig(3, 0, FRAMES / FPS, FPS, HEIGHT, "easy", voice="built-in")
    return [
        frame[:, : frame.shape[1] // 2 * 2] for frame in render_frames(perform(plan_clips(config)[0], config), config)
    ]
