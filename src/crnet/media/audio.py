"""Read the sound of a file: one channel, 16 kHz."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from crnet.errors import MissingDependencyError
from crnet.media.container import decode_packet, open_media
from crnet.media.streams import audio_stream
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ
from crnet.utils.extras import install_command

try:
    import av
    import soxr
except ImportError as error:
    raise MissingDependencyError(
        "reading sound needs the packages av and soxr", remedy=install_command("av")
    ) from error

logger = logging.getLogger(__name__)


def read_audio(path: Path | str, max_s: float = 60.0) -> NDArray[np.int16]:
    """Read the sound of a file: the mean of the track's channels, resampled to 16 kHz by soxr HQ.

    `crnet.media.streams.audio_stream` chooses the track.

    Agrees with `librosa.load(path, sr=16000, mono=True)` to 1e-3 of full scale. Memory is bounded by `max_s`.

    Args:
        path: A video or audio file.
        max_s: Sound after this many seconds is dropped.

    Returns:
        int16 [n]; empty if there is no audio track or none of it can be decoded.

    Raises:
        MediaError: The file itself cannot be opened.
    """
    path = Path(path)
    with open_media(path) as container:
        stream = audio_stream(container, path)
        if stream is None:
            return np.zeros(0, np.int16)
        pieces = list(_resampled(_mono(container, stream), max_s))
    sound = np.concatenate([np.zeros(0, np.float32), *pieces])[: round(max_s * SAMPLE_RATE_HZ)]
    return np.clip(np.rint(sound * INT16_FULL_SCALE), -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)


def _mono(container: Any, stream: Any) -> Iterator[tuple[int, Float32[np.ndarray, " n"]]]:
    """Yield the sample rate and the mean of the channels frame by frame, until the track cannot be decoded further."""
    to_float: av.AudioResampler | None = None
    try:
        for packet in container.demux(stream):
            for frame in decode_packet(packet):
                if to_float is None:
                    to_float = av.AudioResampler("fltp", frame.layout, frame.sample_rate)
                for part in to_float.resample(frame):
                    yield part.sample_rate, part.to_ndarray().mean(axis=0)
    except (av.FFmpegError, OSError, ValueError) as error:
        logger.debug("sound stops early: %s", error)


def _resampled(
    pieces: Iterator[tuple[int, Float32[np.ndarray, " n"]]], max_s: float
) -> Iterator[Float32[np.ndarray, " m"]]:
    """Resample pieces of one sample rate to 16 kHz; stop after `max_s` seconds."""
    resampler: soxr.ResampleStream | None = None
    samples_in = samples_out = rate_hz = 0
    for rate_hz, piece in pieces:
        if resampler is None:
            resampler = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, 1, dtype="float32", quality="HQ")
        samples_in += len(piece)
        resampled = resampler.resample_chunk(piece)
        samples_out += len(resampled)
        yield resampled
        if samples_out >= max_s * SAMPLE_RATE_HZ:
            return
    if resampler is not None:
        # The length is rounded up, as in librosa.
        missing = -(-samples_in * SAMPLE_RATE_HZ // rate_hz) - samples_out
        rest = resampler.resample_chunk(np.zeros(0, np.float32), last=True)[: max(missing, 0)]
        yield np.pad(rest, (0, max(missing - len(rest), 0)))
