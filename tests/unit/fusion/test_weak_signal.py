"""The fusion where it failed: scores that hardly show (R2 of .05), and networks that memorise their training clips.

The simulated features hold a little of the true signal and much noise. On training clips a part of that noise is the
noise of the scores themselves, as in the features of a network that has memorised them; on other clips it is not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from crnet.fusion.fusion import Fusion, FusionConfig, system_scores
from crnet.fusion.held_out import HeldOutClips
from crnet.types import STREAMS, Stream

TRAIN_CLIPS, SELECTION_CLIPS, TEST_CLIPS = 3_000, 500, 1_000  # the other 500 of 1,000 validation clips calibrate
R2, SPREAD, CENTRE = 0.05, 0.15, 0.52
MEMORISED = 0.4  # correlation between the noise in a training clip's features and the noise of its scores
NOISE: dict[Stream, float] = {"scene": 0.8, "face": 0.8, "audio-text": 0.5}  # relative to the signal
OVERFIT = 1.5  # the networks trust their features that much more than they should
WIDTH = 4
TARGET_CORRELATION = np.linalg.cholesky(0.7 * np.ones((6, 6)) + 0.3 * np.eye(6)).T
CONFIG = FusionConfig(trees=6)


@dataclass(frozen=True)
class Clips:
    features: dict[Stream, NDArray[np.float64]]
    scores: dict[Stream, NDArray[np.float64]]
    truth: NDArray[np.float64]


def simulate(streams: tuple[Stream, ...], clips: int, memorised: float, rng: np.random.Generator) -> Clips:
    def normal() -> NDArray[np.float64]:
        return rng.normal(size=(clips, 6)) @ TARGET_CORRELATION

    signal, label_noise = normal(), normal()
    truth = np.clip(CENTRE + SPREAD * (np.sqrt(R2) * signal + np.sqrt(1 - R2) * label_noise), 0, 1)
    features, scores = {}, {}
    for stream in streams:
        noise = NOISE[stream] * (memorised * label_noise + np.sqrt(1 - memorised**2) * normal())
        seen = signal + noise
        slope = np.sqrt(R2) / (1 + NOISE[stream] ** 2)
        scores[stream] = CENTRE + SPREAD * OVERFIT * slope * seen
        features[stream] = seen[..., None] + 0.7 * rng.normal(size=(clips, 6, WIDTH))
    return Clips(features, scores, truth)


def accuracies(streams: tuple[Stream, ...], config: FusionConfig, seed: int) -> tuple[float, float, float]:
    """Return 1 - MAE of the fusion, the best stream and the floor on the test clips, means over the five traits."""
    rng = np.random.default_rng(seed)
    train = simulate(streams, TRAIN_CLIPS, MEMORISED, rng)
    selection, test = (simulate(streams, clips, 0.0, rng) for clips in (SELECTION_CLIPS, TEST_CLIPS))
    groups = [f"video {i // 2}" for i in range(SELECTION_CLIPS)]
    held_out = HeldOutClips(selection.features, selection.scores, selection.truth, groups)
    fusion = Fusion.fit(replace(config, seed=seed), train.features, train.truth, held_out)
    fused, of_streams = system_scores(fusion, test.features, test.scores)

    def accuracy(scores: NDArray[np.float64]) -> float:
        return float(1 - np.abs(scores - test.truth)[:, :5].mean())

    return accuracy(fused), max(map(accuracy, of_streams.values())), accuracy(np.median(train.truth, axis=0))


@pytest.mark.parametrize("streams", [("audio-text",), STREAMS])
@pytest.mark.parametrize("seed", range(5))
def test_the_fusion_is_not_below_its_best_stream_nor_the_floor(streams: tuple[Stream, ...], seed: int) -> None:
    fused, best_stream, floor = accuracies(streams, CONFIG, seed)
    assert fused >= best_stream - 0.0005
    assert fused >= floor


@pytest.mark.parametrize("streams", [("audio-text",), STREAMS])
@pytest.mark.parametrize("seed", range(5))
def test_trees_fitted_on_training_clips_are_below_the_floor(streams: tuple[Stream, ...], seed: int) -> None:
    """The paper's way fails the test above, so that test can fail; few trees are not the reason."""
    fused, _, floor = accuracies(streams, replace(CONFIG, fit_on="training", trees=20), seed)
    assert fused < floor
