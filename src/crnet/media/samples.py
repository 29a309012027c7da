"""The samples of an audio track, and which of its channels to mix into one."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from crnet.media.container import Losses
from crnet.media.pyav import av

logger = logging.getLogger(__name__)

LOUDEST_SAMPLE = 1e6  # of full scale; larger values are damage


@dataclass(frozen=True, eq=False)
class Piece:
    """The samples of one frame.

    Attributes:
        samples: float32 [channels, n]; full scale is 1, and all are finite.
        layout: FFmpeg's name of the channels, for example "stereo".
        rate_hz: Sample rate.
        time_s: Presentation time stamp in seconds; None if it has none.
    """

    samples: Float32[np.ndarray, "channels n"]
    layout: str
    rate_hz: int
    time_s: float | None


def read_pieces(frames: Iterator[Any], losses: Losses) -> Iterator[Piece]:
    """Yield the samples of decoded frames; a frame of a form that cannot be converted is counted as lost."""
    converter, form = None, None
    for frame in frames:
        try:
            if converter is None or (frame.format.name, frame.layout.name, frame.sample_rate) != form:
                form = frame.format.name, frame.layout.name, frame.sample_rate  # broadcasts change it on the way
                # Packed, since PyAV reads past the planes of a frame with eight or more planar channels.
                converter = av.AudioResampler("flt", frame.layout, frame.sample_rate)
            packed = [part.to_ndarray()[0] for part in converter.resample(frame)]
        except (av.FFmpegError, ValueError) as error:
            logger.debug("sound of a form that cannot be converted: %s", error)
            losses.packets += 1
            continue
        samples = np.concatenate([np.zeros(0, np.float32), *packed]).reshape(-1, frame.layout.nb_channels).T
        time_s = None if frame.pts is None else float(frame.pts * frame.time_base)
        yield Piece(_finite(np.ascontiguousarray(samples)), frame.layout.name, frame.sample_rate, time_s)


def _finite(samples: Float32[np.ndarray, "channels n"]) -> Float32[np.ndarray, "channels n"]:
    """Return samples with silence instead of those that are not finite, or beyond anything that can be recorded."""
    is_sound = np.abs(samples) <= LOUDEST_SAMPLE
    return samples if is_sound.all() else np.where(is_sound, samples, np.float32(0))
