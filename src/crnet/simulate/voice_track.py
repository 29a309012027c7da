"""What both voices share: pauses in their share of the time, trembling, and smoothing of control curves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

HOP_S = 0.005  # control rate of pitch and loudness

PAUSE_S, PAUSE_IN_SENTENCE_S = 0.15, 0.30  # shortest pause between sentences, and inside one
TREMOR_HZ, TREMOR_SEMITONES, JITTER_SEMITONES = 7.0, 1.1, 0.6  # of a voice that is not steady at all


class PauseBudget:
    """Saves up silence while there is speech, and spends it between sentences, or earlier once it is long.

    Args:
        share: Of the whole time that is silent, in [0, 1).
        rng: Decides what is saved at the start.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self.owed_per_s = share / (1.0 - share)
        self.owed_s = rng.uniform(0.0, 0.25)

    def after(self, spoken_s: float, *, ends_sentence: bool) -> float:
        """Length in seconds of the pause after a word that took `spoken_s`; 0 = go on at once."""
        self.owed_s += spoken_s * self.owed_per_s
        if self.owed_s <= (PAUSE_S if ends_sentence else PAUSE_IN_SENTENCE_S):
            return 0.0
        pause_s, self.owed_s = self.owed_s, 0.0
        return pause_s


def steps_of(duration_s: float) -> int:
    """Number of steps of `HOP_S` that cover a time."""
    return max(2, int(np.ceil(duration_s / HOP_S)) + 1)


def tremble(steps: int, steadiness: float, rng: np.random.Generator) -> Float64[np.ndarray, " steps"]:
    """How far a voice trembles off its pitch, semitones at every `HOP_S`; `steadiness` in [0, 1]."""
    time_s = np.arange(steps) * HOP_S
    tremor = TREMOR_SEMITONES * np.sin(2 * np.pi * TREMOR_HZ * time_s + rng.uniform(0, 2 * np.pi))
    return (1.0 - steadiness) * (tremor + JITTER_SEMITONES * rng.standard_normal(steps))


def smoothed(values: Float64[np.ndarray, " m"], width: int) -> Float64[np.ndarray, " m"]:
    """Moving average with a raised-cosine window; the ends are held."""
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(values.astype(np.float64), width // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")[: len(values)]
