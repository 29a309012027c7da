"""Real speech: eSpeak NG speaks the transcript; pitch, melody, speed, pauses, softness and tremble follow the cues."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from crnet.simulate.espeak import RATE_HZ, Talker, Utterance, talker
from crnet.simulate.voice_track import HOP_S, PauseBudget, steps_of, tremble
from crnet.types import SAMPLE_RATE_HZ


@dataclass(frozen=True)
class Timbre:
    """One of the library's voices, and what was measured of it (least squares over 16 settings, errors below 1 Hz).

    Mean pitch = `base_hz` 2^((pitch - 50) / 50) + `offset_hz` + `hz_per_range` range;
    deviation of the pitch = `spread_hz` range.

    Attributes:
        name: The voice.
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
MANS_TRACT, WOMANS_TRACT = 1.0, 0.865  # of the people whose formants these voices have
WPM_PER_SYLLABLE_RATE = 33.5  # measured, the same for all of these voices
HZ_PER_HZ_AND_SEMITONE = np.log(2.0) / 12.0

LONGEST_RANGE = 99.0
QUIET = 0.01  # of full scale: what is quieter at the ends of a sentence is no speech
FADE_S = 0.004
FFT_BLOCK = 4_096  # lengths that are multiples of a power of two are transformed fast
UPSAMPLING = 2
CUT_OFF_HZ = 7_600.0  # below half of what is kept
BREATH = 0.03


def spoken_by_espeak(
    transcript: str,
    duration_s: float,
    cues: Mapping[str, float],
    pitch_hz: float,
    vocal_tract: float,
    rng: np.random.Generator,
    variant: int,
) -> Float64[np.ndarray, " samples"]:
    """Speak as much of a transcript as fits, at 16 kHz and any level; arguments as in `speech.speak`.

    Raises:
        MissingDependencyError: The synthesiser is not installed.
    """
    woman = vocal_tract < (MANS_TRACT + WOMANS_TRACT) / 2
    timbres = WOMEN if woman else MEN
    timbre = timbres[variant % len(timbres)]
    # Played faster, a voice has higher formants: that of a shorter vocal tract. Pitch and speed allow for it.
    faster = (WOMANS_TRACT if woman else MANS_TRACT) / vocal_tract
    pauses = PauseBudget(cues["pause_share"], rng)
    needed = int(duration_s * RATE_HZ * faster * 1.05) + RATE_HZ // 2  # a trembling voice is read unevenly
    needed += -needed % FFT_BLOCK
    pitch, pitch_range = _settings(timbre, pitch_hz * 2.0 ** (cues["pitch_level"] / 12.0) / faster, cues)
    wpm = WPM_PER_SYLLABLE_RATE * cues["speaking_rate"] / faster
    pieces: list[NDArray[np.float64]] = []
    with talker(timbre.name, int(rng.integers(1 << 31))) as speaker:
        for sentence in _sentences(transcript):
            said = _spoken(speaker, sentence, wpm, pitch, pitch_range)
            pieces += _with_pauses(said, pauses, faster)
            if sum(map(len, pieces)) >= needed:
                break
    wave = np.concatenate(pieces)[:needed]
    wave = np.pad(wave, (0, needed - len(wave)))
    return _played(wave, duration_s, faster, cues, rng)


def _settings(timbre: Timbre, pitch_hz: float, cues: Mapping[str, float]) -> tuple[float, float]:
    """The library's pitch and range that give a mean pitch and the cues' variation around it."""
    wanted = pitch_hz * cues["pitch_variation"] * HZ_PER_HZ_AND_SEMITONE / timbre.spread_hz
    pitch_range = min(LONGEST_RANGE, wanted)
    base_hz = pitch_hz - timbre.offset_hz - timbre.hz_per_range * pitch_range
    return 50.0 + 50.0 * float(np.log2(max(base_hz / timbre.base_hz, 0.5))), pitch_range


def _sentences(transcript: str) -> Iterator[str]:
    """The sentences of a transcript, over and over; "um" if there are no words in it."""
    said = [s for s in transcript.replace("?", ".").replace("!", ".").split(".") if any(map(str.isalnum, s))] or ["um"]
    while True:
        yield from said


def _spoken(speaker: Talker, sentence: str, wpm: float, pitch: float, pitch_range: float) -> Utterance:
    """A sentence without the silence around it."""
    said = speaker.say(sentence, wpm, pitch, pitch_range)
    loud = np.flatnonzero(np.abs(said.wave) > QUIET)
    if not len(loud):  # a text in letters that the voice cannot read: time passes
        return Utterance(np.zeros(RATE_HZ // 4), (0,))
    start, end = int(loud[0]), int(loud[-1]) + 1
    starts = {min(max(0, at - start), end - start) for at in said.word_starts}
    return Utterance(said.wave[start:end], tuple(sorted({0, *starts} - {end - start})))


def _with_pauses(said: Utterance, pauses: PauseBudget, faster: float) -> Iterator[NDArray[np.float64]]:
    """The words of a sentence, and the silences that are due after them."""
    ends = (*said.word_starts[1:], len(said.wave))
    begun = 0
    for start, end in zip(said.word_starts, ends, strict=True):
        pause_s = pauses.after((end - start) / RATE_HZ / faster, ends_sentence=end == len(said.wave))
        if pause_s > 0.0:
            yield _faded(said.wave[begun:end])
            yield np.zeros(round(pause_s * RATE_HZ * faster))
            begun = end
    if begun < len(said.wave):
        yield said.wave[begun:]


def _faded(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same with a soft end, so that it does not click."""
    count = min(len(wave), round(FADE_S * RATE_HZ))
    faded = wave.copy()
    faded[len(wave) - count :] *= np.linspace(1.0, 0.0, count)
    return faded


def _played(
    wave: NDArray[np.float64], duration_s: float, faster: float, cues: Mapping[str, float], rng: np.random.Generator
) -> Float64[np.ndarray, " samples"]:
    """The recording played at a trembling speed through a filter, at 16 kHz."""
    soft = cues["voice_softness"]
    breath = BREATH * (0.3 + soft) * rng.standard_normal(len(wave))
    spectrum = np.fft.rfft(wave * (1.0 + breath))
    hz = np.fft.rfftfreq(len(wave), 1.0 / RATE_HZ)
    spectrum *= (hz < CUT_OFF_HZ) / (1.0 + (hz / (3800.0 - 3200.0 * soft)) ** 2)
    padded = np.zeros(UPSAMPLING * len(wave) // 2 + 1, dtype=complex)
    padded[: len(spectrum)] = spectrum
    fine = np.fft.irfft(padded, UPSAMPLING * len(wave)) * UPSAMPLING
    trembling = tremble(steps_of(duration_s), cues["voice_steadiness"], rng)
    time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    speed = faster * 2.0 ** (np.interp(time_s, np.arange(len(trembling)) * HOP_S, trembling) / 12.0)
    read_at = np.cumsum(speed) * (UPSAMPLING * RATE_HZ / SAMPLE_RATE_HZ)
    return np.interp(read_at, np.arange(len(fine)), fine)
