"""Clips to measure with: a synthetic one, or the user's, at 720p, 30 frames a second, H.264 and AAC."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from crnet.errors import MediaError
from crnet.media.container import NOT_A_VIDEO_REMEDY
from crnet.media.video import SIMULATED_COMMENT, decode, probe
from crnet.simulate.encode_video import encode_video
from crnet.simulate.planning import SimulationConfig, plan_clips

HEIGHT, FPS = 720, 30  # 16:9
SOUND_HZ = 44_100
SOUND_BLOCK = 1024  # samples of an AAC frame
SYNTHETIC_S = 5.0  # duration of the synthetic clip before it is looped


def standard_clip(source: Path | None, out: Path, seconds: float, height: int = HEIGHT) -> Path:
    """Write a clip with x264's default quality and speed, and stereo AAC; repeat a source that is too short.

    Args:
        source: Video to convert; None: a synthetic person.
        out: The mp4 file to write.
        seconds: Duration of the clip.
        height: Frame height in pixels; the frames are 16:9.

    Raises:
        MediaError: The video cannot be read.
    """
    if source is None:
        source = out.with_name("synthetic.mp4")
        config = SimulationConfig(clips=5, seconds=min(SYNTHETIC_S, seconds), fps=FPS, height=height, difficulty="easy")
        encode_video(plan_clips(config)[0], config, source)
    info = probe(source)
    with av.open(str(out), "w") as container:
        if info.simulated:
            container.metadata["comment"] = SIMULATED_COMMENT
        video = container.add_stream("libx264", rate=FPS, options={"preset": "medium", "crf": "23"})
        video.width, video.height, video.pix_fmt = 16 * height // 9, height, "yuv420p"
        audio = container.add_stream("aac", rate=SOUND_HZ, layout="stereo")
        for frame in _frames(source, round(seconds * FPS), height):
            container.mux(video.encode(frame))
        for block in _sound(source, round(seconds * SOUND_HZ)):
            container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return out


def _frames(source: Path, count: int, height: int) -> Iterator[av.VideoFrame]:
    """Yield `count` frames of this height at the source's own speed, from the start again where it ends."""
    info = probe(source)
    step = max(info.fps / FPS, 1e-3)
    written = 0
    while written < count:
        loop_start = written
        for frame in decode(source, info):
            while written < count and (written - loop_start) * step <= frame.index + 0.5:
                image = frame.rgb(16 * height // 9, height)
                converted = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24").reformat(
                    format="yuv420p"
                )
                converted.pts, converted.time_base = written, Fraction(1, FPS)
                written += 1
                yield converted
        if written == loop_start:
            raise MediaError("no frame of the video can be decoded", path=source, remedy=NOT_A_VIDEO_REMEDY)


def _sound(source: Path, samples: int) -> Iterator[av.AudioFrame]:
    """Yield `samples` samples of stereo sound, repeated as needed; silence if the source has no sound."""
    with av.open(str(source)) as container:
        to_float = av.AudioResampler("fltp", "stereo", SOUND_HZ)
        decoded = container.decode(audio=0) if container.streams.audio else ()
        blocks = [part.to_ndarray() for frame in decoded for part in to_float.resample(frame)]
    source_sound = np.concatenate([np.zeros((2, 0), np.float32), *blocks], axis=1)
    if not source_sound.shape[1]:
        source_sound = np.zeros((2, samples), np.float32)
    sound = np.tile(source_sound, (1, -(-samples // source_sound.shape[1])))[:, :samples]
    for start in range(0, samples, SOUND_BLOCK):
        block = np.ascontiguousarray(sound[:, start : start + SOUND_BLOCK], dtype=np.float32)
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_HZ, start, Fraction(1, SOUND_HZ)
        yield frame


def looped(clip: Path, times: int, out: Path) -> Path:
    """Write the clip `times` times in a row by copying its packets, without decoding or encoding."""
    with av.open(str(clip)) as source, av.open(str(out), "w") as container:
        tracks = (*source.streams.video[:1], *source.streams.audio[:1])
        copies = {track.index: container.add_stream_from_template(track) for track in tracks}
        duration_s = Fraction(0)
        for number in range(times):
            source.seek(0)
            for packet in source.demux(*tracks):
                if packet.dts is None:  # an empty packet that ends the track
                    continue
                if not number:
                    duration_s = max(duration_s, (packet.dts + (packet.duration or 0)) * packet.time_base)
                _delay(packet, (duration_s + Fraction(1, FPS)) * number)
                packet.stream = copies[packet.stream.index]
                container.mux(packet)
    return out


def _delay(packet: Any, seconds: Fraction) -> None:
    ticks = round(seconds / packet.time_base)
    packet.pts += ticks
    packet.dts += ticks


def bare_decode(path: Path) -> int:
    """Decode picture and sound with PyAV's defaults and drop them: the limit of `prepare` and `predict`.

    Returns:
        Number of frames and blocks of sound.
    """
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(*container.streams.video[:1], *container.streams.audio[:1]))
