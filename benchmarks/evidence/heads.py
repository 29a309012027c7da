"""Losses on a plain head, and heads with the same losses, on cues of which the best predictors are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from benchmarks.evidence.training import MakeHead, MlpHead, Recipe, stages, train
from benchmarks.evidence.worlds import Clips, Scores, World
from crnet.fusion.fusion import clipped
from crnet.models.cr_block import CRBlock
from crnet.models.heads import ExpectationHead, PlainHead

TRAINING, VALIDATION, TESTED = 2_000, 700, 3_000
LOSS_SHARE = 0.35

LOSS_WORLDS = {
    "uninformative": World({"scene": "easy"}, uninformative=LOSS_SHARE),
    "informative": World({"scene": "easy"}),
}
HEAD_WORLDS = {"classwise": World({"scene": "easy"}, rule="classwise"), "linear": World({"scene": "easy"})}
BOTH_WORLDS = {"classwise, uninformative": World({"scene": "easy"}, uninformative=LOSS_SHARE, rule="classwise")}


def cr_block(classes: int = 4) -> MakeHead:
    """Return a maker of CR-blocks."""
    return lambda width, generator: CRBlock(width, classes, generator=generator)


def plain(width: int, generator: object) -> PlainHead:
    """Return a plain head, in which nothing starts at random."""
    return PlainHead(width)


LOSSES = {
    "L1": Recipe(plain, stages("l1", classify=False), keep="last"),
    "L2": Recipe(plain, stages("mse", classify=False), keep="last"),
    "L1 + L2": Recipe(plain, stages("l1", "mse", classify=False), keep="last"),
    "Bell": Recipe(plain, stages("bell", classify=False), keep="last"),
    "L1 + L2 + Bell": Recipe(plain, stages("l1", "mse", "bell", classify=False), keep="last"),
}
"""They keep the last epoch: 1 - MAE, which chooses the epoch in `crnet train`, would choose against L2."""

BASELINE, CR, CR_10 = "plain head", "CR-block", "CR-block, 10 classes"
LONG, MLP, NO_CE = "plain head, all epochs", "MLP head, all epochs", "CR-block without cross-entropy, all epochs"
EXPECTATION, WITH_BELL = "expectation + regression", "plain head with Bell"
FROZEN_BASELINE, FROZEN_CR = "plain head on cues", "CR-block on cues"

PLAIN_STAGES, LONG_STAGES = (stages("l1", "mse", classify=False, long=long) for long in (False, True))
TWO_STAGES = stages("l1", "mse", "classification", classify=True)

HEADS = {
    BASELINE: Recipe(plain, PLAIN_STAGES),
    LONG: Recipe(plain, LONG_STAGES),
    MLP: Recipe(MlpHead, LONG_STAGES),
    NO_CE: Recipe(cr_block(), LONG_STAGES),
    CR: Recipe(cr_block(), TWO_STAGES),
    CR_10: Recipe(cr_block(10), TWO_STAGES),
    EXPECTATION: Recipe(lambda width, generator: ExpectationHead(width, generator=generator), TWO_STAGES),
    WITH_BELL: Recipe(plain, stages("l1", "mse", "bell", classify=False)),
    FROZEN_BASELINE: Recipe(plain, LONG_STAGES, trunk=False),
    FROZEN_CR: Recipe(cr_block(), TWO_STAGES, trunk=False),
}

MLP_SLOW = "MLP head, learning rate / 20, all epochs"
SLOW_STAGES = tuple(replace(stage, lr=stage.lr / 20) for stage in LONG_STAGES)
MLP_AGAIN = {CR: HEADS[CR], MLP_SLOW: Recipe(MlpHead, SLOW_STAGES)}
FEW, GUIDED = 500, {name: HEADS[name] for name in (CR, NO_CE, CR_10)}
NOISY_WORLD, EXPECTED = (
    World({"scene": "fivalike"}, rule="classwise"),
    {name: HEADS[name] for name in (CR, EXPECTATION)},
)
"""The systems of the second registration, by the claims that they are for; C6 gets a world of noisy cues."""

COMPARED_WITH_BELL = {name: HEADS[name] for name in (BASELINE, CR, WITH_BELL)}


def run(
    recipes: Mapping[str, Recipe], world: World, seed: int, clips: int | None = None
) -> tuple[Clips, dict[str, Scores]]:
    """Train every recipe on the same clips, `TRAINING` of them unless `clips` gives their number.

    Returns:
        The test clips, and their scores by each network.
    """
    sizes = (clips or TRAINING, VALIDATION, TESTED)
    training, validation, test = (world.draw(count, seed, split) for split, count in enumerate(sizes))
    nets = {name: train(recipe, training, validation, seed) for name, recipe in recipes.items()}
    return test, {name: clipped(net.outputs(test.cues["scene"])[1]) for name, net in nets.items()}


def second_runs() -> Mapping[str, Callable[[int], tuple[Clips, dict[str, Scores]]]]:
    """Return the runs of the second registration by the name of the world."""
    few = f"{FEW} clips"
    return {
        **{name: partial(run, MLP_AGAIN, world) for name, world in HEAD_WORLDS.items()},
        **{f"{name}, {few}": partial(run, GUIDED, world, clips=FEW) for name, world in HEAD_WORLDS.items()},
        f"classwise, fivalike, {few}": partial(run, EXPECTED, NOISY_WORLD, clips=FEW),
    }
