"""Plant biases in labels and count how often an audit finds them, and how often it finds what is not there.

Labels, cues and people are those of the simulator, without pictures. Half of the variance of a score belongs to the
person, so several clips of one person are alike. In each repetition, a shift is added to one target's labels of women;
a ridge regression learns the labels of 6,000 training clips; other people's clips are audited by gender, ethnicity and
both. The regression sees the cues, which follow the labels without the shift. One version also sees the gender and the
ethnicity, as a network does that sees faces; the other one (`blind`) does not.

- `label`, `score`: share of audits that find the difference between women and men in that target.
- `passed_on`: the gap of the scores over the gap of the labels' shift.
- False alarms: share of audits of the blind system without any shift that report at least one difference, by drawing
  persons and, for comparison, single clips.

Takes about an hour on one core; --repetitions 20 shows how it works.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from benchmarks.measurements import Measurement
from crnet.audit.clips import AuditClips
from crnet.audit.differences import Differences, differences
from crnet.cli.progress import progress_display
from crnet.simulate.bias import GROUPS, LabelBias, apply_biases
from crnet.simulate.cue_predictors import fit_predictor
from crnet.simulate.cues import sample_latents
from crnet.simulate.people import Look, sample_look
from crnet.simulate.planning import CLIPS_PER_PERSON
from crnet.simulate.scores import round_to_steps, sample_scores, score_means
from crnet.types import TARGETS

SIZES = (500, 2_000, 10_000)
SHIFTS: dict[int, tuple[float, ...]] = {
    500: (0.03, 0.06, 0.09, 0.12),
    2_000: (0.02, 0.03, 0.04, 0.06),
    10_000: (0.01, 0.015, 0.02),
}
"""Shifts to plant, by the number of audited clips. Labels come in steps of about .011, so .01 and .015 are one step."""
GROUP, TARGET = "female", "agreeableness"
TRAINING = 6_000
PERSON_SHARE = 0.5
LOOKS = 4_000
BLIND_EVERY = 4  # repetitions: fewer audits suffice for the system that does not see looks
ALPHA, CHANCE = 0.05, 1.645  # the level of an audit, and how many deviations a measured rate may exceed it by


@dataclass(frozen=True)
class Clips:
    """Clips of synthetic people.

    Attributes:
        scores: [N, 6], the labels without bias.
        latents: [N, cues].
        looks: The look of the person in each clip.
        persons: [N].
    """

    scores: Float64[np.ndarray, "n 6"]
    latents: Float64[np.ndarray, "n cues"]
    looks: Sequence[Look]
    persons: NDArray[np.int64]

    def features(self, *, sees_looks: bool) -> Float64[np.ndarray, "n features"]:
        """Return what the regression sees."""
        looks = [
            np.array([getattr(look, grouping) == group for look in self.looks], dtype=np.float64)
            for grouping, groups in GROUPS.items()
            for group in groups[1:]
        ]
        return np.column_stack([self.latents, *looks]) if sees_looks else self.latents

    def labels(self, shift: float) -> Float64[np.ndarray, "n 6"]:
        """Return the labels with a shift of one group's scores of one target."""
        return apply_biases(self.scores, self.looks, [LabelBias("gender", GROUP, TARGET, shift)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--repetitions", type=int, default=200, help="audits of each size and shift")
    parser.add_argument("--resamples", type=int, default=500, help="bootstrap resamples of each audit")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, choices=SIZES, help="numbers of audited clips")
    parser.add_argument("--seed", type=int, default=0)


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the false alarms of each size, then the detection rates of each shift."""
    looks = [sample_look(np.random.default_rng([options.seed, 9, i])) for i in range(LOOKS)]
    jobs = [(size, shift) for size in options.sizes for shift in (0.0, *SHIFTS[size])]
    with progress_display() as progress:
        for done, (size, shift) in enumerate(jobs):
            progress("audits", done, len(jobs), f"{size} clips, shift {shift:g}")
            runs = [_audit(looks, size, shift, i, options) for i in range(options.repetitions)]
            yield from _false_alarms(size, runs) if shift == 0 else [_detection(size, shift, runs)]


@dataclass(frozen=True)
class _Run:
    """What one audit found: of the system that sees looks, by drawing single clips, and of the blind system."""

    main: Differences
    passed_on: float
    single_clips: Differences | None = None
    blind: Differences | None = None
    blind_passed_on: float = np.nan


def _audit(looks: Sequence[Look], size: int, shift: float, repetition: int, options: argparse.Namespace) -> _Run:
    """Train and audit once; the random numbers depend on nothing but the arguments."""
    rng = np.random.default_rng([options.seed, size, round(1e4 * shift), repetition])
    training, audited = _sample(rng, looks, TRAINING), _sample(rng, looks, size)
    learned, labels = training.labels(shift), audited.labels(shift)

    def compare(persons: NDArray[np.int64], *, sees_looks: bool) -> tuple[Differences, float]:
        predict = fit_predictor(training.features(sees_looks=sees_looks), learned, "linear")
        scores = np.clip(predict(audited.features(sees_looks=sees_looks)), 0, 1)
        clips = _audit_clips(audited, labels, scores, persons)
        return differences(clips, resamples=options.resamples, seed=repetition), _gap(audited, scores)

    if shift == 0:  # chance alone makes a system that sees looks prefer a group: a real difference, no false alarm
        alone = compare(np.arange(size), sees_looks=False)[0]
        return _Run(compare(audited.persons, sees_looks=False)[0], np.nan, alone)
    seeing, gap = compare(audited.persons, sees_looks=True)
    if repetition % BLIND_EVERY:
        return _Run(seeing, gap / shift)
    blind, blind_gap = compare(audited.persons, sees_looks=False)
    return _Run(seeing, gap / shift, None, blind, blind_gap / shift)


def _sample(rng: np.random.Generator, looks: Sequence[Look], count: int) -> Clips:
    clips_of_person = rng.choice(list(CLIPS_PER_PERSON), size=count, p=list(CLIPS_PER_PERSON.values()))
    persons = np.repeat(np.arange(count), clips_of_person)[:count]
    own, shared = sample_scores(count, rng), sample_scores(count, rng)[persons]
    mean = score_means()
    mixed = mean + np.sqrt(1 - PERSON_SHARE) * (own - mean) + np.sqrt(PERSON_SHARE) * (shared - mean)
    scores = round_to_steps(mixed)
    look_of = rng.integers(len(looks), size=count)[persons]
    return Clips(scores, sample_latents(scores, "fivalike", rng), [looks[i] for i in look_of], persons)


def _audit_clips(
    clips: Clips, labels: Float64[np.ndarray, "n 6"], scores: Float64[np.ndarray, "n 6"], persons: NDArray[np.int64]
) -> AuditClips:
    return AuditClips(
        "simulated",
        tuple(map(str, range(len(labels)))),
        labels,
        scores,
        {grouping: tuple(getattr(look, grouping).lower() for look in clips.looks) for grouping in GROUPS},
        persons,
        "person",
    ).with_intersections()


def _gap(clips: Clips, scores: Float64[np.ndarray, "n 6"]) -> float:
    """Return the mean score of the shifted group minus that of the other."""
    member = np.array([look.gender == GROUP for look in clips.looks])
    values = scores[:, TARGETS.index(TARGET)]
    return float(values[member].mean() - values[~member].mean())


def _false_alarms(size: int, runs: Sequence[_Run]) -> Iterator[Measurement]:
    limit = ALPHA + CHANCE * (ALPHA * (1 - ALPHA) / len(runs)) ** 0.5
    comparisons = round(float(np.mean([len(run.main.rows) for run in runs])))
    for name, found, goal in (
        ("persons drawn", [bool(run.main.found) for run in runs], limit),
        ("single clips drawn", [run.single_clips is not None and bool(run.single_clips.found) for run in runs], None),
    ):
        detail = {"comparisons": comparisons, "audits": len(runs)}
        row = f"audit-power: {size} clips, false alarms, {name}"
        yield Measurement(row, float(np.mean(found)), "", goal, "audits that report any difference", detail=detail)


def _detection(size: int, shift: float, runs: Sequence[_Run]) -> Measurement:
    seeing, blind = [run.main for run in runs], [run.blind for run in runs if run.blind is not None]
    detail = {
        "score": _found(seeing, "score"),
        "passed_on": round(float(np.mean([run.passed_on for run in runs])), 2),
        "blind_score": _found(blind, "score"),
        "blind_bias": _found(blind, "bias"),
        "blind_passed_on": round(float(np.nanmean([run.blind_passed_on for run in runs])), 2),
        "audits": len(runs),
        "blind_audits": len(blind),
    }
    name = f"audit-power: {size} clips, shift {shift:g}, label"
    return Measurement(name, _found(seeing, "label"), "", None, "audits that find the gap", detail=detail)


def _found(results: Sequence[Differences], quantity: str) -> float:
    """Return the share of audits that find a difference between women and men in the shifted target."""
    found = [
        any((row.grouping, row.target, row.quantity) == ("gender", TARGET, quantity) for row in result.found)
        for result in results
    ]
    return float(np.mean(found))
