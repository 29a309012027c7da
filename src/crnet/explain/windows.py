"""A long video in windows as long as the clips that the system was trained on: a score for every stretch of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crnet.data.extract import clip_from_video
from crnet.data.store import source_of
from crnet.data.transforms import collate, sample
from crnet.explain.words import Word
from crnet.predict import Predictor
from crnet.types import SAMPLE_RATE_HZ, TARGETS, Clip, Faces
from crnet.utils.progress import Progress, no_progress

WINDOW_S = 15.0  # a clip of First Impressions
LONGER_THAN_WINDOW = 1.25  # a video of less is one clip
MOST_SEGMENTS = 8192  # windows of longer videos grow; at 32 frames and 15 s that is an hour
LONGEST_SOUND_S = 3600.0
BATCH = 4


@dataclass(frozen=True)
class Window:
    """One stretch of a video.

    Attributes:
        start_s, end_s: From when to when.
        scores: The fused scores.
        faces: In how many of its frames the person's face was found.
        text: What is said in it, roughly.
        face_jpeg: The face in its middle, as a JPEG file; the centre of the picture if there is none.
    """

    start_s: float
    end_s: float
    scores: Mapping[str, float]
    faces: Faces
    text: str
    face_jpeg: bytes


def window_length_s(predictor: Predictor) -> float:
    """15 s, or the length of the longest training clip if that is shorter."""
    heard_s = (predictor.bundle.config.transforms.audio_samples or 0) / SAMPLE_RATE_HZ
    return min(WINDOW_S, heard_s or WINDOW_S)


def is_long(predictor: Predictor, duration_s: float, window_s: float | None = None) -> bool:
    """Whether a video is worth cutting into windows."""
    return duration_s > LONGER_THAN_WINDOW * (window_s or window_length_s(predictor))


def score_windows(
    predictor: Predictor,
    path: Path,
    duration_s: float,
    words: Sequence[Word],
    *,
    window_s: float | None = None,
    stride_s: float | None = None,
    progress: Progress = no_progress,
) -> tuple[Window, ...]:
    """Score every window of a video. It is decoded once, and its person followed through all of it.

    Args:
        predictor: The system.
        path: The video.
        duration_s: Its length.
        words: What is said, with times.
        window_s: Length of a window; by default `window_length_s`. It is fitted so that windows fill the video.
        stride_s: From one window's beginning to the next; by default half a window.
        progress: Told after every batch of windows.

    Raises:
        MediaError: The video cannot be read.
    """
    window_s = window_s or window_length_s(predictor)
    stride_s = stride_s or window_s / 2
    frames = predictor.bundle.config.transforms.frames
    segments = int(np.clip(round(duration_s / window_s * frames), frames, MOST_SEGMENTS))
    settings = replace(predictor.media_settings(), segments=segments, frames_per_segment=1, max_audio_s=LONGEST_SOUND_S)
    whole = clip_from_video(path, clip_id=str(path), transcript="", encoder=predictor.encoder, settings=settings)
    stride = max(round(stride_s / window_s * frames), 1)
    starts = sorted({*range(0, segments - frames + 1, stride), segments - frames})
    windows: list[Window] = []
    for first in range(0, len(starts), BATCH):
        windows += _scored(predictor, whole, starts[first : first + BATCH], frames, words)
        progress("scoring windows", len(windows), len(starts))
    return tuple(windows)


def _scored(
    predictor: Predictor, whole: Clip, starts: Sequence[int], frames: int, words: Sequence[Word]
) -> Iterator[Window]:
    config, streams = predictor.bundle.config.transforms, tuple(predictor.bundle.nets)
    said = [_said(whole, start, frames, words) for start in starts]
    vectors = predictor.encoder.encode(said)
    clips = [replace(cut(whole, s, frames), text=vector) for s, vector in zip(starts, vectors, strict=True)]
    fused, _ = predictor.predict_batch(collate([sample(source_of(clip), config, None, streams) for clip in clips]))
    for clip, start, text, scores in zip(clips, starts, said, fused, strict=True):
        start_s = start * whole.duration_s / whole.segments
        found = np.flatnonzero(np.isfinite(clip.face_box).all(axis=1))
        shown = int(found[len(found) // 2]) if len(found) else len(clip.time_s) // 2
        yield Window(
            start_s=start_s,
            end_s=start_s + clip.duration_s,
            scores=dict(zip(TARGETS, scores.tolist(), strict=True)),
            faces=Faces(len(found), len(clip.time_s)),
            text=text,
            face_jpeg=clip.jpeg("face", shown),
        )


def cut(whole: Clip, start: int, count: int) -> Clip:
    """The part of a clip that is `count` segments long from segment `start` on, as a clip of its own."""
    frames = np.flatnonzero((whole.segment >= start) & (whole.segment < start + count))
    first, last = int(frames[0]), int(frames[-1]) + 1
    start_s, length_s = (n * whole.duration_s / whole.segments for n in (start, count))
    heard = slice(round(start_s * SAMPLE_RATE_HZ), round((start_s + length_s) * SAMPLE_RATE_HZ))
    jpegs = {}
    for stream in ("scene", "face"):
        data, offsets = getattr(whole, f"{stream}_jpeg"), getattr(whole, f"{stream}_offsets")
        jpegs[f"{stream}_jpeg"] = data[offsets[first] : offsets[last]]
        jpegs[f"{stream}_offsets"] = offsets[first : last + 1] - offsets[first]
    return replace(
        whole,
        **jpegs,
        time_s=whole.time_s[first:last] - start_s,
        segment=(whole.segment[first:last] - start).astype(np.int16),
        face_box=whole.face_box[first:last],
        face_landmarks=whole.face_landmarks[first:last],
        face_score=whole.face_score[first:last],
        audio=whole.audio[heard],
        segments=count,
        duration_s=length_s,
    )


def _said(whole: Clip, start: int, count: int, words: Sequence[Word]) -> str:
    """The words whose middle falls into some segments."""
    start_s, end_s = (n * whole.duration_s / whole.segments for n in (start, start + count))
    return " ".join(word.text for word in words if start_s <= (word.start_s + word.end_s) / 2 < end_s)


def summary(windows: Sequence[Window]) -> dict[str, dict[str, float]]:
    """Of each target, the mean of all windows and the lowest and highest of them."""
    values = {target: [window.scores[target] for window in windows] for target in TARGETS}
    return {t: {"mean": float(np.mean(v)), "low": min(v), "high": max(v)} for t, v in values.items()}
