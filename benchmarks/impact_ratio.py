"""Count how often the intervals of impact ratios hold the true ratio (two minutes on one core).

Scores are normal, one clip for each person. In one half of the audits the groups differ in nothing, so every true ratio
is 1; in the other half the first group's scores are shifted, and its true ratio follows from the two distributions.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from benchmarks.measurements import Measurement
from crnet.audit.clips import AuditClips
from crnet.audit.impact_ratios import impact_ratios
from crnet.metrics import CONFIDENCE
from crnet.types import TARGETS

SHARES: dict[str, Sequence[float]] = {
    "2 groups": [1 / 2] * 2,
    "3 groups": [1 / 3] * 3,
    "6 groups": [1 / 6] * 6,
    "6 groups of 4% to 38%": [0.04, 0.04, 0.08, 0.08, 0.38, 0.38],
}
MEAN, DEVIATION, SHIFT = 0.5, 0.15, -0.075
CHANCE = 1.645  # how many deviations a measured share may fall short by


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--repetitions", type=int, default=200, help="audits of each kind")
    parser.add_argument("--clips", type=int, default=1_000, help="clips of an audit")
    parser.add_argument("--resamples", type=int, default=400, help="bootstrap resamples of each audit")
    parser.add_argument("--seed", type=int, default=0)


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the coverage of the intervals: the mean over the groups without a shift, the first group's with one."""
    limit = CONFIDENCE - CHANCE * (CONFIDENCE * (1 - CONFIDENCE) / options.repetitions) ** 0.5
    for name, shares in SHARES.items():
        for shift in (0.0, SHIFT):
            truth = true_ratio(shares[0], shift)
            rng = np.random.default_rng(options.seed)
            audits = [_intervals(shares, shift, options, rng) for _ in range(options.repetitions)]
            counted = slice(None) if shift == 0 else slice(1)
            holds = np.array([[low <= truth <= high for low, high in audit[counted]] for audit in audits])
            width = float(np.mean([high - low for audit in audits for low, high in audit[counted]]))
            detail = {
                "true_ratio": round(truth, 3),
                "width": round(width, 3),
                "all_groups": float(holds.all(axis=1).mean()),
            }
            row = f"impact-ratio: {name}, shift {shift:g}, intervals that miss the true ratio"
            yield Measurement(row, float(1 - holds.mean()), "", 1 - limit, "at most 5%", detail=detail)


def true_ratio(share: float, shift: float) -> float:
    """Return the true ratio of a group with this share of the clips and shift of the scores; the others have none."""

    def above(score: float, shift: float) -> float:
        return float(norm.sf(score, MEAN + shift, DEVIATION))

    median = brentq(lambda score: share * above(score, shift) + (1 - share) * above(score, 0) - 0.5, 0, 1)
    return above(median, shift) / above(median, 0)


def _intervals(
    shares: Sequence[float], shift: float, options: argparse.Namespace, rng: np.random.Generator
) -> list[tuple[float, float]]:
    groups = rng.choice(len(shares), size=options.clips, p=shares)
    scores = np.full((options.clips, len(TARGETS)), np.nan)
    scores[:, 0] = rng.normal(MEAN + shift * (groups == 0), DEVIATION)
    names = tuple(map(str, range(options.clips)))
    of_clip = {"group": tuple(map(str, groups.tolist()))}
    clips = AuditClips("normal", names, scores, scores, of_clip, np.arange(options.clips), "person")
    ratios = impact_ratios(clips, resamples=options.resamples, seed=int(rng.integers(2**31)))["group"]
    return [ratio[TARGETS[0]]["scores"].interval or (0.0, 1.0) for _, ratio in sorted(ratios.items())]
