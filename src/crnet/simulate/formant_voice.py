"""The built-in voice: synthetic sound with controlled formants, pitch, rhythm, pauses and loudness.

A source (glottal pulses and breath) is filtered by formants that glide from sound to sound, following the spelling of
the transcript. The result resembles speech but is not intelligible; it follows the cues exactly. It replaces the speech
synthesiser where that is not installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from crnet.simulate.voice_track import HOP_S, PauseBudget, control_steps, smooth, tremble
from crnet.simulate.words import count_syllables
from crnet.types import SAMPLE_RATE_HZ

WINDOW = 320  # 20 ms
HOP = WINDOW // 4

# The first three formants of a male vocal tract in Hz.
VOWELS = {
    "a": (730.0, 1200.0, 2450.0),
    "e": (530.0, 1840.0, 2480.0),
    "i": (300.0, 2250.0, 2950.0),
    "o": (560.0, 880.0, 2410.0),
    "u": (320.0, 900.0, 2240.0),
}
NEUTRAL = (500.0, 1500.0, 2500.0)
NASAL = (270.0, 1100.0, 2200.0)
BANDWIDTHS_HZ = (80.0, 110.0, 170.0)


@dataclass(frozen=True)
class Sound:
    """A piece of speech: a vowel, a consonant or a pause.

    Attributes:
        duration_s: Length.
        formants: First three formants in Hz.
        voicing: Amplitude of the glottal source, 0 to 1.
        hiss: Amplitude of the noise source, 0 to 1.
        hiss_hz: Frequency at which the noise is strongest.
        accent: Rise of the pitch in units of the pitch variation.
    """

    duration_s: float
    formants: tuple[float, float, float]
    voicing: float
    hiss: float = 0.0
    hiss_hz: float = 4000.0
    accent: float = 0.0


CONSONANTS: dict[str, Sound] = {
    **dict.fromkeys("szxcj", Sound(0.075, NEUTRAL, 0.05, 0.55, 5500.0)),
    **dict.fromkeys("fvh", Sound(0.055, NEUTRAL, 0.15, 0.28, 3500.0)),
    **dict.fromkeys("ptkq", Sound(0.055, NEUTRAL, 0.0, 0.30, 3000.0)),
    **dict.fromkeys("bdg", Sound(0.045, (300.0, 1300.0, 2400.0), 0.25, 0.08, 2500.0)),
    **dict.fromkeys("mn", Sound(0.060, NASAL, 0.55)),
    **dict.fromkeys("lrw", Sound(0.055, (360.0, 1050.0, 2300.0), 0.65)),
}
VOWEL_S = 0.12


def speak_with_formants(
    transcript: str,
    duration_s: float,
    cues: Mapping[str, float],
    pitch_hz: float,
    vocal_tract: float,
    rng: np.random.Generator,
) -> Float64[np.ndarray, " samples"]:
    """Speak as much of a transcript as fits, at 16 kHz and any level; for the arguments see `speech.speak`."""
    steps = control_steps(duration_s)
    track = _ControlTrack.from_sounds(_sounds(transcript, duration_s, cues, rng), steps, rng)
    pitch = pitch_hz * 2.0 ** ((cues["pitch_level"] + _melody(track, cues, rng)) / 12.0)
    samples = round(duration_s * SAMPLE_RATE_HZ)
    return _filter(track, pitch, vocal_tract, cues["voice_softness"], samples, rng)


@dataclass(frozen=True, eq=False)
class _ControlTrack:
    """Controls of the voice in steps of `HOP_S`: formants [m, 3], all others [m]."""

    formants: Float64[np.ndarray, "m 3"]
    voicing: Float64[np.ndarray, " m"]
    hiss: Float64[np.ndarray, " m"]
    hiss_hz: Float64[np.ndarray, " m"]
    accent: Float64[np.ndarray, " m"]

    @classmethod
    def from_sounds(cls, sounds: list[Sound], steps: int, rng: np.random.Generator) -> _ControlTrack:
        ends = np.cumsum([sound.duration_s for sound in sounds])
        indices = np.minimum(np.searchsorted(ends, np.arange(steps) * HOP_S, side="right"), len(sounds) - 1)
        loudness = np.array([rng.uniform(0.85, 1.0) for _ in sounds])

        def column(name: str) -> Float64[np.ndarray, " m"]:
            return np.array([getattr(sound, name) for sound in sounds])[indices]

        return cls(
            formants=np.stack([smooth(f, 9) for f in column("formants").T], axis=1),
            voicing=smooth(column("voicing") * loudness[indices], 5),
            hiss=smooth(column("hiss"), 3),
            hiss_hz=smooth(column("hiss_hz"), 5),
            accent=smooth(column("accent"), 15),
        )


def _sounds(transcript: str, duration_s: float, cues: Mapping[str, float], rng: np.random.Generator) -> list[Sound]:
    """Return sounds and pauses of at least `duration_s`; a short transcript is repeated."""
    words = transcript.split() or ["um"]
    pauses = PauseBudget(cues["pause_share"], rng)
    sounds: list[Sound] = []
    time_s = 0.0
    index = 0
    while time_s < duration_s:
        word = words[index % len(words)]
        word_sounds = _word_sounds(word, count_syllables(word) / cues["speaking_rate"], rng)
        word_s = sum(sound.duration_s for sound in word_sounds)
        sounds += word_sounds
        time_s += word_s
        pause_s = pauses.after(word_s, ends_sentence=word.endswith("."))
        if pause_s > 0.0:
            sounds.append(Sound(pause_s, NEUTRAL, 0.0))
            time_s += pause_s
        index += 1
    return sounds


def _word_sounds(word: str, duration_s: float, rng: np.random.Generator) -> list[Sound]:
    """Return the sounds of a word's spelling, stretched to a duration."""
    sounds = []
    for group in re.findall(r"[aeiouy]+|[^aeiouy]", re.sub(r"[^a-z]", "", word.lower())):
        if group[0] in "aeiouy":
            vowel = VOWELS["i" if group[0] == "y" else group[0]]
            sounds.append(Sound(VOWEL_S * (1.0 + 0.25 * (len(group) > 1)), vowel, 1.0, accent=rng.normal()))
        else:
            sounds.append(CONSONANTS.get(group, CONSONANTS["h"]))
    sounds = sounds or [Sound(VOWEL_S, NEUTRAL, 1.0)]
    stretch = duration_s / sum(sound.duration_s for sound in sounds)
    return [Sound(s.duration_s * stretch, s.formants, s.voicing, s.hiss, s.hiss_hz, s.accent) for s in sounds]


