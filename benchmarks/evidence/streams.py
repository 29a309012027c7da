"""Three streams of unequal reliability, each a network with a CR-block, and the ways of fusing them.

The paper's trees are fitted on the clips that trained the networks. "unseen" trees are fitted on as many clips that
trained nothing, so that only this differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from benchmarks.evidence.heads import CR, HEADS
from benchmarks.evidence.training import train
from benchmarks.evidence.worlds import Clips, Scores, World
from crnet.fusion.fusion import PAPER_WEIGHTS, Fusion, FusionConfig, clipped
from crnet.fusion.held_out import HeldOutClips
from crnet.types import STREAMS, TRAIT_INDICES, Stream

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


def run(world: World, seed: int, trees: int = TREES) -> tuple[Clips, Mapping[str, Scores]]:
    """Train the three networks and fuse them in every way.

    Returns:
        The test clips, and their scores by each way.
    """
    training, validation, test, unseen = (
        world.draw(count, seed, split) for split, count in enumerate((TRAINING, VALIDATION, TESTED, TRAINING))
    )
    nets = {stream: train(HEADS[CR], training, validation, seed, stream) for stream in STREAMS}
    outputs = [
        {stream: net.outputs(clips.cues[stream]) for stream, net in nets.items()}
        for clips in (training, validation, test, unseen)
    ]
    features: list[dict[Stream, np.ndarray]] = [{s: of_stream[0] for s, of_stream in by.items()} for by in outputs]
    scores: list[dict[Stream, Scores]] = [{s: clipped(of_stream[1]) for s, of_stream in by.items()} for by in outputs]
    width = features[0]["scene"].shape[2]
    paper = FusionConfig(fit_on="training", trees=trees, max_features=width, seed=seed)
    concatenated = replace(paper, mode="concat")
    trained, untrained = (features[0], training.scores), (features[3], unseen.scores)
    forests = {
        SUMMED: (paper, *trained),
        SUMMED_SOME: (replace(paper, max_features=width // 3), *trained),
        SUMMED_UNSEEN: (paper, *untrained),
        CONCATENATED: (concatenated, *trained),
        CONCATENATED_ALL: (replace(concatenated, max_features=len(STREAMS) * width), *trained),
        CONCATENATED_UNSEEN: (concatenated, *untrained),
    }
    fused: dict[str, Scores] = {
        name: Fusion.fit(config, fitted, truth).predict(features[2], {})
        for name, (config, fitted, truth) in forests.items()
    }
    held_out = HeldOutClips(features[1], scores[1], validation.scores, [str(person) for person in validation.people])
    default = Fusion.fit(replace(paper, fit_on="held-out"), features[0], training.scores, held_out)
    fused[HELD_OUT] = default.predict(features[2], scores[2])
    weights = np.array([PAPER_WEIGHTS[stream] for stream in STREAMS])
    fused[OUTPUTS] = np.average([scores[2][stream] for stream in STREAMS], axis=0, weights=weights)
    best = min(STREAMS, key=lambda s: np.abs(scores[1][s] - validation.scores)[:, TRAIT_INDICES].mean())
    fused |= {stream: scores[2][stream] for stream in STREAMS}
    fused[BEST_STREAM] = scores[2][best]
    return test, fused
