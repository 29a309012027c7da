"""A small clip store of noise, for tests. Frames, sound and text depend on the scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg

from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import clip_path, write_clip
from crnet.types import SAMPLE_RATE_HZ, SEGMENTS, SPLITS, TARGETS, TEXT_DIMENSIONS, Clip, Split

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
    frames = SEGMENTS * frames_per_segment
    brightness = 128 + 45 * trend
    jpegs: dict[str, list[bytes]] = {"scene": [], "face": []}
    for _ in range(frames):
        for files in jpegs.values():
            picture = np.clip(brightness + 20 * rng.normal(size=(pixels, pixels, 3)), 0, 255).astype(np.uint8)
            files.append(simplejpeg.encode_jpeg(picture, quality=90, colorspace="RGB", colorsubsampling="420"))
    sound = 4000 * np.exp(0.5 * trend) * rng.normal(size=round(duration_s * SAMPLE_RATE_HZ))
    words = (trend * direction if direction is not None else 0) + 0.5 * rng.normal(size=TEXT_DIMENSIONS)
    return Clip(
        clip_id=clip_id,
        scene_jpeg=np.frombuffer(b"".join(jpegs["scene"]), np.uint8),
        scene_offsets=np.cumsum([0, *map(len, jpegs["scene"])], dtype=np.int64),
        face_jpeg=np.frombuffer(b"".join(jpegs["face"]), np.uint8),
        face_offsets=np.cumsum([0, *map(len, jpegs["face"])], dtype=np.int64),
        time_s=np.arange(frames) * (duration_s / frames),
        segment=(np.arange(frames) // frames_per_segment).astype(np.int16),
        face_box=np.tile(np.array([2, 2, pixels - 2, pixels - 2], np.float32), (frames, 1)),
        face_landmarks=np.full((frames, 5, 2), pixels / 2, np.float32),
        face_score=np.full(frames, 0.99, np.float32),
        audio=np.clip(sound, -32768, 32767).astype(np.int16),
        text=(words / np.sqrt(TEXT_DIMENSIONS)).astype(np.float32),
        segments=SEGMENTS,
        duration_s=duration_s,
        width=pixels,
        height=pixels,
        fps=frames / duration_s,
        source_sha256="",
        settings="synthetic",
        simulated=False,
        has_audio=True,
        has_transcript=True,
    )
