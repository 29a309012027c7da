"""The samples of an audio track, and which of its channels to mix into one."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.media.container import Losses
from crnet.media.pyav import av

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

LOUDEST_SAMPLE = 1e6  # of full scale; larger values are damage
KEPT_ENERGY = 1 / 8  # of the loudest channel; one silent channel of two leaves 1/4
SIGNAL_ENERGY = 0.01  # of the loudest channel; quieter ones count as empty
QUIET_ENERGY = 1e-5  # of a second at full scale, -50 dB; in quieter seconds no channel is missed
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
    """Mixes channels into one, and measures second by second whether their plain mean loses the sound.

    Args:
        chosen: Numbers, from 0, of the channels to take the mean of, by layout; all those of other layouts.
    """

    def __init__(self, chosen: Mapping[str, NDArray[np.intp]] | None = None) -> None:
        self._chosen = chosen or {}
        self._windows: dict[str, dict[int, Float64[np.ndarray, "channels channels"]]] = {}  # by second of the sound
        self._is_bass: dict[str, NDArray[np.bool_]] = {}
        self._heard_s = 0.0

    def mono(self, piece: Piece) -> Float32[np.ndarray, " n"]:
        """Return the mean of the channels of a piece."""
        if len(piece.samples) > 1:
            self._measure(piece)
        kept = piece.samples[self._chosen[piece.layout]] if piece.layout in self._chosen else piece.samples
        return np.asarray(kept.mean(axis=0))

    def _measure(self, piece: Piece) -> None:
        self._is_bass[piece.layout] = piece.is_bass
        for start in range(0, piece.samples.shape[1], piece.rate_hz):
            part = piece.samples[:, start : start + piece.rate_hz]
            centred = part - part.mean(axis=1, keepdims=True)  # a constant is not heard
            products = (centred @ centred.T).astype(np.float64) / piece.rate_hz
            windows, window = self._windows.setdefault(piece.layout, {}), int(self._heard_s)
            windows[window] = windows.get(window, 0.0) + products
            self._heard_s += part.shape[1] / piece.rate_hz

    def _products(self) -> dict[str, Float64[np.ndarray, "windows channels channels"]]:
        """Return the products of all windows by layout, without bass channels where another one has any sound."""
        result = {}
        for layout, windows in self._windows.items():
            products, is_bass = np.stack(list(windows.values())), self._is_bass[layout]
            if _energies(products)[:, ~is_bass].any():  # in the entire file: pauses in speech can be digital silence
                products[:, is_bass] = products[:, :, is_bass] = 0.0
            result[layout] = products
        return result

    def better(self) -> dict[str, NDArray[np.intp]]:
        """Return the channels to choose instead, by layout, where the mean of all loses most of a part of the sound."""
        choices = {layout: (len(p[0]), channels_to_mix(p)) for layout, p in self._products().items()}
        return {layout: channels for layout, (count, channels) in choices.items() if len(channels) < count}

    def warnings(self) -> list[str]:
        """Say which channels were mixed where they are not all, and where those mixed lose most of a part."""
        warnings = []
        for layout, products in self._products().items():
            deciding, every = _deciding(products), np.arange(len(products[0]))
            chosen = self._chosen.get(layout, every)
            is_lost = bool((_kept(deciding, chosen) < KEPT_ENERGY).any())
            if layout not in self._chosen and not is_lost:
                continue
            part = "it" if _kept(deciding, every)[0] < KEPT_ENERGY else "a part of it"
            warning = f"the mean of the {len(every)} channels of the sound loses most of {part}"
            if layout in self._chosen:
                read = "the mean of channels" if len(chosen) > 1 else "channel"
                warning += f"; {read} {_numbers(chosen)} was read instead"
                warning += ", which still loses most of a part" if is_lost else ""
            else:
                warning += ", and no other choice of channels keeps more"
            warnings.append(warning)
        return warnings


def channels_to_mix(products: Float64[np.ndarray, "windows channels channels"]) -> NDArray[np.intp]:
    """Return the channels whose mean keeps the sound: all, those with a signal, or else one.

    A choice is as good as the share of the windows that it keeps; one kept by less than `KEPT_ENERGY` counts in
    proportion. So the choice that keeps every window is taken, and where none does, the one that loses least.

    Args:
        products: Inner products of the channels with each other in each window; the energies, in seconds of full
            scale squared, are on the diagonals.
    """
    deciding = _deciding(products)
    energies = _energies(deciding)
    has_signal = energies >= energies.max(axis=1, keepdims=True) * SIGNAL_ENERGY
    choices = [
        np.arange(energies.shape[1]),
        np.flatnonzero(has_signal[0]),  # in the entire sound
        np.flatnonzero(has_signal.any(axis=0)),  # in any part of it
        *np.argsort(-energies[0], kind="stable")[:, None],  # one alone, the loudest first
    ]
    return max(choices, key=lambda channels: float(np.minimum(_kept(deciding, channels), KEPT_ENERGY).mean()))


def _deciding(
    products: Float64[np.ndarray, "windows channels channels"],
) -> Float64[np.ndarray, "deciding channels channels"]:
    """Return the products of the entire sound, and then those of the windows that are not nearly silent."""
    is_heard = _energies(products).max(axis=1) >= QUIET_ENERGY
    return np.concatenate([products.sum(axis=0, keepdims=True), products[is_heard]])


def _kept(
    products: Float64[np.ndarray, "windows channels channels"], channels: NDArray[np.intp]
) -> Float64[np.ndarray, " windows"]:
    """Return the energy of the mean of the channels as a share of that of the loudest of all; 1 in silence."""
    loudest = _energies(products).max(axis=1)
    kept = products[:, channels[:, None], channels].mean(axis=(1, 2))
    return np.divide(kept, loudest, out=np.ones_like(kept), where=loudest > 0)


def _energies(products: Float64[np.ndarray, "windows channels channels"]) -> Float64[np.ndarray, "windows channels"]:
    return np.diagonal(products, axis1=1, axis2=2)


def _numbers(channels: NDArray[np.intp]) -> str:
    return ", ".join(str(channel + 1) for channel in channels)
