"""What the paper says is better than what, and whether it is so here."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.experiments.paper.published import AVERAGE, Printed
from crnet.experiments.rendering.rendered_table import Grid, Kind, Line
from crnet.metrics import p_value_better
from crnet.types import TARGETS, TRAITS
from crnet.utils.number_format import difference, p_text

YES, REVERSED, UNDECIDED, TOO_FEW = "yes", "no, the reverse", "undecided", "too few clips"
SURE = 0.05  # one-sided: below it a difference is taken for real, above 1 - SURE its reverse
Predictions = NDArray[np.float64]  # [seeds, N, 6]

HEADER = ("claim", "source", "paper", "here", "seeds", "p", "holds here?")


@dataclass(frozen=True)
class Claim:
    """The paper calls one row of a table better than another.

    Attributes:
        text: In a few words, such as "Bell loss beats L1 + L2 (face)".
        source: Where it says or shows so.
        better, worse: Keys of the two rows.
        targets: On which targets; the paper mostly speaks of the average over the five traits.
    """

    text: str
    source: str
    better: str
    worse: str
    targets: tuple[str, ...] = TRAITS


@dataclass(frozen=True)
class Verdict:
    """A claim, the paper's difference and ours.

    Attributes:
        claim: Its text.
        source: Its source.
        paper: The paper's difference in 1 - MAE; None if it prints none.
        here: Ours, the mean over the seeds; of the share that the claim names if it names one.
        sd: Its standard deviation over the seeds; None for one seed.
        agreeing: How many seeds have the claimed sign.
        seeds: How many there are.
        p: One-sided paired bootstrap over the clips, errors averaged over seeds; None below 10 clips. Where `here` is
            negative, 1 less that of the reverse, so that clips on which both are alike speak for neither side.

    A claim holds where p is small and every seed agrees; its reverse, where p is large and none does.
    """

    claim: str
    source: str
    paper: float | None
    here: float
    sd: float | None
    agreeing: int
    seeds: int
    p: float | None

    @property
    def holds(self) -> str:
        """In words: yes, no (the reverse holds), or undecided."""
        if self.p is None:
            return TOO_FEW
        if self.p < SURE and self.agreeing == self.seeds:
            return YES
        if self.p > 1 - SURE and self.agreeing == 0 and self.here < 0:
            return REVERSED
        return UNDECIDED

    def to_dict(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return {**asdict(self), "holds": self.holds}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Verdict:
        """The reverse of `to_dict`."""
        return cls(**{name: value for name, value in document.items() if name != "holds"})


def judge(
    claim: Claim,
    truth: NDArray[np.float64],
    better: Predictions,
    worse: Predictions,
    printed: tuple[Printed | None, Printed | None] = (None, None),
) -> Verdict:
    """Compare two systems on the same clips.

    Args:
        claim: What is said of them.
        truth: [N, 6]; NaN leaves a clip's target out.
        better, worse: [seeds, N, 6], the same seeds.
        printed: The paper's rows.
    """
    chosen = [TARGETS.index(target) for target in claim.targets]
    known = truth[:, chosen]
    first, second = better[:, :, chosen], worse[:, :, chosen]
    gains = np.nanmean(np.abs(second - known), axis=(1, 2)) - np.nanmean(np.abs(first - known), axis=(1, 2))
    # Sums over seeds and targets, not means: where truths are left out, every score counts alike, as it does above.
    absent = np.isnan(known)
    some = ~absent.all(axis=1)
    sums = [np.where(absent, 0.0, np.abs(said - known)).sum(axis=(0, 2))[some] for said in (first, second)]
    here = float(gains.mean())
    return Verdict(
        claim.text,
        claim.source,
        _printed_difference(claim, *printed),
        here,
        float(gains.std(ddof=1)) if len(gains) > 1 else None,
        int((gains > 0).sum()),
        len(gains),
        _p_value(*sums, reverse=here < 0),
    )


def _p_value(first: NDArray[np.float64], second: NDArray[np.float64], *, reverse: bool) -> float | None:
    """That the first sums of errors, [N], are the smaller ones; from the other side where they are not."""
    better, worse = (second, first) if reverse else (first, second)
    p = p_value_better(np.zeros(len(first)), better, worse)
    return 1 - p if reverse and p is not None else p


def judge_share(
    claim: Claim, truth: NDArray[np.float64], better: Predictions, worse: Predictions, above: float
) -> Verdict:
    """Compare in how many of their scores two systems are off by more than `above`, on the same clips; see `judge`."""
    # An indicator beside a truth of 0 is an absolute error like any other.
    first, second = ((np.abs(said - truth) > above).astype(np.float64) for said in (better, worse))
    return judge(claim, np.where(np.isnan(truth), np.nan, 0.0), first, second)


def _printed_difference(claim: Claim, better: Printed | None, worse: Printed | None) -> float | None:
    if better is None or worse is None:
        return None
    names = (AVERAGE,) if claim.targets == TRAITS else claim.targets
    return float(np.mean([better[name] - worse[name] for name in names]))


def claims_grid(verdicts: Sequence[Verdict]) -> Grid:
    """Which of the paper's orderings hold here, at a glance."""
    lines = tuple(
        Line(
            (
                verdict.claim,
                verdict.source,
                "" if verdict.paper is None else difference(verdict.paper),
                difference(verdict.here, verdict.sd),
                f"{verdict.agreeing} of {verdict.seeds}",
                p_text(verdict.p),
                verdict.holds,
            ),
            _KINDS.get(verdict.holds, "open"),
        )
        for verdict in verdicts
    )
    return Grid("Does it hold here?", HEADER, lines, words=2, notes=(counted(verdicts), HOW_TO_READ))


HOW_TO_READ = (
    "Differences of 1 - MAE, or of the share that a claim names. p: one-sided paired bootstrap over the test clips, "
    "errors averaged over the seeds; it knows the chance of the clips, not that of the training. A claim holds where p "
    f"is below {SURE} and every seed agrees; its reverse, where p is above {1 - SURE} and none does. Some of many "
    "claims about nothing at all would pass either way."
)


def claims_csv(verdicts: Sequence[Verdict], sections: Sequence[str] = ()) -> str:
    """The same for programs, one line a claim; with the sections that they stand in as a first column, if given."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    header = [*(part.name for part in fields(Verdict)), "holds"]
    table.writerow(["section", *header] if sections else header)
    for place, verdict in enumerate(verdicts):
        numbers = verdict.to_dict().values()
        table.writerow([sections[place], *numbers] if sections else numbers)
    return text.getvalue()


def counted(verdicts: Sequence[Verdict]) -> str:
    """How many claims hold, as a sentence."""
    found = [verdict.holds for verdict in verdicts]
    words = [f"{found.count(word)} {text}" for word, text in _COUNTED if word in found]
    return f"Of {len(found)} claims: {', '.join(words)}."


_COUNTED = ((YES, "hold"), (UNDECIDED, "undecided"), (REVERSED, "reversed"), (TOO_FEW, "with too few clips to tell"))
_KINDS: dict[str, Kind] = {YES: "yes", REVERSED: "no"}
