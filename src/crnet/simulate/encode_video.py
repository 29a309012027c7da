"""Encode a planned clip as an mp4 file with H.264 video and AAC sound."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from crnet.media.video import SIMULATED_COMMENT
from crnet.simulate.performance import perform, render_frames
from crnet.simulate.planning import ClipPlan, SimulationConfig
from crnet.simulate.speech import Speech
from crnet.types import SAMPLE_RATE_HZ
from crnet.utils.files import atomic_write

# Without cpu-independent, x264 does not always encode the same pixels in the same way.
VIDEO_OPTIONS = {"preset": "veryfast", "crf": "23", "threads": "1", "x264-params": "cpu-independent=1"}
AUDIO_OPTIONS = {"aac_coder": "fast"}
AUDIO_BITS_PER_S = 64_000
AUDIO_BLOCK = 1024  # samples per AAC frame


def encode_video(plan: ClipPlan, config: SimulationConfig, path: str | Path) -> None:
    """Perform, draw and encode one clip; `path` appears only when it is complete.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    path = Path(path)
    performance = perform(plan, config)
    with (
        atomic_write(path) as temporary,
        av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        container.metadata["comment"] = SIMULATED_COMMENT
        video = container.add_stream("libx264", rate=config.rate, options=VIDEO_OPTIONS)
        video.width, video.height, video.pix_fmt = config.width, config.height, "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono", options=AUDIO_OPTIONS)
        audio.bit_rate = AUDIO_BITS_PER_S
        sound = _sound_blocks(performance.speech)
        audio_s = 0.0
        for index, pixels in enumerate(render_frames(performance, config)):
            planes = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2YUV_I420), np.uint8)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts, frame.time_base = index, 1 / config.rate
            container.mux(video.encode(frame))
            while audio_s <= index / config.fps and (block := next(sound, None)) is not None:
                container.mux(audio.encode(block))
                audio_s += block.samples / SAMPLE_RATE_HZ
        for block in sound:
            container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _sound_blocks(speech: Speech) -> Iterator[av.AudioFrame]:
    for start in range(0, len(speech.audio), AUDIO_BLOCK):
        block = speech.audio[None, start : start + AUDIO_BLOCK]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, start, Fraction(1, SAMPLE_RATE_HZ)
        yield frame
