"""A small clip store of noise, for tests. Frames, sound and text depend on the scores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.noise_clip import noise_clip
from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import clip_path, write_clip
from crnet.types import SEGMENTS, SPLITS, TARGETS, TEXT_DIMENSIONS, Clip, Split

SPLIT_OF_FIVE: tuple[Split, ...] = ("train", "train", "train", "val", "test")  # FIv2's 3:1:1


def write_store(
    folder: Path,
    clips: int = 24,
    seed: int = 0,
    *,
    pixels: int = 32,
    frames_per_segment: int = 2,
    duration_s: float = 1.0,
    shuffled: bool = False,
    splits: tuple[Split, ...] = SPLIT_OF_FIVE,
) -> Path:
    """Write a store whose clips depend on their scores: higher scores are brighter, louder and worded differently.

    Args:
        folder: The store.
        clips: Number of clips; they are assigned to `splits` in turn.
        seed: Random seed.
        pixels: Side of the stored frames.
        frames_per_segment: Stored frames of each of the 32 segments.
        duration_s: Length of each clip.
        shuffled: Permute the scores within each split, so that the clips do not show them: the control.
        splits: The split of each clip, repeated in turn.

    Returns:
        `folder`.
    """
    rng = np.random.default_rng(seed)
    trend = rng.normal(size=clips)
    scores = np.clip(0.52 + 0.13 * trend[:, None] + 0.03 * rng.normal(size=(clips, len(TARGETS))), 0.01, 0.99)
    clip_splits = [splits[i % len(splits)] for i in range(clips)]
    labels = scores.copy()
    if shuffled:
        for split in SPLITS:
            members = [i for i in range(clips) if clip_splits[i] == split]
            labels[members] = scores[rng.permutation(members)]
    direction = rng.normal(size=TEXT_DIMENSIONS)
    rows = []
    for i in range(clips):
        clip = make_clip(f"clip{i:04d}.mp4", float(trend[i]), direction, rng, pixels, frames_per_segment, duration_s)
        path = clip_path(clip.clip_id)
        write_clip(folder / path, clip)
        rows.append(
            ClipRow(
                clip.clip_id,
                path,
                clip_splits[i],
                tuple(labels[i].tolist()),
                person=f"person{i // 2}",
                groups={"gender": "female" if i % 2 else "male"},
                transcript=f"words of clip {i}",
                duration_s=duration_s,
                frames=len(clip.time_s),
                faces_found=SEGMENTS,
                faces_looked_at=SEGMENTS,
            )
        )
    write_manifest(folder, Manifest(tuple(rows), "folder", {"pixels": pixels}, "synthetic", "synthetic"))
    return folder


def make_clip(
    clip_id: str,
    trend: float = 0.0,
    direction: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
    pixels: int = 32,
    frames_per_segment: int = 2,
    duration_s: float = 1.0,
) -> Clip:
    """Return a clip of noise whose brightness, loudness and text vector depend on `trend`, a standard normal number."""
    rng = rng or np.random.default_rng(0)
    brightness = 128 + 45 * trend
    clip = noise_clip(
        clip_id,
        brightness={"scene": brightness, "face": brightness},
        loudness=float(np.exp(0.5 * trend)),
        rng=rng,
        pixels=pixels,
        segments=SEGMENTS,
        frames_per_segment=frames_per_segment,
        duration_s=duration_s,
    )
    words = (trend * direction if direction is not None else 0) + 0.5 * rng.normal(size=TEXT_DIMENSIONS)
    return replace(clip, text=(words / np.sqrt(TEXT_DIMENSIONS)).astype(np.float32))
