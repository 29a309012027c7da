"""Compare intervals whose width depends on the clip with intervals of constant width (a minute on one core).

Ridge regressions read the cues that each stream shows; their mean is the fused score. In each of 100 re-splits of 6,000
clips, 1,000 fit the widths, 1,000 calibrate both kinds of intervals and 4,000 test them. The clips are

- informative;
- uninformative as `crnet simulate --uninformative` makes them: all streams show the same imaginary person, so nothing
  in a clip reveals it;
- uninformative in each stream by itself: the streams show different people, so they disagree.

Two bounds say what is attainable (rows without a goal). `told`: intervals around the score by somebody who is told
which clips are uninformative, with the two widths that give the smallest mean width at 90% coverage on the tested
clips. `learned` (with --bounds, some minutes more): quantile-based intervals (CQR; Romano, Patterson and Candès 2019)
by gradient boosting on 20,000 clips, which see everything that the streams say and need not lie around the score.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from benchmarks.measurements import Measurement
from crnet.fusion.conformal import INTERVAL_LEVEL, Calibration, conformal_quantile, interval_coverage, intervals
from crnet.fusion.interval_width import ClipFacts, WidthModel
from crnet.simulate.compute_ceiling import visible_cues
from crnet.simulate.cue_predictors import fit_ridge
from crnet.simulate.cues import CUES, Difficulty, sample_latents
from crnet.simulate.scores import sample_scores
from crnet.types import STREAMS, TARGETS, TRAIT_INDICES

Kind = Literal["informative", "uninformative", "uninformative by stream"]
KINDS: tuple[Kind, ...] = ("informative", "uninformative", "uninformative by stream")
SHARE = 0.35
TRAINING, TESTED, PART = 6_000, 6_000, 1_000
LEARNED_CLIPS = 20_000
LEARNED_TARGETS = ("extraversion", "agreeableness")
WITHIN = 0.01
NARROWER = 0.9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--splits", type=int, default=100, help="re-splits of the clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bounds", action="store_true", help="also fit quantiles by boosting on 20,000 clips")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield, for each kind of clips, the distance of the coverage from its level, and the relative mean width."""
    difficulties: tuple[Difficulty, ...] = ("easy", "fivalike")
    for difficulty in difficulties:
        for kind in KINDS:
            truth, facts, is_blind = _clips(kind, difficulty, options.seed, TESTED)
            varying, constant = (_resplit(truth, facts, options, fits=fits) for fits in (True, False))
            name = f"interval-width: {difficulty}, {kind}"
            detail = {"coverage": round(varying[0], 4), "coverage_of_constant": round(constant[0], 4)}
            yield Measurement(f"{name}, coverage", abs(varying[0] - INTERVAL_LEVEL), "", WITHIN, "90%", detail=detail)
            goal = NARROWER if kind == KINDS[-1] else None
            detail = {"width": round(varying[1], 3), "width_of_constant": round(constant[1], 3)}
            yield Measurement(f"{name}, mean width", varying[1] / constant[1], "x", goal, "constant", detail=detail)
            if kind != KINDS[0]:
                yield Measurement(f"{name}, told", _told(truth, facts, is_blind), "x", None, "constant")
            if kind != KINDS[0] and options.bounds:
                detail = {"targets": len(LEARNED_TARGETS), "clips": LEARNED_CLIPS}
                ratio = _learned(*_clips(kind, difficulty, options.seed, 2 * LEARNED_CLIPS)[:2])
                yield Measurement(f"{name}, learned", ratio, "x", None, "constant", detail=detail)


def _clips(
    kind: Kind, difficulty: Difficulty, seed: int, tested: int
) -> tuple[Float64[np.ndarray, "n 6"], ClipFacts, NDArray[np.bool_]]:
    """Return the labels of the tested clips, what their streams say, and which of them are uninformative."""
    rng = np.random.default_rng(seed)
    count = TRAINING + tested
    scores, alike = sample_scores(count, rng), sample_scores(count, rng)
    is_blind = (rng.random(count) < (0 if kind == "informative" else SHARE))[:, None]
    streams = {}
    for stream in STREAMS:
        other = sample_scores(count, rng) if kind == "uninformative by stream" else alike
        latents = sample_latents(np.where(is_blind, other, scores), difficulty, rng)
        shown = latents[:, [cue in visible_cues(stream) for cue in CUES]]
        streams[stream] = fit_ridge(shown[:TRAINING], scores[:TRAINING])(shown[TRAINING:])
    facts = ClipFacts(np.mean(list(streams.values()), axis=0), streams, {})
    return scores[TRAINING:], facts, is_blind[TRAINING:, 0]


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


def _told(truth: Float64[np.ndarray, "n 6"], facts: ClipFacts, is_blind: NDArray[np.bool_]) -> float:
    """Return the mean width by somebody who knows which clips are uninformative, relative to the constant one."""
    errors = np.abs(np.asarray(facts.scores) - truth)[:, TRAIT_INDICES]
    share = is_blind.mean()
    of_blind = np.linspace(0.5, 0.995, 100)
    of_others = (INTERVAL_LEVEL - share * of_blind) / (1 - share)
    possible = (of_others > 0) & (of_others < 1)
    widths = share * np.quantile(errors[is_blind], of_blind[possible], axis=0)
    widths = widths + (1 - share) * np.quantile(errors[~is_blind], of_others[possible], axis=0)
    return float((widths.min(axis=0) / np.quantile(errors, INTERVAL_LEVEL, axis=0)).mean())


def _learned(truth: Float64[np.ndarray, "n 6"], facts: ClipFacts) -> float:
    """Return the mean width of quantile-based intervals relative to the constant one, the mean of some targets."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    scores, streams = np.asarray(facts.scores), [np.asarray(facts.streams[stream]) for stream in STREAMS]
    features = np.concatenate(
        [scores, *streams, np.std(streams, axis=0), np.abs(scores - np.median(scores, 0))], axis=1
    )
    fitting, calibrating, tested = np.split(np.arange(len(truth)), [LEARNED_CLIPS, LEARNED_CLIPS * 3 // 2])
    tail = (1 - INTERVAL_LEVEL) / 2
    ratios = []
    for i in (TARGETS.index(target) for target in LEARNED_TARGETS):
        low, high = (
            HistGradientBoostingRegressor(
                loss="quantile", quantile=q, max_iter=120, learning_rate=0.08, max_leaf_nodes=15, min_samples_leaf=100
            )
            .fit(features[fitting], truth[fitting, i])
            .predict(features)
            for q in (tail, 1 - tail)
        )
        outside = np.maximum(low - truth[:, i], truth[:, i] - high)[calibrating]
        margin = np.quantile(outside, INTERVAL_LEVEL, method="higher")
        width = np.clip(high[tested] + margin, 0, 1) - np.clip(low[tested] - margin, 0, 1)
        constant = np.diff(
            intervals(scores[tested, i], conformal_quantile((scores - truth)[calibrating, i], INTERVAL_LEVEL)), axis=0
        )
        ratios.append(width.mean() / constant.mean())
    return float(np.mean(ratios))


def _rows(facts: ClipFacts, rows: np.ndarray) -> ClipFacts:
    streams = {stream: np.asarray(scores)[rows] for stream, scores in facts.streams.items()}
    return ClipFacts(np.asarray(facts.scores)[rows], streams, {})
