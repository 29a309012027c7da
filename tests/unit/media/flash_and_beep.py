"""Write videos with a white flash and a beep at the same time, and find both again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from crnet.media.audio import read_sound
from crnet.media.video import decode, probe

FPS = 50
FLASH_S = 3.0
END_S = 3.6
SIZE = 64


@dataclass(frozen=True)
class Form:
    """A container with codecs; `sound_hz` and `layout` are the sound's format."""

    suffix: str
    video: str
    audio: str
    sound_hz: int = 48_000
    layout: str = "mono"
    options: tuple[tuple[str, str], ...] = ()
    container_options: tuple[tuple[str, str], ...] = ()
    format: str | None = None

    def __str__(self) -> str:
        return f"{self.suffix}-{self.video}-{self.audio}-{self.sound_hz}"


def beep(start_s: float, end_s: float, hz: int, at_s: float) -> np.ndarray:
    """Return silence from `start_s` to `end_s` with a tone of 1 kHz from `at_s` on, float32."""
    times_s = start_s + np.arange(round((end_s - start_s) * hz)) / hz
    return np.where(times_s >= at_s - 1e-9, 0.5 * np.cos(2 * np.pi * 1000 * (times_s - at_s)), 0).astype(np.float32)


def write_flash_and_beep(
    path: Path,
    form: Form,
    sound_delay_s: float = 0.0,
    *,
    start_s: float = 0.0,
    silent_s: Sequence[tuple[float, float]] = (),
    cut_s: float = 0.0,
) -> Path:
    """Write a grey picture that turns white when a tone begins, both until the end.

    Args:
        path: The file.
        form: Container and codecs.
        sound_delay_s: How much later than the picture the sound track begins; negative: the picture is late.
        start_s: Time stamp of the earlier track.
        silent_s: Parts of the sound, from the earlier track's start on, that the file lacks.
        cut_s: How much of the grey and silent start is left out.
    """
    late_picture_s, late_sound_s = max(-sound_delay_s, 0.0), max(sound_delay_s, 0.0)
    with av.open(str(path), "w", format=form.format, options=dict(form.container_options)) as container:
        picture = container.add_stream(form.video, rate=FPS, options=dict(form.options))
        picture.width = picture.height = SIZE
        picture.pix_fmt = "yuv420p"
        sound = container.add_stream(form.audio, form.sound_hz, layout=form.layout)
        packets = []
        for number in range(round((late_picture_s + cut_s) * FPS), round(END_S * FPS)):
            level = 255 if number >= FLASH_S * FPS else 90
            frame = av.VideoFrame.from_ndarray(np.full((SIZE, SIZE, 3), level, np.uint8), "rgb24")
            frame.pts, frame.time_base = number + round((start_s - cut_s) * FPS), Fraction(1, FPS)
            packets += picture.encode(frame)
        packets += picture.encode(None)
        packets += _sound_packets(sound, form, late_sound_s + cut_s, start_s - cut_s, silent_s)
        packets.sort(key=lambda packet: packet.dts * packet.time_base)
        for packet in packets:
            container.mux(packet)
    return path


def _sound_packets(
    track: Any, form: Form, late_s: float, start_s: float, silent_s: Sequence[tuple[float, float]]
) -> list[Any]:
    hz = form.sound_hz
    samples = beep(late_s, END_S, hz, FLASH_S)
    packets, step = [], track.codec_context.frame_size or 1024
    for first in range(0, len(samples), step):
        time_s = late_s + first / hz
        if any(low <= time_s < high for low, high in silent_s):
            continue
        piece = np.repeat(samples[None, first : first + step], 2 if form.layout == "stereo" else 1, axis=0)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(piece), "fltp", form.layout)
        frame.sample_rate, frame.pts, frame.time_base = hz, round((start_s + late_s) * hz) + first, Fraction(1, hz)
        packets += track.encode(frame)
    return packets + track.encode(None)


def find_flash_and_beep(path: Path) -> tuple[float, float]:
    """Return when the picture turns white and when the tone begins, in seconds."""
    info = probe(path)
    flash_s = next(frame.time_s for frame in decode(path, info) if frame.rgb(8, 8).mean() > 180)
    samples = np.abs(read_sound(path, info.timeline).samples / 32768)
    return flash_s, float(np.argmax(samples > 0.2)) / 16_000