def _melody(track: _ControlTrack, cues: Mapping[str, float], rng: np.random.Generator) -> Float64[np.ndarray, " m"]:
    """Return semitones around the pitch level: accents, scaled to the pitch variation, and the tremble of the voice."""
    voiced = track.voicing > 0.2
    slow = smooth(rng.standard_normal(len(voiced)), 61)
    line = track.accent / max(1e-6, float(track.accent.std())) + 0.7 * slow / max(1e-6, float(slow.std()))
    spread = float(line[voiced].std()) if voiced.sum() > 1 else 0.0
    line = (line - (line[voiced].mean() if voiced.any() else 0.0)) * cues["pitch_variation"] / max(1e-6, spread)
    return np.clip(line, -12.0, 12.0) + tremble(len(line), cues["voice_steadiness"], rng)


def _filter(
    track: _ControlTrack,
    pitch: Float64[np.ndarray, " m"],
    tract: float,
    soft: float,
    count: int,
    rng: np.random.Generator,
) -> Float64[np.ndarray, " count"]:
    """Filter the source with the formants: overlap-add of short-time spectra times the vocal tract's response."""
    padded = count + 2 * WINDOW
    time_s = (np.arange(padded) - WINDOW) / SAMPLE_RATE_HZ
    grid_s = np.arange(len(pitch)) * HOP_S
    phase = np.cumsum(np.interp(time_s, grid_s, pitch)) / SAMPLE_RATE_HZ
    cycle = phase % 1.0
    # The glottal flow opens over 60% of a cycle and closes within 10%; its derivative is the source.
    flow = np.where(cycle < 0.6, 0.5 - 0.5 * np.cos(np.pi * cycle / 0.6), np.maximum(0.0, 1.0 - (cycle - 0.6) / 0.1))
    source = np.diff(flow, prepend=flow[0]) * 12.0 * np.interp(time_s, grid_s, track.voicing)
    breath = rng.standard_normal(padded)
    source += 0.03 * (0.3 + soft) * breath * np.interp(time_s, grid_s, track.voicing)
    frames = np.lib.stride_tricks.sliding_window_view(source, WINDOW)[::HOP]
    noise = np.lib.stride_tricks.sliding_window_view(breath, WINDOW)[::HOP]
    middle_s = (np.arange(len(frames)) * HOP - WINDOW // 2) / SAMPLE_RATE_HZ
    index = np.clip(middle_s / HOP_S, 0, len(pitch) - 1).astype(int)
    hz = np.fft.rfftfreq(WINDOW, 1.0 / SAMPLE_RATE_HZ)
    window = np.hanning(WINDOW + 1)[:-1]
    spectra = np.fft.rfft(frames * window) * _tract_response(track.formants[index] / tract, hz, soft)
    hiss = np.exp(-0.5 * ((hz - track.hiss_hz[index, None]) / 1500.0) ** 2) * track.hiss[index, None]
    spectra += 0.35 * np.fft.rfft(noise * window) * hiss
    pieces = np.fft.irfft(spectra, n=WINDOW) / 2.0
    wave = np.zeros(len(pieces) * HOP + WINDOW)
    for quarter in range(WINDOW // HOP):
        part = pieces[:, quarter * HOP : (quarter + 1) * HOP].reshape(-1)
        wave[quarter * HOP : quarter * HOP + len(part)] += part
    return wave[WINDOW : WINDOW + count]


def _tract_response(
    formants: Float64[np.ndarray, "k 3"], hz: Float64[np.ndarray, " bins"], soft: float
) -> Float64[np.ndarray, "k bins"]:
    """Return the magnitude of three resonators in series; softness attenuates high frequencies."""
    response = 1.0 / (1.0 + (hz / (3800.0 - 2900.0 * soft)) ** 2)
    gain = np.broadcast_to(response, (len(formants), len(hz))).copy()
    for formant, bandwidth in enumerate(BANDWIDTHS_HZ):
        centre = formants[:, formant, None]
        gain /= np.hypot(1.0 - (hz / centre) ** 2, hz * bandwidth / centre**2)
    low = formants[:, :1]
    return gain * (0.15 + hz / low) / (1.0 + hz / low)  # lips radiate high frequencies better
