"""Real speech by eSpeak NG, whose pitch, melody, speed, pauses, softness and tremble follow the cues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from crnet.simulate.espeak import RATE_HZ, Utterance, open_synthesiser
from crnet.simulate.voice_track import HOP_S, PauseBudget, control_steps, tremble
from crnet.types import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Timbre:
    """One of the library's voices and its calibration (least squares over 16 settings, errors below 1 Hz).

    Mean pitch = `base_hz` 2^((pitch - 50) / 50) + `offset_hz` + `hz_per_range` range;
    standard deviation of the pitch = `spread_hz` range.

    Attributes:
        name: Name of the voice.
        base_hz, offset_hz, hz_per_range, spread_hz: See above.
    """

    name: str
    base_hz: float
    offset_hz: float
    hz_per_range: float
    spread_hz: float


MEN = (
    Timbre("en-us+m7", 65.9, 23.7, 0.326, 0.151),
    Timbre("en-us+miguel", 71.1, 23.4, 0.324, 0.152),
    Timbre("en-us+Hugo", 60.5, 28.9, 0.382, 0.183),
    Timbre("en-us+m3", 71.0, 19.8, 0.271, 0.129),
)
WOMEN = (
    Timbre("en-us+f2", 133.2, 36.6, 0.503, 0.243),
    Timbre("en-us+f3", 130.5, 47.6, 0.644, 0.307),
    Timbre("en-us+f4", 133.4, 26.9, 0.377, 0.184),
    Timbre("en-us+f5", 151.3, 31.8, 0.435, 0.215),
)
MALE_TRACT, FEMALE_TRACT = 1.0, 0.865  # lengths of the vocal tracts that these voices imitate
WPM_PER_SYLLABLE_RATE = 33.5  # measured; the same for all of these voices
HZ_PER_HZ_AND_SEMITONE = np.log(2.0) / 12.0

MAX_RANGE = 99.0
SILENCE = 0.01  # of full scale; quieter samples at the ends of a sentence are cut off
FADE_S = 0.004
FFT_BLOCK = 4_096  # the FFT is fast for multiples of a power of two
UPSAMPLING = 2
CUT_OFF_HZ = 7_600.0  # below half of the final sample rate
BREATH = 0.03


def speak_with_espeak(
    transcript: str,
    duration_s: float,
    cues: Mapping[str, float],
    pitch_hz: float,
    vocal_tract: float,
    rng: np.random.Generator,
    variant: int,
) -> Float64[np.ndarray, " samples"]:
    """Speak as much of a transcript as fits, at 16 kHz and any level; for the arguments see `speech.speak`.

    Raises:
        MissingDependencyError: The synthesiser is not installed.
    """
    is_female = vocal_tract < (MALE_TRACT + FEMALE_TRACT) / 2
    timbres = WOMEN if is_female else MEN
    timbre = timbres[variant % len(timbres)]
    # Faster playback raises the formants, like a shorter vocal tract. Pitch and speed compensate for it.
    playback = (FEMALE_TRACT if is_female else MALE_TRACT) / vocal_tract
    pauses = PauseBudget(cues["pause_share"], rng)
    count = int(duration_s * RATE_HZ * playback * 1.05) + RATE_HZ // 2  # with a margin for the uneven tremble
    count += -count % FFT_BLOCK
    pitch, pitch_range = _settings(timbre, pitch_hz * 2.0 ** (cues["pitch_level"] / 12.0) / playback, cues)
    wpm = WPM_PER_SYLLABLE_RATE * cues["speaking_rate"] / playback
    pieces: list[NDArray[np.float64]] = []
    with open_synthesiser(timbre.name, int(rng.integers(1 << 31))) as synthesiser:
        for sentence in _sentences(transcript):
            utterance = _trim(synthesiser.synthesise(sentence, wpm, pitch, pitch_range))
            pieces += _insert_pauses(utterance, pauses, playback)
            if sum(map(len, pieces)) >= count:
                break
    wave = np.concatenate(pieces)[:count]
    wave = np.pad(wave, (0, count - len(wave)))
    return _play(wave, duration_s, playback, cues, rng)


def _settings(timbre: Timbre, pitch_hz: float, cues: Mapping[str, float]) -> tuple[float, float]:
    """Return the library's pitch and range for a mean pitch and the cues' variation around it."""
    exact_range = pitch_hz * cues["pitch_variation"] * HZ_PER_HZ_AND_SEMITONE / timbre.spread_hz
    pitch_range = min(MAX_RANGE, exact_range)
    base_hz = pitch_hz - timbre.offset_hz - timbre.hz_per_range * pitch_range
    return 50.0 + 50.0 * float(np.log2(max(base_hz / timbre.base_hz, 0.5))), pitch_range


def _sentences(transcript: str) -> Iterator[str]:
    """Yield the sentences of a transcript in an endless cycle, or "um" if there are none."""
    parts = transcript.replace("?", ".").replace("!", ".").split(".")
    sentences = [part for part in parts if any(map(str.isalnum, part))] or ["um"]
    while True:
        yield from sentences


def _trim(utterance: Utterance) -> Utterance:
    """Cut off the silence before and after a sentence."""
    loud = np.flatnonzero(np.abs(utterance.wave) > SILENCE)
    if not len(loud):  # the voice cannot read the script of the text: a short silence lets time pass
        return Utterance(np.zeros(RATE_HZ // 4), (0,))
    start, end = int(loud[0]), int(loud[-1]) + 1
    starts = {min(max(0, word - start), end - start) for word in utterance.word_starts}
    return Utterance(utterance.wave[start:end], tuple(sorted({0, *starts} - {end - start})))


def _insert_pauses(utterance: Utterance, pauses: PauseBudget, playback: float) -> Iterator[NDArray[np.float64]]:
    """Yield the words of a sentence, and the silences that are due after them."""
    wave = utterance.wave
    ends = (*utterance.word_starts[1:], len(wave))
    yielded = 0
    for start, end in zip(utterance.word_starts, ends, strict=True):
        pause_s = pauses.after((end - start) / RATE_HZ / playback, ends_sentence=end == len(wave))
        if pause_s > 0.0:
            yield _fade_out(wave[yielded:end])
            yield np.zeros(round(pause_s * RATE_HZ * playback))
            yielded = end
    if yielded < len(wave):
        yield wave[yielded:]


def _fade_out(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the wave with a soft end, so that it does not click."""
    count = min(len(wave), round(FADE_S * RATE_HZ))
    faded = wave.copy()
    faded[len(wave) - count :] *= np.linspace(1.0, 0.0, count)
    return faded


