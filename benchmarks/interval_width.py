"""Compare intervals whose width depends on the clip with intervals of constant width (a minute on one core).

Ridge regressions read the cues that each stream shows, and weights combine them as in a trained system. In each of 100
re-splits of 6,000 clips, 1,000 fit the weights and the widths, 1,000 calibrate both kinds of intervals and 4,000 test
them. The clips are

- informative;
- uninformative as `crnet simulate --uninformative` makes them: all streams show the same imaginary person, so nothing
  in a clip reveals it;
- uninformative in each stream by itself: the streams show different people, so they disagree;
- noise alone: no cue of an uninformative clip follows anything.

`moved` (with --moved; no goal) measures intervals that the product does not have: around the score after it has moved
towards the usual score, the more the streams disagree. One least-squares fit serves all targets.

`best` (with --bounds, some minutes more; no goal) is what no intervals can surpass: the smallest mean width with 90%
coverage for somebody who knows the distribution of everything that the streams say. It need not lie around the score.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import multivariate_normal, norm

from benchmarks.measurements import Measurement
from crnet.fusion.conformal import INTERVAL_LEVEL, Calibration, interval_coverage
from crnet.fusion.interval_width import FEATURES, ClipFacts, WidthModel
from crnet.models.stacking import best_alone, fit_weights
from crnet.simulate.compute_ceiling import visible_cues
from crnet.simulate.cue_predictors import fit_ridge
from crnet.simulate.cues import CUES, Difficulty, sample_latents
from crnet.simulate.scores import sample_scores
from crnet.types import STREAMS, TARGETS, TRAIT_INDICES

Kind = Literal["informative", "uninformative", "uninformative by stream", "noise alone"]
KINDS: tuple[Kind, ...] = ("informative", "uninformative", "uninformative by stream", "noise alone")
REVEALED = KINDS[2:]
"""The kinds whose uninformative clips differ from the others, so that widths can follow them."""
DISAGREEMENT = ("disagreement of the streams", "disagreement on all targets")
SHARE = 0.35
TRAINING, TESTED, PART = 6_000, 6_000, 1_000
BOUND_CLIPS = 30_000
STEPS = 400  # of a score, in the distributions of the bound
WITHIN = 0.01
NARROWER = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--splits", type=int, default=100, help="re-splits of the clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--moved", action="store_true", help="also measure intervals that are not around the score")
    parser.add_argument("--bounds", action="store_true", help="also compute what no intervals can surpass")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield, for each kind of clips, the distance of the coverage from its level, and the relative mean width."""
    difficulties: tuple[Difficulty, ...] = ("easy", "fivalike")
    for difficulty in difficulties:
        for kind in KINDS:
            truth, facts, _ = _clips(kind, difficulty, options.seed, TESTED)
            varying, constant = (_resplit(truth, facts, options, fits=fits) for fits in (True, False))
            name = f"interval-width: {difficulty}, {kind}"
            detail = {"coverage": round(varying[0], 4), "coverage_of_constant": round(constant[0], 4)}
            yield Measurement(f"{name}, coverage", abs(varying[0] - INTERVAL_LEVEL), "", WITHIN, "90%", detail=detail)
            goal = NARROWER if kind in REVEALED else None
            detail = {"width": round(varying[1], 3), "width_of_constant": round(constant[1], 3)}
            yield Measurement(f"{name}, mean width", varying[1] / constant[1], "x", goal, "constant", detail=detail)
            if options.moved:
                moved = _resplit(truth, facts, options, fits=True, moves=True)
                detail = {"width": round(moved[1], 3), "coverage": round(moved[0], 4)}
                yield Measurement(f"{name}, moved", moved[1] / constant[1], "x", None, "constant", detail=detail)
            if kind != KINDS[0] and options.bounds:
                ratio = _best(*_clips(kind, difficulty, options.seed, 2 * BOUND_CLIPS))
                detail = {"clips": BOUND_CLIPS}
                yield Measurement(f"{name}, best", ratio, "x", None, "constant", detail=detail)


def _clips(
    kind: Kind, difficulty: Difficulty, seed: int, tested: int
) -> tuple[Float64[np.ndarray, "n 6"], ClipFacts, NDArray[np.bool_]]:
    """Return the labels of the tested clips, what their streams say, and which of them are uninformative.

    The clips are not fused yet: their scores are the labels' means.
    """
    rng = np.random.default_rng(seed)
    count = TRAINING + tested
    scores, alike = sample_scores(count, rng), sample_scores(count, rng)
    is_blind = (rng.random(count) < (0 if kind == "informative" else SHARE))[:, None]
    streams = {}
    for stream in STREAMS:
        other = sample_scores(count, rng) if kind == "uninformative by stream" else alike
        latents = sample_latents(np.where(is_blind, other, scores), difficulty, rng)
        if kind == "noise alone":
            latents = np.where(is_blind, rng.standard_normal(latents.shape), latents)
        shown = latents[:, [cue in visible_cues(stream) for cue in CUES]]
        streams[stream] = fit_ridge(shown[:TRAINING], scores[:TRAINING])(shown[TRAINING:])
    facts = ClipFacts(np.broadcast_to(scores.mean(axis=0), (tested, scores.shape[1])), streams, {})
    return scores[TRAINING:], facts, is_blind[TRAINING:, 0]


def _fused(truth: Float64[np.ndarray, "n 6"], facts: ClipFacts, fitting: NDArray[np.int64]) -> ClipFacts:
    """Return the facts with the scores of the fused streams, whose weights are fitted on some of the clips."""
    floor = np.median(truth[fitting], axis=0)
    streams = {name: np.asarray(scores, dtype=np.float64) for name, scores in facts.streams.items()}
    known = {str(name): scores[fitting] for name, scores in streams.items()}
    weights = fit_weights(known, truth[fitting], floor, best_alone(known, truth[fitting], floor))
    deviation = sum((weights[name] * (scores - floor) for name, scores in streams.items()), np.zeros_like(truth))
    return ClipFacts(np.clip(floor + deviation, 0, 1), facts.streams, {})


