"""Three streams of unequal reliability, each a network with a CR-block, and the ways of fusing them.

The paper's trees are fitted on the clips that trained the networks. "unseen" trees are fitted on as many clips that
trained nothing, so that only this differs. In the second registration the networks memorise their few training clips
("memorised"), or the clips that fit the trees trained no network in either case ("memorised elsewhere").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from benchmarks.evidence.heads import CR, HEADS
from benchmarks.evidence.training import train
from benchmarks.evidence.worlds import Clips, Scores, World
from crnet.fusion.fusion import PAPER_TREES, PAPER_WEIGHTS, Fusion, FusionConfig, clipped
from crnet.fusion.held_out import HeldOutClips
from crnet.types import STREAMS, TRAIT_INDICES, Stream

Features = dict[Stream, np.ndarray]

TRAINING, VALIDATION, TESTED = 400, 150, 2_000
TREES = 100

WORLDS = {
    "7:5:3 fits": World({"scene": 0.90, "face": 0.95, "audio-text": 0.98}),
    "7:5:3 reversed": World({"scene": 0.98, "face": 0.95, "audio-text": 0.90}),
    "one stream": World({"scene": 0.90, "face": 1.0, "audio-text": 1.0}),
}
"""Streams of unequal reliability, by the share of noise in each of 28 cues; in the last, two streams know nothing."""

BEST_STREAM, OUTPUTS, HELD_OUT = "best stream", "outputs averaged 7:5:3", "held-out fusion"
SUMMED, SUMMED_SOME, SUMMED_UNSEEN = "summed, m = M", "summed, m = M/3", "summed, m = M, unseen clips"
CONCATENATED, CONCATENATED_ALL = "concatenated, m = M/3", "concatenated, m = M"
CONCATENATED_UNSEEN = "concatenated, m = M/3, unseen clips"

ALL_SYSTEMS: tuple[str, ...] = (SUMMED, SUMMED_SOME, SUMMED_UNSEEN, CONCATENATED, CONCATENATED_ALL, CONCATENATED_UNSEEN)
ALL_SYSTEMS += (HELD_OUT, OUTPUTS, *STREAMS, BEST_STREAM)


@dataclass(frozen=True)
class Setting:
    """A world, and how its networks and trees are fitted. The defaults are those of the first registration.

    Attributes:
        world: The cues of the streams.
        clips: Clips that train the networks.
        trees: Trees of each target.
        keep: Which epoch of the networks counts, see `Recipe`.
        train_on_others: Whether the networks are trained on clips that are used for nothing else. The training clips
            then fit only the trees, so they are as unseen as the unseen ones.
        systems: The systems to compare.
    """

    world: World
    clips: int = TRAINING
    trees: int = TREES
    keep: Literal["best", "last"] = "best"
    train_on_others: bool = False
    systems: tuple[str, ...] = ALL_SYSTEMS


SETTINGS = {name: Setting(world) for name, world in WORLDS.items()}
_PAIRS = (SUMMED, SUMMED_UNSEEN, CONCATENATED, CONCATENATED_UNSEEN)
_MEMORISED = Setting(WORLDS["7:5:3 fits"], clips=150, keep="last", systems=_PAIRS)
SECOND_SETTINGS = {
    "memorised": _MEMORISED,
    "memorised elsewhere": replace(_MEMORISED, train_on_others=True),
    "7:5:3 fits, k = 1,000": Setting(
        WORLDS["7:5:3 fits"], trees=PAPER_TREES, systems=(SUMMED, SUMMED_SOME, CONCATENATED, BEST_STREAM)
    ),
}
_WEAK = Setting(World(dict.fromkeys(STREAMS, 0.98)), keep="last", systems=(SUMMED, SUMMED_UNSEEN))
THIRD_SETTINGS = {
    "weak, memorised": _WEAK,
    "weak, memorised elsewhere": replace(_WEAK, train_on_others=True),
}


def run(setting: Setting, seed: int) -> tuple[Clips, Mapping[str, Scores]]:
    """Train the three networks and fuse them in every way.

    Returns:
        The test clips, and their scores by each system.
    """
    sizes = (setting.clips, VALIDATION, TESTED, setting.clips)
    training, validation, test, unseen = (setting.world.draw(count, seed, split) for split, count in enumerate(sizes))
    taught = setting.world.draw(setting.clips, seed, len(sizes)) if setting.train_on_others else training
    recipe = replace(HEADS[CR], keep=setting.keep)
    nets = {stream: train(recipe, taught, validation, seed, stream) for stream in STREAMS}
    outputs = [
        {stream: net.outputs(clips.cues[stream]) for stream, net in nets.items()}
        for clips in (training, validation, test, unseen)
    ]
    features: list[Features] = [{s: of_stream[0] for s, of_stream in by.items()} for by in outputs]
    scores: list[dict[Stream, Scores]] = [{s: clipped(of_stream[1]) for s, of_stream in by.items()} for by in outputs]
    forests = _forests(setting, seed, (features[0], training.scores), (features[3], unseen.scores))
    fused: dict[str, Scores] = {
        name: Fusion.fit(config, fitted, truth).predict(features[2], {})
        for name, (config, fitted, truth) in forests.items()
        if name in setting.systems
    }
    if HELD_OUT in setting.systems:
        people = [str(person) for person in validation.people]
        held_out = HeldOutClips(features[1], scores[1], validation.scores, people)
        config = replace(forests[SUMMED][0], fit_on="held-out")
        default = Fusion.fit(config, features[0], training.scores, held_out)
        fused[HELD_OUT] = default.predict(features[2], scores[2])
    weights = np.array([PAPER_WEIGHTS[stream] for stream in STREAMS])
    fused[OUTPUTS] = np.average([scores[2][stream] for stream in STREAMS], axis=0, weights=weights)
    best = min(STREAMS, key=lambda s: np.abs(scores[1][s] - validation.scores)[:, TRAIT_INDICES].mean())
    fused |= {stream: scores[2][stream] for stream in STREAMS}
    fused[BEST_STREAM] = scores[2][best]
    return test, {name: fused[name] for name in setting.systems}


def _forests(
    setting: Setting, seed: int, trained: tuple[Features, Scores], unseen: tuple[Features, Scores]
) -> dict[str, tuple[FusionConfig, Features, Scores]]:
    """Return the fusions by trees: their configuration, and the clips that fit the trees."""
    width = trained[0]["scene"].shape[2]
    paper = FusionConfig(fit_on="training", trees=setting.trees, max_features=width, seed=seed)
    concatenated = replace(paper, mode="concat")
    return {
        SUMMED: (paper, *trained),
        SUMMED_SOME: (replace(paper, max_features=width // 3), *trained),
        SUMMED_UNSEEN: (paper, *unseen),
        CONCATENATED: (concatenated, *trained),
        CONCATENATED_ALL: (replace(concatenated, max_features=len(STREAMS) * width), *trained),
        CONCATENATED_UNSEEN: (concatenated, *unseen),
    }
