"""Claims that one row of a table beats another, and their verdicts on the measured scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.evaluation.paired_bootstrap import p_value_better
from crnet.experiments.columns import PublishedScores
from crnet.experiments.seed_statistics import mean_and_sd
from crnet.metrics import AVERAGE
from crnet.types import TARGETS, TRAITS

YES, REVERSED, UNDECIDED, TOO_FEW = "yes", "no, the reverse", "undecided", "too few clips"
SIGNIFICANCE_LEVEL = 0.05
"""One-sided. A p below it supports the claim; a p above 1 - SIGNIFICANCE_LEVEL supports its reverse."""

OPEN_CHOICE = "open choice"
"""Source of a claim that the paper does not make: it compares two readings of the paper."""

Predictions = NDArray[np.float64]  # [seeds, N, 6]


@dataclass(frozen=True)
class Claim:
    """A statement that one row of a table beats another.

    Attributes:
        text: The claim in a few words, such as "Bell loss beats L1 + L2 (face)".
        source: The table or section of the paper that makes the claim.
        better, worse: Labels of the two rows.
        targets: The targets that the claim covers; the paper mostly means the average over the five traits.
    """

    text: str
    source: str
    better: str
    worse: str
    targets: tuple[str, ...] = TRAITS


@dataclass(frozen=True)
class Verdict:
    """The outcome of a claim, with the paper's difference beside ours.

    A claim holds if p is small and all seeds agree. Its reverse holds if p is large and no seed agrees.

    Attributes:
        claim: Text of the claim.
        source: Source of the claim.
        paper: The paper's difference in 1 - MAE; None if the paper prints none.
        ours: Our difference, the mean over the seeds: in 1 - MAE, or in the share that the claim names.
        sd: Standard deviation of `ours` over the seeds; None for a single seed.
        agreeing: Number of seeds whose difference has the claimed sign.
        seeds: Number of seeds.
        p: One-sided paired bootstrap over the clips, with errors averaged over the seeds; None below 10 clips. If
            `ours` is negative, p is 1 minus the p-value of the reverse, so ties support neither side.
    """

    claim: str
    source: str
    paper: float | None
    ours: float
    sd: float | None
    agreeing: int
    seeds: int
    p: float | None

    @property
    def outcome(self) -> str:
        """The outcome in words: `YES`, `REVERSED`, `UNDECIDED` or `TOO_FEW`."""
        if self.p is None:
            return TOO_FEW
        if self.p < SIGNIFICANCE_LEVEL and self.agreeing == self.seeds:
            return YES
        if self.p > 1 - SIGNIFICANCE_LEVEL and self.agreeing == 0 and self.ours < 0:
            return REVERSED
        return UNDECIDED

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as results.json holds it."""
        return {**asdict(self), "outcome": self.outcome}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Verdict:
        """Read what `to_dict` returned, in results of earlier versions with "holds" instead of "outcome"."""
        return cls(**{name: value for name, value in document.items() if name not in ("outcome", "holds")})


def judge(
    claim: Claim,
    truth: NDArray[np.float64],
    better: Predictions,
    worse: Predictions,
    published: tuple[PublishedScores | None, PublishedScores | None] = (None, None),
) -> Verdict:
    """Compare two systems on the same clips.

    Args:
        claim: The claim to judge.
        truth: [N, 6]; NaN excludes a score.
        better, worse: Predictions of the two systems, [seeds, N, 6], with the same seeds.
        published: The paper's rows of the two systems.
    """
    columns = [TARGETS.index(target) for target in claim.targets]
    truth, better, worse = truth[:, columns], better[:, :, columns], worse[:, :, columns]
    gains = np.nanmean(np.abs(worse - truth), axis=(1, 2)) - np.nanmean(np.abs(better - truth), axis=(1, 2))
    # Sums over seeds and targets instead of means: with missing scores, each score has the same weight as in `gains`.
    missing = np.isnan(truth)
    annotated = ~missing.all(axis=1)
    errors = [np.where(missing, 0.0, np.abs(scores - truth)).sum(axis=(0, 2))[annotated] for scores in (better, worse)]
    ours, sd = mean_and_sd(gains)
    return Verdict(
        claim.text,
        claim.source,
        _published_difference(claim, *published),
        ours,
        sd,
        agreeing=int((gains > 0).sum()),
        seeds=len(gains),
        p=_p_value(*errors, reverse=ours < 0),
    )


def judge_share(
    claim: Claim, truth: NDArray[np.float64], better: Predictions, worse: Predictions, above: float
) -> Verdict:
    """Compare the shares of scores that two systems miss by more than `above`, on the same clips; see `judge`."""
    # The indicator of a large error is an absolute error against a truth of 0, so `judge` can compare it.
    better, worse = ((np.abs(scores - truth) > above).astype(np.float64) for scores in (better, worse))
    return judge(claim, np.where(np.isnan(truth), np.nan, 0.0), better, worse)


def _p_value(better: NDArray[np.float64], worse: NDArray[np.float64], *, reverse: bool) -> float | None:
    """Return the p-value that `better` has the smaller sums of errors, [N]; `reverse`: 1 minus that of the reverse."""
    if reverse:
        better, worse = worse, better
    p = p_value_better(np.zeros(len(better)), better, worse)
    return 1 - p if reverse and p is not None else p


def _published_difference(claim: Claim, better: PublishedScores | None, worse: PublishedScores | None) -> float | None:
    if better is None or worse is None:
        return None
    names = (AVERAGE,) if claim.targets == TRAITS else claim.targets
    return float(np.mean([better[name] - worse[name] for name in names]))
