"""A long video in windows as long as the training clips: one prediction for each window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from crnet.data.extract import extract_clip
from crnet.data.store import as_clip_source
from crnet.data.transforms import read_sample, stack_samples
from crnet.explain.words import Word
from crnet.predict import Predictor
from crnet.types import SAMPLE_RATE_HZ, TARGETS, VISUAL_STREAMS, Clip, Faces
from crnet.utils.progress import Progress, no_progress

WINDOW_S = 15.0  # a clip of First Impressions
LONGER_THAN_WINDOW = 1.25  # a shorter video, in windows, is scored as one clip
MOST_SEGMENTS = 8192  # windows of longer videos grow; at 32 frames and 15 s that is an hour
LONGEST_SOUND_S = 3600.0
BATCH = 4


@dataclass(frozen=True)
class Window:
    """One window of a video.

    Attributes:
        start_s, end_s: Seconds from the beginning of the video.
        scores: The fused scores.
        faces: In how many of its frames the person's face was found.
        text: The words spoken in it, by their estimated times.
        face_jpeg: The face in its middle, as a JPEG file; the centre of the picture if there is none.
    """

    start_s: float
    end_s: float
    scores: Mapping[str, float]
    faces: Faces
    text: str
    face_jpeg: bytes


def window_length_s(predictor: Predictor) -> float:
    """Return 15 s, or the length of the longest training clip if that is shorter."""
    longest_training_s = (predictor.bundle.config.transforms.audio_samples or 0) / SAMPLE_RATE_HZ
    return min(WINDOW_S, longest_training_s or WINDOW_S)


def is_long(predictor: Predictor, duration_s: float, window_s: float | None = None) -> bool:
    """Return whether a video is long enough to be scored in windows."""
    return duration_s > LONGER_THAN_WINDOW * (window_s or window_length_s(predictor))


def score_windows(
    predictor: Predictor,
    path: Path | str,
    duration_s: float,
    words: Sequence[Word],
    window_s: float | None = None,
    stride_s: float | None = None,
    progress: Progress = no_progress,
) -> tuple[Window, ...]:
    """Score every window of a video. The video is decoded once, and the person is tracked through all of it.

    Args:
        predictor: The trained system.
        path: The video.
        duration_s: Its length.
        words: The transcript with times.
        window_s: Length of a window; by default `window_length_s`. It is adjusted so that windows fill the video.
        stride_s: Time between the starts of neighbouring windows; by default half a window.
        progress: Called after every batch of windows.

    Raises:
        MediaError: The video cannot be read.
    """
    window_s = window_s or window_length_s(predictor)
    stride_s = stride_s or window_s / 2
    frames = predictor.bundle.config.transforms.frames
    segments = int(np.clip(round(duration_s / window_s * frames), frames, MOST_SEGMENTS))
    settings = replace(predictor.media_settings(), segments=segments, frames_per_segment=1, max_audio_s=LONGEST_SOUND_S)
    clip = extract_clip(
        Path(path), clip_id=str(path), transcript="", encoder=predictor.encoder, settings=settings, allow_still=True
    )
    stride = max(round(stride_s / window_s * frames), 1)
    starts = sorted({*range(0, segments - frames + 1, stride), segments - frames})
    windows: list[Window] = []
    for first in range(0, len(starts), BATCH):
        windows += _score(predictor, clip, starts[first : first + BATCH], frames, words)
        progress("scoring windows", len(windows), len(starts))
    return tuple(windows)


def _score(
    predictor: Predictor, clip: Clip, starts: Sequence[int], count: int, words: Sequence[Word]
) -> Iterator[Window]:
    """Score the windows of `count` segments that begin at some segments of a clip."""
    texts = [_words_between(clip, start, count, words) for start in starts]
    vectors = predictor.encoder.encode(texts)
    parts = [replace(cut(clip, start, count), text=vector) for start, vector in zip(starts, vectors, strict=True)]
    config, streams = predictor.bundle.config.transforms, tuple(predictor.bundle.networks)
    fused, _ = predictor.predict_batch(
        stack_samples([read_sample(as_clip_source(part), config, None, streams) for part in parts])
    )
    for part, start, text, scores in zip(parts, starts, texts, fused, strict=True):
        start_s = start * clip.duration_s / clip.segments
        with_face = np.flatnonzero(np.isfinite(part.face_box).all(axis=1))
        middle = int(with_face[len(with_face) // 2]) if len(with_face) else len(part.time_s) // 2
        yield Window(
            start_s=start_s,
            end_s=start_s + part.duration_s,
            scores=dict(zip(TARGETS, scores.tolist(), strict=True)),
            faces=Faces(len(with_face), len(part.time_s)),
            text=text,
            face_jpeg=part.jpeg("face", middle),
        )


def cut(clip: Clip, start: int, count: int) -> Clip:
    """Return the `count` segments of a clip from segment `start` on, as a clip."""
    frames = np.flatnonzero((clip.segment >= start) & (clip.segment < start + count))
    first, last = int(frames[0]), int(frames[-1]) + 1
    start_s, length_s = (segments * clip.duration_s / clip.segments for segments in (start, count))
    samples = slice(round(start_s * SAMPLE_RATE_HZ), round((start_s + length_s) * SAMPLE_RATE_HZ))
    jpeg_files = {}
    for stream in VISUAL_STREAMS:
        data, offsets = getattr(clip, f"{stream}_jpeg"), getattr(clip, f"{stream}_offsets")
        jpeg_files[f"{stream}_jpeg"] = data[offsets[first] : offsets[last]]
        jpeg_files[f"{stream}_offsets"] = offsets[first : last + 1] - offsets[first]
    return replace(
        clip,
        **jpeg_files,
        time_s=clip.time_s[first:last] - start_s,
        segment=(clip.segment[first:last] - start).astype(np.int16),
        face_box=clip.face_box[first:last],
        face_landmarks=clip.face_landmarks[first:last],
        face_score=clip.face_score[first:last],
        audio=clip.audio[samples],
        segments=count,
        duration_s=length_s,
    )


def _words_between(clip: Clip, start: int, count: int, words: Sequence[Word]) -> str:
    """Return the words whose middle lies in the `count` segments from segment `start` on."""
    start_s, end_s = (segments * clip.duration_s / clip.segments for segments in (start, start + count))
    return " ".join(word.text for word in words if start_s <= (word.start_s + word.end_s) / 2 < end_s)


def summarise(windows: Sequence[Window]) -> dict[str, dict[str, float]]:
    """Return mean, lowest and highest score of each target over the windows."""
    values = {target: [window.scores[target] for window in windows] for target in TARGETS}
    return {t: {"mean": float(np.mean(v)), "low": min(v), "high": max(v)} for t, v in values.items()}
