"""Write small videos for tests."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def quadrants(height: int, width: int) -> np.ndarray:
    """Return an image: red top left, green top right, blue bottom left, white bottom right."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    image[height // 2 :, width // 2 :] = 255
    return image


def write_video(
    path: Path,
    images: Sequence[np.ndarray],
    *,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times_ms: Sequence[int] | None = None,
    sound: np.ndarray | None = None,
    sound_hz: int = 16_000,
    sound_codec: str | None = None,
    layout: str | None = None,
    aspect: Fraction | None = None,
    comment: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Write frames [h, w, 3] that appear at `times_ms` (default: 25 a second), and sound float32 [channels, n].

    `layout` names the channels, as FFmpeg does; default: mono or stereo.
    """
    with av.open(str(path), "w", options=options or {}) as container:
        if comment is not None:
            container.metadata["comment"] = comment
        picture = container.add_stream(codec, rate=25)
        picture.height, picture.width = images[0].shape[:2]
        picture.pix_fmt = pixel_format
        picture.codec_context.time_base = MILLISECOND
        if aspect is not None:
            picture.codec_context.sample_aspect_ratio = aspect
        track = None
        if sound is not None:
            sound_codec = sound_codec or ("aac" if path.suffix == ".mp4" else "pcm_s16le")
            layout = layout or ("mono" if len(sound) == 1 else "stereo")
            track = container.add_stream(sound_codec, sound_hz, layout=layout)
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts = 40 * i if times_ms is None else times_ms[i]
            frame.time_base = MILLISECOND
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if track is not None and sound is not None and layout is not None:
            mux_sound(container, track, sound, sound_hz, layout)
    return path


def mux_sound(
    container: av.container.OutputContainer, track: av.AudioStream, sound: np.ndarray, hz: int, layout: str
) -> None:
    for start in range(0, sound.shape[1], 1024):
        packed = np.ascontiguousarray(sound[:, start : start + 1024].T, dtype=np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, "flt", layout)  # PyAV cannot fill eight planar channels
        frame.sample_rate, frame.pts, frame.time_base = hz, start, Fraction(1, hz)
        container.mux(track.encode(frame))
    container.mux(track.encode(None))