def _play(
    wave: NDArray[np.float64], duration_s: float, playback: float, cues: Mapping[str, float], rng: np.random.Generator
) -> Float64[np.ndarray, " samples"]:
    """Play a wave at a trembling speed through a filter, at 16 kHz."""
    soft = cues["voice_softness"]
    breath = BREATH * (0.3 + soft) * rng.standard_normal(len(wave))
    spectrum = np.fft.rfft(wave * (1.0 + breath))
    hz = np.fft.rfftfreq(len(wave), 1.0 / RATE_HZ)
    spectrum *= (hz < CUT_OFF_HZ) / (1.0 + (hz / (3800.0 - 3200.0 * soft)) ** 2)
    padded = np.zeros(UPSAMPLING * len(wave) // 2 + 1, dtype=complex)
    padded[: len(spectrum)] = spectrum
    fine = np.fft.irfft(padded, UPSAMPLING * len(wave)) * UPSAMPLING
    semitones = tremble(control_steps(duration_s), cues["voice_steadiness"], rng)
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    speed = playback * 2.0 ** (np.interp(time_s, np.arange(len(semitones)) * HOP_S, semitones) / 12.0)
    positions = np.cumsum(speed) * (UPSAMPLING * RATE_HZ / SAMPLE_RATE_HZ)
    return np.interp(positions, np.arange(len(fine)), fine)
