"""Compute the best predictors on simulated cues, without pictures or networks (half a minute).

- For each loss, the best prediction of a score if some clips are uninformative. Measured are its spread (its deviation
  divided by that of the scores), its error on the outer deciles (the lowest and the highest 10% of the scores), and
  the share of the scores that it misses by more than .2.
  The predictor sees either the score with normal noise of 5 points, or the best linear summary of all cues.
- For each score rule, R2 of ridge regression and of class-guided regression from the latents of all cues.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import asdict, astuple, dataclass

import numpy as np
import torch
from jaxtyping import Float64

from benchmarks.evidence.verdicts import LARGE_ERROR
from benchmarks.measurements import Measurement
from crnet.models.losses import bell_loss
from crnet.simulate.cue_predictors import fit_class_guided, fit_ridge
from crnet.simulate.cues import Difficulty, sample_latents
from crnet.simulate.planning import RNG_NOISE, RNG_SCORES, SimulationConfig, followed_scores
from crnet.simulate.score_rules import SCORE_RULES, ScoreRule
from crnet.simulate.scores import sample_scores
from crnet.types import TARGETS

SHARE = 0.35
NOISE = 0.05
DIFFICULTIES: tuple[Difficulty, ...] = ("easy", "fivalike")
BINS = 200
CANDIDATES = np.arange(0.0, 1.0005, 0.0025)
OUTER = (0.1, 0.9)
TRAINING, TESTED = 6_000, 2_000  # clips for the score rules

Losses = Float64[np.ndarray, "candidates scores"]


def _l1(errors: Losses) -> Losses:
    return np.asarray(np.abs(100 * errors))


def _mse(errors: Losses) -> Losses:
    return (100 * errors) ** 2


def _bell(errors: Losses) -> Losses:
    prediction = torch.from_numpy(errors)
    return np.asarray(bell_loss(prediction, torch.zeros_like(prediction), reduction="none"))


LOSSES: dict[str, tuple[Callable[[Losses], Losses], ...]] = {
    "MSE": (_mse,),
    "L1 + MSE": (_l1, _mse),
    "L1 + MSE + Bell": (_l1, _mse, _bell),
    "L1": (_l1,),
    "Bell": (_bell,),
}


@dataclass(frozen=True)
class Optimum:
    """The best prediction under a loss, averaged over the targets.

    Attributes:
        spread: Deviation of the predictions divided by that of the scores.
        outer_error: Mean absolute error on the outer deciles.
        error: Mean absolute error on all clips.
        large_errors: Share of the errors above `LARGE_ERROR`.
    """

    spread: float
    outer_error: float
    error: float
    large_errors: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of clips, the seed and the share of uninformative clips."""
    parser.add_argument("--clips", type=int, default=200_000, help="clips for the losses (default: 200000)")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--share", type=float, default=SHARE, help=f"share of uninformative clips (default: {SHARE})")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the spread of every loss, and the gain of class-guided regression."""
    config = SimulationConfig(options.clips, options.seed, uninformative=options.share)
    worlds: tuple[tuple[str, Difficulty | None], ...] = (("5-point noise", None), *((d, d) for d in DIFFICULTIES))
    for world, difficulty in worlds:
        for loss, optimum in loss_optima(config, difficulty).items():
            detail = {name: round(value, 4) for name, value in asdict(optimum).items() if name != "spread"}
            name = f"known-optima: {world}, {options.share:.0%} uninformative, {loss}"
            yield Measurement(name, round(optimum.spread, 3), "", None, "spread of the scores", detail=detail)
    for difficulty in DIFFICULTIES:
        for rule in SCORE_RULES:
            ridge, guided = rule_r2(rule, difficulty, options.seed)
            detail = {"ridge": round(ridge, 3), "guided": round(guided, 3)}
            name = f"known-optima: {difficulty}, {rule}, class-guided minus ridge"
            yield Measurement(name, round(guided - ridge, 3), "R2", None, "ridge", detail=detail)


def loss_optima(config: SimulationConfig, difficulty: Difficulty | None = None) -> dict[str, Optimum]:
    """Return the best prediction under every loss.

    Args:
        config: Number of clips, seed and share of uninformative clips.
        difficulty: The predictor sees the best linear summary of all cues at this difficulty; None: the score that the
            cues follow, with noise of `NOISE`.
    """
    scores = sample_scores(config.clips, config.rng(RNG_SCORES))
    uninformative, followed = followed_scores(config, scores)
    noise = config.rng(RNG_NOISE)
    if difficulty is None:
        seen = followed + NOISE * noise.standard_normal(followed.shape)
    else:
        latents = sample_latents(followed, difficulty, noise)
        seen = fit_ridge(latents[~uninformative], scores[~uninformative])(latents)
    optima = {name: [_optimum(seen[:, i], scores[:, i], name) for i in range(len(TARGETS))] for name in LOSSES}
    return {
        name: Optimum(*np.mean([astuple(optimum) for optimum in targets], axis=0).tolist())
        for name, targets in optima.items()
    }


def _optimum(seen: Float64[np.ndarray, " n"], scores: Float64[np.ndarray, " n"], loss: str) -> Optimum:
    """Find the best prediction for the clips of each bin of what is seen; the bins hold equally many clips."""
    bins = np.searchsorted(np.quantile(seen, np.linspace(0, 1, BINS + 1)[1:-1]), seen)
    values, index = np.unique(scores, return_inverse=True)
    counts = np.zeros((BINS, len(values)))
    np.add.at(counts, (bins, index), 1)
    errors = CANDIDATES[:, None] - values
    losses = np.sum([part(errors) for part in LOSSES[loss]], axis=0)
    predicted = CANDIDATES[np.argmin(counts @ losses.T, axis=1)][bins]
    error = np.abs(predicted - scores)
    low, high = np.quantile(scores, OUTER)
    outer = (scores < low) | (scores > high)
    spread, outer_error = float(predicted.std() / scores.std()), float(error[outer].mean())
    return Optimum(spread, outer_error, float(error.mean()), float((error > LARGE_ERROR).mean()))


def rule_r2(rule: ScoreRule, difficulty: Difficulty, seed: int = 0) -> tuple[float, float]:
    """Return R2 of ridge regression and of class-guided regression on unseen clips, over all targets."""
    config = SimulationConfig(TRAINING + TESTED, seed)
    scores = sample_scores(config.clips, config.rng(RNG_SCORES))
    latents = sample_latents(scores, difficulty, config.rng(RNG_NOISE), rule=rule)
    unseen = scores[TRAINING:]
    predicted = (
        fit(latents[:TRAINING], scores[:TRAINING])(latents[TRAINING:]) for fit in (fit_ridge, fit_class_guided)
    )
    ridge, guided = (float(1 - ((p - unseen) ** 2).mean() / unseen.var(axis=0).mean()) for p in predicted)
    return ridge, guided
