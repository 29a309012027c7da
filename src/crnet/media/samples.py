"""The samples of an audio track, and which of its channels to mix into one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

from crnet.media.container import Losses
from crnet.media.pyav import av

logger = logging.getLogger(__name__)

LOUDEST_SAMPLE = 1e6  # of full scale; larger values are damage
KEPT_ENERGY = 1 / 8  # of the loudest channel; one silent channel of two leaves 1/4
SIGNAL_ENERGY = 0.01  # of the loudest channel; quieter ones count as empty
BASS_CHANNELS = frozenset({"LFE", "LFE2"})  # nobody speaks there, whatever its loudness


@dataclass(frozen=True, eq=False)
class Piece:
    """The samples of one frame.

    Attributes:
        samples: float32 [channels, n]; full scale is 1, and all are finite.
        layout: FFmpeg's name of the channels, for example "stereo".
        is_bass: bool [channels], whether a channel is for low-frequency effects.
        rate_hz: Sample rate.
        time_s: Presentation time stamp in seconds; None if it has none.
    """

    samples: Float32[np.ndarray, "channels n"]
    layout: str
    is_bass: NDArray[np.bool_]
    rate_hz: int
    time_s: float | None


def read_pieces(frames: Iterator[Any], losses: Losses) -> Iterator[Piece]:
    """Yield the samples of decoded frames; a frame of a form that cannot be converted is counted as lost."""
    converter, form, is_bass = None, None, np.zeros(0, bool)
    for frame in frames:
        try:
            if converter is None or (frame.format.name, frame.layout.name, frame.sample_rate) != form:
                form = frame.format.name, frame.layout.name, frame.sample_rate  # broadcasts change it on the way
                # Packed, since PyAV reads past the planes of a frame with eight or more planar channels.
                converter = av.AudioResampler("flt", frame.layout, frame.sample_rate)
                is_bass = np.array([channel.name in BASS_CHANNELS for channel in frame.layout.channels])
            packed = [part.to_ndarray()[0] for part in converter.resample(frame)]
        except (av.FFmpegError, ValueError) as error:
            logger.debug("sound of a form that cannot be converted: %s", error)
            losses.packets += 1
            continue
        samples = np.concatenate([np.zeros(0, np.float32), *packed]).reshape(-1, frame.layout.nb_channels).T
        time_s = None if frame.pts is None else float(frame.pts * frame.time_base)
        yield Piece(_finite(np.ascontiguousarray(samples)), frame.layout.name, is_bass, frame.sample_rate, time_s)


def _finite(samples: Float32[np.ndarray, "channels n"]) -> Float32[np.ndarray, "channels n"]:
    """Return samples with silence instead of those that are not finite, or beyond anything that can be recorded."""
    is_sound = np.abs(samples) <= LOUDEST_SAMPLE
    return samples if is_sound.all() else np.where(is_sound, samples, np.float32(0))


class Mixer:
    """Mixes channels into one, and measures whether their plain mean loses the sound.

    Args:
        chosen: Numbers, from 0, of the channels to take the mean of, by layout; all those of other layouts.
    """

    def __init__(self, chosen: Mapping[str, NDArray[np.intp]] | None = None) -> None:
        self._chosen = chosen or {}
        self._products: dict[str, Float64[np.ndarray, "channels channels"]] = {}

    def mono(self, piece: Piece) -> Float32[np.ndarray, " n"]:
        """Return the mean of the channels of a piece."""
        channels, length = piece.samples.shape
        if channels > 1 and length:
            centred = piece.samples - piece.samples.mean(axis=1, keepdims=True)  # a constant is not heard
            products = (centred @ centred.T).astype(np.float64)
            if products.diagonal()[~piece.is_bass].any():
                products[piece.is_bass] = products[:, piece.is_bass] = 0.0
            self._products[piece.layout] = self._products.get(piece.layout, 0.0) + products
        kept = piece.samples[self._chosen[piece.layout]] if piece.layout in self._chosen else piece.samples
        return np.asarray(kept.mean(axis=0))

    def better(self) -> dict[str, NDArray[np.intp]]:
        """Return the channels to choose instead, by layout, where the mean of all loses most of the sound so far."""
        choices = {layout: channels_to_mix(products) for layout, products in self._products.items()}
        return {layout: channels for layout, channels in choices.items() if len(channels) < len(self._products[layout])}

    def warnings(self) -> list[str]:
        """Say which channels were mixed where they are not all."""
        return [
            f"the mean of the {len(self._products[layout])} channels of the sound loses most of it; "
            + (f"the mean of channels {_numbers(channels)}" if len(channels) > 1 else f"channel {_numbers(channels)}")
            + " was read instead"
            for layout, channels in self._chosen.items()
            if layout in self._products
        ]


def channels_to_mix(products: Float64[np.ndarray, "channels channels"]) -> NDArray[np.intp]:
    """Return the channels whose mean keeps the sound: all, those with a signal, or else the loudest.

    Args:
        products: Inner products of the channels with each other; the energies are on the diagonal.
    """
    energies = np.diag(products)
    loudest = int(np.argmax(energies))
    for channels in (np.arange(len(energies)), np.flatnonzero(energies >= energies[loudest] * SIGNAL_ENERGY)):
        if products[np.ix_(channels, channels)].mean() >= energies[loudest] * KEPT_ENERGY:
            return channels
    return np.array([loudest])


def _numbers(channels: NDArray[np.intp]) -> str:
    return ", ".join(str(channel + 1) for channel in channels)
