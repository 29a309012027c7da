"""Parts that both voices share: pauses with a given share of the time, tremble, and smooth control curves."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

HOP_S = 0.005  # time step of pitch and loudness

PAUSE_S, PAUSE_IN_SENTENCE_S = 0.15, 0.30  # shortest pause between sentences, and inside one
TREMOR_HZ, TREMOR_SEMITONES, JITTER_SEMITONES = 7.0, 1.1, 0.6  # of an entirely unsteady voice


class PauseBudget:
    """Accumulates silence during speech and spends it between sentences, or earlier once it is long enough.

    Args:
        share: Share of silence in the whole time, in [0, 1).
        rng: Decides the silence that has accumulated at the start.
    """

    def __init__(self, share: float, rng: np.random.Generator) -> None:
        self.owed_per_s = share / (1.0 - share)
        self.owed_s = rng.uniform(0.0, 0.25)

    def after(self, spoken_s: float, *, ends_sentence: bool) -> float:
        """Return the length of the pause in seconds after a word that took `spoken_s`; 0 = no pause."""
        self.owed_s += spoken_s * self.owed_per_s
        if self.owed_s <= (PAUSE_S if ends_sentence else PAUSE_IN_SENTENCE_S):
            return 0.0
        pause_s, self.owed_s = self.owed_s, 0.0
        return pause_s


def control_steps(duration_s: float) -> int:
    """Return the number of steps of `HOP_S` that cover a time."""
    return max(2, int(np.ceil(duration_s / HOP_S)) + 1)


def tremble(steps: int, steadiness: float, rng: np.random.Generator) -> Float64[np.ndarray, " steps"]:
    """Return the deviation of a trembling voice from its pitch, in semitones per `HOP_S`; `steadiness` is in [0, 1]."""
    time_s = np.arange(steps) * HOP_S
    tremor = TREMOR_SEMITONES * np.sin(2 * np.pi * TREMOR_HZ * time_s + rng.uniform(0, 2 * np.pi))
    return (1.0 - steadiness) * (tremor + JITTER_SEMITONES * rng.standard_normal(steps))


def smooth(values: Float64[np.ndarray, " m"], width: int) -> Float64[np.ndarray, " m"]:
    """Return the moving average with a raised-cosine window; the values at the ends are repeated."""
    window = np.hanning(width + 2)[1:-1]
    padded = np.pad(values.astype(np.float64), width // 2, mode="edge")
    return np.convolve(padded, window / window.sum(), mode="valid")[: len(values)]