def _moved(truth: Float64[np.ndarray, "n 6"], facts: ClipFacts, fitting: NDArray[np.int64]) -> ClipFacts:
    """Return the facts with scores that move towards the usual score, at most to it or as far away from it.

    Least squares fits the errors on the distance from the usual score, alone and times the disagreement of the streams.
    """
    scores = np.asarray(facts.scores, dtype=np.float64)
    usual = np.median(scores[fitting], axis=0)
    disagreement = facts.features(usual)[:, :, [FEATURES.index(name) for name in DISAGREEMENT]]
    distance = (scores - usual)[:, :, None]
    known = distance * np.concatenate(
        [np.ones_like(distance), disagreement / disagreement[fitting].mean(axis=0)], axis=2
    )
    weights = np.linalg.lstsq(known[fitting].reshape(-1, known.shape[2]), (truth - scores)[fitting].ravel())[0]
    farthest = np.abs(distance[:, :, 0])
    return ClipFacts(scores + np.clip(known @ weights, -farthest, farthest), facts.streams, {})


def _resplit(
    truth: Float64[np.ndarray, "n 6"],
    facts: ClipFacts,
    options: argparse.Namespace,
    *,
    fits: bool,
    moves: bool = False,
) -> tuple[float, float]:
    """Return mean coverage and mean width over random splits, the mean of the five traits."""
    rng = np.random.default_rng(options.seed)
    figures = []
    for _ in range(options.splits):
        fitting, calibrating, tested = np.split(rng.permutation(TESTED), [PART, 2 * PART])
        fused = _fused(truth, facts, fitting)
        if moves:
            fused = _moved(truth, fused, fitting)
        widths = WidthModel.fit(truth[fitting], _rows(fused, fitting)) if fits else None
        calibration = Calibration.fit(truth[calibrating], _rows(fused, calibrating), None, widths)
        figures.append(interval_coverage(truth[tested], *calibration.bounds(_rows(fused, tested)))["average"])
    return float(np.mean([f["coverage"] for f in figures])), float(np.mean([f["width"] for f in figures]))


def _best(truth: Float64[np.ndarray, "n 6"], facts: ClipFacts, is_blind: NDArray[np.bool_]) -> float:
    """Return the smallest mean width at 90% coverage relative to the constant one, the mean of five traits.

    The first half of the clips fits Gaussian distributions: of what the streams say in both kinds of clips, and of the
    truth given what they say in an informative one; in the others the streams say nothing about it. Every
    clip of the second half then has a known distribution of its true score.
    """
    fitting, tested = np.split(np.arange(len(truth)), 2)
    calibration = Calibration.fit(truth[tested], _rows(fused := _fused(truth, facts, fitting), tested), None)
    constant = interval_coverage(truth[tested], *calibration.bounds(_rows(fused, tested)))
    said = np.concatenate([np.asarray(facts.streams[stream]) for stream in STREAMS], axis=1)
    informative, blind = (fitting[is_blind[fitting] == kind] for kind in (False, True))
    density = [
        multivariate_normal(said[rows].mean(axis=0), np.cov(said[rows].T), allow_singular=True).logpdf(said[tested])
        for rows in (informative, blind)
    ]
    is_informative = expit(np.log(len(informative) / len(blind)) + density[0] - density[1])[:, None]
    known = np.column_stack([np.ones(len(said)), said])
    edges = np.linspace(0, 1, STEPS + 1)
    ratios = []
    for i in TRAIT_INDICES:
        weights = np.linalg.lstsq(known[informative], truth[informative, i], rcond=None)[0]
        deviation = (truth[informative, i] - known[informative] @ weights).std()
        of_informative = norm.cdf(edges, (known[tested] @ weights)[:, None], deviation)
        of_blind = norm.cdf(edges, truth[fitting, i].mean(), truth[fitting, i].std())
        chances = np.diff(is_informative * of_informative + (1 - is_informative) * of_blind, axis=1)
        ratios.append(_narrowest(chances, truth[tested, i]) / constant[TARGETS[i]]["width"])
    return float(np.mean(ratios))


def _narrowest(chances: Float64[np.ndarray, "n steps"], truth: Float64[np.ndarray, " n"]) -> float:
    """Return the smallest mean width of intervals that hold 90% of the true scores.

    These intervals gain the most chance at a fixed price of width, the same for every clip; a search finds the price.

    Args:
        chances: The chance that the true score of each clip lies in each step of [0, 1].
        truth: The true scores.
    """
    cheap, dear, mean_width = 0.01 / STEPS, 10 / STEPS, np.nan
    for _ in range(16):
        price = np.sqrt(cheap * dear)
        gain = np.pad(np.cumsum(chances - price, axis=1), ((0, 0), (1, 0)))
        lowest = np.minimum.accumulate(gain, axis=1)
        end = (gain - lowest).argmax(axis=1)
        start = (gain == lowest[np.arange(len(gain)), end][:, None]).argmax(axis=1)
        if np.mean((start / STEPS <= truth) & (truth <= end / STEPS)) >= INTERVAL_LEVEL:
            cheap, mean_width = price, float((end - start).mean() / STEPS)
        else:
            dear = price
    return mean_width


def _rows(facts: ClipFacts, rows: np.ndarray) -> ClipFacts:
    streams = {stream: np.asarray(scores)[rows] for stream, scores in facts.streams.items()}
    return ClipFacts(np.asarray(facts.scores)[rows], streams, {})
