"""Clips of noise whose pictures and sound carry chosen cues, for benchmarks and tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import simplejpeg

from crnet.types import SAMPLE_RATE_HZ, TEXT_DIMENSIONS, Clip, VisualStream

PICTURE_NOISE = 20  # levels of 255
SOUND_LEVEL = 4_000  # of 32,768


def noise_clip(
    clip_id: str,
    *,
    brightness: Mapping[VisualStream, float],
    loudness: float,
    rng: np.random.Generator,
    pixels: int,
    segments: int,
    frames_per_segment: int = 1,
    duration_s: float,
) -> Clip:
    """Return a clip of noise; its text vector is zero.

    Args:
        clip_id: Its name.
        brightness: Mean level, 0 to 255, of the pictures of each visual stream.
        loudness: Deviation of the sound, as a multiple of `SOUND_LEVEL`.
        rng: Source of the noise.
        pixels: Side of the pictures.
        segments: Segments of the clip.
        frames_per_segment: Stored frames of each segment.
        duration_s: Length of the clip.
    """
    frames = segments * frames_per_segment
    jpegs: dict[VisualStream, list[bytes]] = {stream: [] for stream in brightness}
    for _ in range(frames):
        for stream, files in jpegs.items():
            picture = brightness[stream] + PICTURE_NOISE * rng.normal(size=(pixels, pixels, 3))
            image = np.clip(picture, 0, 255).astype(np.uint8)
            files.append(simplejpeg.encode_jpeg(image, quality=90, colorspace="RGB", colorsubsampling="420"))
    sound = SOUND_LEVEL * loudness * rng.normal(size=round(duration_s * SAMPLE_RATE_HZ))
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
        text=np.zeros(TEXT_DIMENSIONS, np.float32),
        segments=segments,
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
