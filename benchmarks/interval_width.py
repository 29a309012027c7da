"""Compare intervals whose width depends on the clip with intervals of constant width (a minute on one core).

Ridge regressions read the cues that each stream shows; their mean is the fused score. In each of 100 re-splits of 6,000
clips, 1,000 fit the widths, 1,000 calibrate both kinds of intervals and 4,000 test them. The clips are

- informative;
- uninformative as `crnet simulate --uninformative` makes them: all streams show the same imaginary person, so nothing
  in a clip reveals it;
- uninformative in each stream by itself: the streams show different people, so they disagree.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float64

from benchmarks.measurements import Measurement
from crnet.fusion.conformal import INTERVAL_LEVEL, Calibration, interval_coverage
from crnet.fusion.interval_width import ClipFacts, WidthModel
from crnet.simulate.compute_ceiling import visible_cues
from crnet.simulate.cue_predictors import fit_ridge
from crnet.simulate.cues import CUES, Difficulty, sample_latents
from crnet.simulate.scores import sample_scores
from crnet.types import STREAMS

Kind = Literal["informative", "uninformative", "uninformative by stream"]
KINDS: tuple[Kind, ...] = ("informative", "uninformative", "uninformative by stream")
SHARE = 0.35
TRAINING, TESTED, PART = 6_000, 6_000, 1_000
WITHIN = 0.01
NARROWER = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--splits", type=int, default=100, help="re-splits of the clips")
    parser.add_argument("--seed", type=int, default=0)


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield, for each kind of clips, the distance of the coverage from its level, and the relative mean width."""
    difficulties: tuple[Difficulty, ...] = ("easy", "fivalike")
    for difficulty in difficulties:
        for kind in KINDS:
            truth, facts = _clips(kind, difficulty, options.seed)
            varying, constant = (_resplit(truth, facts, options, fits=fits) for fits in (True, False))
            name = f"interval-width: {difficulty}, {kind}"
            detail = {"coverage": round(varying[0], 4), "coverage_of_constant": round(constant[0], 4)}
            yield Measurement(f"{name}, coverage", abs(varying[0] - INTERVAL_LEVEL), "", WITHIN, "90%", detail=detail)
            goal = NARROWER if kind == KINDS[-1] else None
            detail = {"width": round(varying[1], 3), "width_of_constant": round(constant[1], 3)}
            yield Measurement(f"{name}, mean width", varying[1] / constant[1], "x", goal, "constant", detail=detail)


def _clips(kind: Kind, difficulty: Difficulty, seed: int) -> tuple[Float64[np.ndarray, "n 6"], ClipFacts]:
    """Return the labels of the tested clips, and what their streams say."""
    rng = np.random.default_rng(seed)
    count = TRAINING + TESTED
    scores, alike = sample_scores(count, rng), sample_scores(count, rng)
    is_blind = (rng.random(count) < (0 if kind == "informative" else SHARE))[:, None]
    streams = {}
    for stream in STREAMS:
        other = sample_scores(count, rng) if kind == "uninformative by stream" else alike
        latents = sample_latents(np.where(is_blind, other, scores), difficulty, rng)
        shown = latents[:, [cue in visible_cues(stream) for cue in CUES]]
        streams[stream] = fit_ridge(shown[:TRAINING], scores[:TRAINING])(shown[TRAINING:])
    return scores[TRAINING:], ClipFacts(np.mean(list(streams.values()), axis=0), streams, {})


def _resplit(
    truth: Float64[np.ndarray, "n 6"], facts: ClipFacts, options: argparse.Namespace, *, fits: bool
) -> tuple[float, float]:
    """Return mean coverage and mean width over random splits, the mean of the five traits."""
    rng = np.random.default_rng(options.seed)
    figures = []
    for _ in range(options.splits):
        fitting, calibrating, tested = np.split(rng.permutation(TESTED), [PART, 2 * PART])
        widths = WidthModel.fit(truth[fitting], _rows(facts, fitting)) if fits else None
        calibration = Calibration.fit(truth[calibrating], _rows(facts, calibrating), None, widths)
        figures.append(interval_coverage(truth[tested], *calibration.bounds(_rows(facts, tested)))["average"])
    return float(np.mean([f["coverage"] for f in figures])), float(np.mean([f["width"] for f in figures]))


def _rows(facts: ClipFacts, rows: np.ndarray) -> ClipFacts:
    streams = {stream: np.asarray(scores)[rows] for stream, scores in facts.streams.items()}
    return ClipFacts(np.asarray(facts.scores)[rows], streams, {})
