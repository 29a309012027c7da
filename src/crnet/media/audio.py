"""Read the sound of a file: one channel, 16 kHz, on the clock of the picture."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crnet.errors import MediaError, MissingDependencyError
from crnet.media.container import Losses, decode_packet, open_media
from crnet.media.samples import Mixer, Piece, read_pieces
from crnet.media.streams import audio_stream
from crnet.media.timeline import Timeline, read_shifted
from crnet.media.video import probe
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ
from crnet.utils.extras import install_command

if TYPE_CHECKING:
    from jaxtyping import Float32
    from numpy.typing import NDArray

try:
    import soxr
except ImportError as error:
    raise MissingDependencyError("reading sound needs the package soxr", remedy=install_command("soxr")) from error

logger = logging.getLogger(__name__)

GAP_S = 0.015  # time stamps further than this from where the sound is are a gap or an overlap: codec frames are longer
MOST_OVERLAP_S = 0.05  # of sound that is left out: two codec frames
DRIFT_S = 0.003  # nearer ones are jitter, unless their mean is off by more than this
DRIFT_WINDOW_S = 0.5  # time constant of that mean
SILENCE_CHUNK_S = 1.0  # a long gap is filled in chunks of this length


@dataclass(frozen=True, eq=False)
class Sound:
    """The sound of a file.

    Attributes:
        samples: int16 [n] at 16 kHz; the first one is at the time of the first picture. Empty if there is no audio
            track or none of it can be decoded.
        lost_packets: Number of packets that cannot be decoded, replaced by silence.
        before_s: Seconds of sound before the first picture, which are left out.
        late_s: How much later than its time stamp says a piece of it comes at most, because these overlap.
        warnings: What a user should know about the channels.
    """

    samples: NDArray[np.int16]
    lost_packets: int = 0
    before_s: float = 0.0
    late_s: float = 0.0
    warnings: tuple[str, ...] = ()


def read_audio(path: Path | str, max_s: float = 60.0) -> NDArray[np.int16]:
    """Read the sound of a file; see `read_sound`.

    Agrees with `librosa.load(path, sr=16000, mono=True)` to 1e-3 of full scale if the sound has neither gaps nor a
    start of its own.

    Args:
        path: A video or audio file.
        max_s: Sound after this many seconds is dropped.

    Raises:
        MediaError: The file itself cannot be opened.
    """
    path = Path(path)
    with open_media(path) as container:
        has_picture = bool(container.streams.video)
    timeline = None
    if has_picture:
        try:
            timeline = probe(path).timeline
        except MediaError as error:
            logger.debug("%s: the sound has its own clock: %s", path, error)
    return read_sound(path, timeline, max_s).samples


def read_sound(path: Path | str, timeline: Timeline | None, max_s: float = 60.0) -> Sound:
    """Read the sound: the mean of the track's channels, resampled to 16 kHz by soxr HQ.

    `crnet.media.streams.audio_stream` chooses the track. Where the mean of all channels loses most of the sound or of
    a second of it, as in opposite phase or with speech in one of six, it is read again from those of `channels_to_mix`.

    Presentation time stamps decide when each sample is heard. Gaps are silence; sound before the first picture is left
    out. Memory is bounded by `max_s`.

    Args:
        path: A video or audio file.
        timeline: The clock of the picture; None: the first sample is at zero.
        max_s: Sound after this many seconds is dropped.

    Raises:
        MediaError: The file itself cannot be opened.
    """
    mixer = Mixer()
    sound = _read_mixed(Path(path), timeline, max_s, mixer)
    better = mixer.better()
    return _read_mixed(Path(path), timeline, max_s, Mixer(better)) if better else sound


def _read_mixed(path: Path, timeline: Timeline | None, max_s: float, mixer: Mixer) -> Sound:
    losses, placed = Losses(), _Placed(None if timeline is None else timeline.zero_s)
    with open_media(path) as container:
        stream = audio_stream(container, path)
        if stream is None:
            return Sound(np.zeros(0, np.int16))
        shifts = () if timeline is None else timeline.audio_shifts
        packets = read_shifted(container, stream, shifts, losses)
        frames = (frame for packet in packets for frame in decode_packet(packet, losses))
        pieces = list(_resampled(placed.pieces(read_pieces(frames, losses), mixer), max_s))
    sound = np.concatenate([np.zeros(0, np.float32), *pieces])[: round(max_s * SAMPLE_RATE_HZ)]
    samples = np.clip(np.rint(sound * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)
    return Sound(samples, losses.packets, placed.before_s, placed.late_s, tuple(mixer.warnings()))


class _Placed:
    """Places pieces of sound at their times: silence in gaps, and only the new part of what overlaps a little.

    What overlaps more follows on, and comes late until the next gap: wrong time stamps are likelier than sound that was
    recorded twice.

    Args:
        zero_s: Time stamp at which the sound begins; None: that of the first piece.

    Attributes:
        before_s: Seconds of sound before zero that were left out.
        late_s: How much later than its time stamp says a piece was placed at most.
    """

    def __init__(self, zero_s: float | None) -> None:
        self.before_s = self.late_s = 0.0
        self._zero_s = zero_s
        self._end_s = 0.0  # of the sound so far
        self._drift_s: float | None = None  # mean deviation of the time stamps; None before the first piece

    def pieces(self, timed: Iterator[Piece], mixer: Mixer) -> Iterator[tuple[int, Float32[np.ndarray, " m"]]]:
        """Yield sample rate and mixed samples, without gaps from zero on."""
        for timed_piece in timed:
            rate_hz, length = timed_piece.rate_hz, timed_piece.samples.shape[1]
            late = round(self._correction_s(timed_piece.time_s, length / rate_hz) * rate_hz)
            chunk = round(SILENCE_CHUNK_S * rate_hz)
            for start in range(0, late, chunk):
                yield self._add(rate_hz, np.zeros(min(chunk, late - start), np.float32))
            early = min(max(-late, 0), length)
            if not self._end_s:
                self.before_s += early / rate_hz
            if early < length:  # what is left out has no say in the choice of channels
                yield self._add(rate_hz, mixer.mono(replace(timed_piece, samples=timed_piece.samples[:, early:])))

    def _add(self, rate_hz: int, piece: Float32[np.ndarray, " n"]) -> tuple[int, Float32[np.ndarray, " n"]]:
        self._end_s += len(piece) / rate_hz
        return rate_hz, piece

    def _correction_s(self, time_s: float | None, length_s: float) -> float:
        """Return how much later than the end of the sound so far a piece begins; 0 for jitter."""
        if time_s is None:
            return 0.0
        if self._zero_s is None:
            self._zero_s = time_s
        deviation_s = time_s - self._zero_s - self._end_s
        if self._end_s and deviation_s < -MOST_OVERLAP_S:
            self.late_s = max(self.late_s, -deviation_s)
            return 0.0
        if self._drift_s is None or abs(deviation_s) > GAP_S or not self._end_s:
            self._drift_s = 0.0
            return deviation_s
        self._drift_s += (deviation_s - self._drift_s) * min(length_s / DRIFT_WINDOW_S, 1.0)
        if abs(self._drift_s) <= DRIFT_S:
            return 0.0
        drift_s, self._drift_s = self._drift_s, 0.0
        return drift_s


def _resampled(
    pieces: Iterator[tuple[int, Float32[np.ndarray, " n"]]], max_s: float
) -> Iterator[Float32[np.ndarray, " m"]]:
    """Resample pieces to 16 kHz; stop after `max_s` seconds."""
    resampler: soxr.ResampleStream | None = None
    samples_in = samples_out = before = current_hz = 0
    for rate_hz, piece in pieces:
        if resampler is None or rate_hz != current_hz:
            if resampler is not None:
                rest = _rest(resampler, samples_in, current_hz, samples_out - before)
                samples_out += len(rest)
                yield rest
            resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
            current_hz, samples_in, before = rate_hz, 0, samples_out
        samples_in += len(piece)
        resampled = resampler.resample_chunk(piece)
        samples_out += len(resampled)
        yield resampled
        if samples_out >= max_s * SAMPLE_RATE_HZ:
            return
    if resampler is not None:
        yield _rest(resampler, samples_in, current_hz, samples_out - before)


def _rest(resampler: soxr.ResampleStream, samples_in: int, rate_hz: int, samples_out: int) -> Float32[np.ndarray, " m"]:
    """Return the last samples of a resampler. The length of its sound is rounded up, as in librosa."""
    missing = max(-(-samples_in * SAMPLE_RATE_HZ // rate_hz) - samples_out, 0)
    rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[:missing]
    return np.pad(rest, (0, missing - len(rest)))
