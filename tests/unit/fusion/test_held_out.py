"""The fusion fitted on held-out clips: weights by hand, honest trees, the fallback, and its file."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save

from crnet.errors import FormatError
from crnet.fusion.forest import Forest
from crnet.fusion.fusion import Fusion, FusionConfig
from crnet.fusion.held_out import FEWEST_HELD_OUT_CLIPS, FOLDS, LEAF_SIZES, GrowTrees, HeldOutClips, best_out_of_fold
from crnet.fusion.stack import TREES, Stack
from crnet.models.stacking import (
    EVIDENCE,
    PRIOR_CLIPS,
    best_alone,
    fit_weights,
    prior_clips,
    regularised_weights,
    trust,
)
from crnet.types import STREAMS

CLIPS, WIDTH = 60, 4
CONFIG = FusionConfig(trees=6, max_features=WIDTH)
MEDIANS = np.array([0.4, 0.5, 0.6, 0.5, 0.4, 0.5])
Arrays = NDArray[np.float64]


def uniform(seed: int, *shape: int) -> Arrays:
    return np.random.default_rng(seed).uniform(0.2, 0.8, shape)


def make_clips(seed: int, clips: int = CLIPS, signal: float = 1.0, output_noise: float = 0.1) -> HeldOutClips:
    """Clips whose features show the truth, and whose streams show it with noise."""
    rng = np.random.default_rng(seed)
    truth = rng.uniform(0.2, 0.8, (clips, 6))
    features = {s: signal * truth[..., None] + 0.02 * rng.normal(size=(clips, 6, WIDTH)) for s in STREAMS}
    scores = {s: truth + output_noise * rng.normal(size=(clips, 6)) for s in STREAMS}
    return HeldOutClips(features, scores, truth, [f"video {i // 2}" for i in range(clips)])


CORRELATED = np.linalg.cholesky(0.75 * np.ones((6, 6)) + 0.25 * np.eye(6)).T


def fit(clips: HeldOutClips, config: FusionConfig = CONFIG) -> Fusion:
    train = make_clips(99)
    return Fusion.fit(config, train.features, train.truth, clips)


def test_weights_by_hand() -> None:
    """One candidate: w = (A t + r A A prior) / ((1 + r) A A) with r = kappa / n.

    A = .1 and t = .05 everywhere, so the candidate has a signal of .1^2 and a noise of .05^2, and kappa is a quarter of
    9. With 20 clips r = 2.25 / 20 = .1125, and w is (.5 + .1125) / 1.1125 for the prior 1, .5 / 1.1125 for the prior 0.
    """
    assert PRIOR_CLIPS == 9
    scores, truth = np.tile(MEDIANS + 0.1, (20, 1)), np.tile(MEDIANS + 0.05, (20, 1))
    assert regularised_weights({"face": scores}, truth, MEDIANS, {"face": 1.0})["face"] == pytest.approx(
        0.6125 / 1.1125
    )
    assert regularised_weights({"face": scores}, truth, MEDIANS, {"face": 0.0})["face"] == pytest.approx(0.5 / 1.1125)


def test_trust_by_hand() -> None:
    """Predictions of .1 for .2 and .4, twice each: the slope is 3 and the residuals are .1.

    So t^2 = (4 * .1 * .3)^2 / (4 / 3 * 4 * (.1 * .1)^2) = 27.
    """
    assert EVIDENCE == 2
    true = np.tile(np.array([[0.2], [0.4]]), (2, 6))
    predicted = np.full((4, 6), 0.1)
    assert trust(predicted, true) == pytest.approx(1 - 2 / 27)
    assert trust(9 * predicted, true) == pytest.approx(1 - 2 / 27)
    assert trust(predicted, -true) == trust(predicted[:1], true[:1]) == trust(0 * predicted, true) == 0
    weights = fit_weights({"face": MEDIANS + predicted}, MEDIANS + true, MEDIANS, {"face": 1.0})
    untrusting = regularised_weights({"face": MEDIANS + predicted}, MEDIANS + true, MEDIANS, {"face": 1.0})
    assert weights == {"face": pytest.approx(untrusting["face"] * (1 - 2 / 27))}


def test_few_clips_without_a_signal_seldom_lead_away_from_the_floor() -> None:
    """Three networks that predict noise, 40 clips: without trust, half of the fusions are worse than the floor."""
    worse = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = MEDIANS + 0.15 * rng.normal(size=(40, 6)) @ CORRELATED
        streams = {s: MEDIANS + 0.0375 * rng.normal(size=(40, 6)) @ CORRELATED for s in STREAMS}
        weights = fit_weights(streams, truth, MEDIANS, best_alone(streams, truth, MEDIANS))
        harm = sum(weight**2 for weight in weights.values()) * 0.0375**2  # of the squared error, on new clips
        worse.append(harm > 0.0002)
    assert np.mean(worse) < 0.25


def test_candidates_without_a_signal_keep_the_prior() -> None:
    truth = np.tile(MEDIANS + 0.05, (20, 1))
    floor = np.tile(MEDIANS, (20, 1))
    assert regularised_weights({"face": floor, "scene": floor}, truth, MEDIANS, {"face": 0.0, "scene": 0.0}) == {
        "face": 0.0,
        "scene": 0.0,
    }


def test_a_weak_prior_counts_for_more_clips() -> None:
    """Signal .01 and noise .09 (a tenth of the variance is explained): 9 * 9 = 81 clips."""
    rng = np.random.default_rng(0)
    predicted = 0.1 * rng.choice([-1.0, 1.0], 5000)
    assert prior_clips(predicted, predicted + 0.3 * rng.choice([-1.0, 1.0], 5000)) == pytest.approx(81)
    assert prior_clips(predicted, predicted + 0.1) == pytest.approx(9)


def test_weights_of_two_candidates_by_hand() -> None:
    """The candidates deviate in different halves of 20 clips, so each weight is fitted on its own half.

    The better one, scene, has a signal of .1^2 / 2 and a noise of .05^2: kappa = 4.5 and r = .225. Scene: A = .1,
    t = .05, prior 1: (.5 + .225) / 1.225. Face: A = .1, t = -.05 would give a negative weight, which becomes 0.
    """
    half = np.repeat([1.0, 0.0], 10)[:, None]
    scene, face = MEDIANS + 0.1 * half, MEDIANS + 0.1 * (1 - half)
    truth = MEDIANS + 0.05 * half - 0.05 * (1 - half)
    weights = regularised_weights({"scene": scene, "face": face}, truth, MEDIANS, {"scene": 1.0, "face": 0.0})
    assert weights == {"scene": pytest.approx(0.725 / 1.225), "face": 0.0}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.sampled_from([None, *STREAMS]))
def test_the_fitted_weights_are_at_least_as_good_as_the_prior(seed: int, clips: int, best: str | None) -> None:
    scores, truth = {s: uniform(seed + i, clips, 6) for i, s in enumerate(STREAMS)}, uniform(seed + 7, clips, 6)
    prior = {stream: float(stream == best) for stream in STREAMS}
    fitted = regularised_weights(scores, truth, MEDIANS, prior)
    best_candidate = min(STREAMS, key=lambda stream: np.square(scores[stream] - truth).sum())
    kappa = prior_clips(scores[best_candidate] - MEDIANS, truth - MEDIANS)
    assert min(fitted.values()) >= 0

    def objective(weights: dict[str, float]) -> float:
        fused, expected = (sum(w[s] * (scores[s] - MEDIANS) for s in STREAMS) for w in (weights, prior))
        fit = np.square(truth - MEDIANS - fused).sum()
        return float(fit + kappa / clips * np.square(np.asarray(fused) - expected).sum())

    at_prior = np.asarray(sum(prior[s] * (scores[s] - MEDIANS) for s in STREAMS))
    assert objective(fitted) <= objective(prior) + 1e-9  # so the squared error cannot be larger either
    fused = Stack(MEDIANS, fitted).combine(scores)
    assert np.square(truth - fused).sum() <= np.square(truth - MEDIANS - at_prior).sum() + 1e-9


def test_without_weights_the_fused_score_is_the_floor_and_with_one_weight_that_stream() -> None:
    scores = {stream: uniform(i, 5, 6) for i, stream in enumerate(STREAMS)}
    nothing = Stack(MEDIANS, dict.fromkeys(STREAMS, 0.0))
    np.testing.assert_array_equal(nothing.combine(scores), np.tile(MEDIANS, (5, 1)))
    for best in STREAMS:
        alone = Stack(MEDIANS, {stream: float(stream == best) for stream in STREAMS})
        np.testing.assert_array_equal(alone.combine(scores), scores[best])


def test_the_formula_names_every_part() -> None:
    weights = {"scene": 0.52, "face": 0.0, "audio-text": 0.4, TREES: 0.03}
    assert Stack(MEDIANS, weights, 20).formula == ".52 scene + .40 audio-text + .03 trees + .05 floor"
    assert Stack(MEDIANS, {"scene": 0.7, "face": 0.4}).formula == ".70 scene + .40 face − .10 floor"
    assert Stack(MEDIANS, {"scene": 1.0, "face": 0.0}).formula == "1.00 scene"
    assert Stack(MEDIANS, {"scene": 0.0}).formula == "the floor"


def test_the_prior_is_the_best_stream_if_it_beats_the_floor() -> None:
    """Errors .1 and .05 against .08 of the floor; the interview does not count."""
    truth = np.tile(MEDIANS + 0.08, (4, 1))
    streams = {"scene": truth + 0.1, "face": truth - 0.05}
    streams["face"][:, 5] = 0.0
    assert best_alone(streams, truth, MEDIANS) == {"scene": 0.0, "face": 1.0}
    assert best_alone({"scene": truth + 0.1}, truth, MEDIANS) == {"scene": 0.0}


class EchoTrees:
    """Trees that predict the first feature."""

    def predict(self, x: Arrays) -> Arrays:
        return x[:, :, 0]


def recording_trees() -> tuple[GrowTrees, list[set[int]]]:
    """Return such trees, and a list of the clips that each of them is fitted on."""
    fitted_on: list[set[int]] = []

    def grow(x: Arrays, y: Arrays, *, trees: int, min_samples_leaf: int) -> EchoTrees:
        fitted_on.append(set(x[:, 0, 0].astype(int)))
        return EchoTrees()

    return grow, fitted_on


def test_folds_keep_the_clips_of_a_video_together() -> None:
    """Five folds of two videos each, with leaves of 1 and of 5 clips: 20 in a leaf leave no split of 16 clips."""
    clip_numbers = np.tile(np.arange(20.0)[:, None, None], (1, 6, 1)).astype(np.float32)
    grow, fitted_on = recording_trees()
    leaf, scores = best_out_of_fold(grow, 3, clip_numbers, uniform(0, 20, 6), [f"video {i // 2}" for i in range(20)])
    assert leaf == 1  # all are equally good
    np.testing.assert_array_equal(scores, clip_numbers[:, :, 0])  # every clip was predicted
    assert [len(clips) for clips in fitted_on] == [16] * 10
    for clips in fitted_on:
        assert all({2 * (clip // 2), 2 * (clip // 2) + 1} <= clips for clip in clips)


def test_the_folds_do_not_depend_on_the_order_of_the_clips() -> None:
    clip_numbers = np.tile(np.arange(20.0)[:, None, None], (1, 6, 1)).astype(np.float32)
    grow, fitted_on = recording_trees()
    for order in (np.arange(20), np.random.default_rng(0).permutation(20)):
        best_out_of_fold(grow, 3, clip_numbers[order], uniform(0, 20, 6), [f"video {i // 2}" for i in order])
    assert fitted_on[:10] == fitted_on[10:]


def test_clips_of_one_video_are_not_enough_for_trees() -> None:
    x = uniform(0, 30, 6, WIDTH).astype(np.float32)
    assert best_out_of_fold(partial(Forest.fit, max_features=1, seed=0), 2, x, uniform(1, 30, 6), ["a"] * 30) is None


def test_noise_selects_the_largest_leaves_and_a_clear_signal_small_ones() -> None:
    grow = partial(Forest.fit, max_features=WIDTH, seed=0)
    truth = uniform(2, 200, 6)
    groups = [str(i) for i in range(200)]
    noise = uniform(1, 200, 6, WIDTH).astype(np.float32)
    leaf, _ = best_out_of_fold(grow, 10, noise, truth, groups) or (0, None)
    assert leaf == max(LEAF_SIZES)
    signal = np.repeat(truth[..., None], WIDTH, axis=2).astype(np.float32)
    leaf, _ = best_out_of_fold(grow, 10, signal, truth, groups) or (0, None)
    assert leaf == min(LEAF_SIZES)


def test_trees_that_know_more_than_the_streams_get_weight() -> None:
    clips, new = make_clips(1, output_noise=0.3), make_clips(2, output_noise=0.3)
    fusion = fit(clips)
    assert fusion.stack is not None and fusion.stack.weights[TREES] > 0.5
    assert fusion.forest is not None and fusion.forest.start.shape == (6, CONFIG.trees + 1)
    assert "trees" in fusion.summary and "in a leaf" in fusion.summary
    error, best = (
        np.abs(scores - new.truth).mean()
        for scores in (fusion.predict(new.features, new.scores), np.clip(new.scores["scene"], 0, 1))
    )
    assert error < best


def test_trees_without_weight_are_dropped() -> None:
    clips = make_clips(1, signal=0.0, output_noise=0.0)
    fusion = fit(clips)
    assert fusion.forest is None and fusion.stack is not None
    assert TREES not in fusion.stack.weights and fusion.stack.min_samples_leaf == 0
    assert not any(name.startswith("forest.") for name in fusion.to_tensors())
    np.testing.assert_allclose(fusion.predict(clips.features, clips.scores), clips.truth, atol=1e-6)


def test_fused_scores_use_clipped_scores_and_are_clipped() -> None:
    fusion = fit(make_clips(1, signal=0.0, output_noise=0.0))
    far, one = ({stream: np.full((1, 6), value) for stream in STREAMS} for value in (9.0, 1.0))
    features = {stream: np.zeros((1, 6, WIDTH)) for stream in STREAMS}
    np.testing.assert_array_equal(fusion.predict(features, far), fusion.predict(features, one))
    assert fusion.predict(features, far).max() <= 1


@pytest.mark.parametrize("clips", [None, FEWEST_HELD_OUT_CLIPS - 1])
def test_too_few_held_out_clips_give_the_7_5_3_mean_of_the_outputs(
    clips: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        fusion = Fusion.fit(
            CONFIG,
            make_clips(0).features,
            make_clips(0).truth,
            None if clips is None else make_clips(1, clips),
        )
    assert "7:5:3 mean of the streams' own scores" in caplog.text
    assert f"{clips or 0} validation clips" in caplog.text
    scores = {stream: uniform(i, 3, 6) for i, stream in enumerate(STREAMS)}
    expected = (7 * scores["scene"] + 5 * scores["face"] + 3 * scores["audio-text"]) / 15
    assert fusion.forest is None
    np.testing.assert_allclose(fusion.predict(make_clips(0, 3).features, scores), expected)


def test_held_out_clips_are_not_used_by_the_way_of_the_paper() -> None:
    train = make_clips(0)
    config = FusionConfig("training", trees=6, max_features=WIDTH)
    fusion = Fusion.fit(config, train.features, train.truth, make_clips(1))
    forest = Forest.fit(fusion.fuse(train.features), np.asarray(train.truth), trees=6, max_features=WIDTH, seed=0)
    np.testing.assert_array_equal(fusion.predict(train.features, {}), forest.predict(fusion.fuse(train.features)))
    assert fusion.stack is None and "training clips" in fusion.summary


def test_scores_that_do_not_fit_are_refused() -> None:
    clips = make_clips(1)
    with pytest.raises(FormatError, match="face scores"):
        fit(
            HeldOutClips(
                clips.features, clips.scores | {"face": clips.scores["face"] * np.nan}, clips.truth, clips.groups
            )
        )
    with pytest.raises(FormatError, match="annotated scores"):
        fit(HeldOutClips(clips.features, clips.scores, clips.truth[:-1], clips.groups))
    with pytest.raises(FormatError, match="do not fit"):
        fit(HeldOutClips(clips.features, clips.scores, clips.truth, clips.groups[:-1]))
    with pytest.raises(FormatError, match="needs the scores of face"):
        scores = {stream: values for stream, values in clips.scores.items() if stream != "face"}
        fit(clips).predict(clips.features, scores)


@pytest.mark.parametrize(("output_noise", "signal", "trees"), [(0.3, 1.0, True), (0.0, 0.0, False)])
def test_a_held_out_fusion_survives_its_file(output_noise: float, signal: float, trees: bool) -> None:
    clips = make_clips(1, signal=signal, output_noise=output_noise)
    fusion = fit(clips)
    loaded = Fusion.from_tensors(CONFIG, load(save(fusion.to_tensors())))
    assert (loaded.forest is not None) == trees
    assert loaded.summary == fusion.summary
    np.testing.assert_array_equal(
        loaded.predict(clips.features, clips.scores), fusion.predict(clips.features, clips.scores)
    )


WRONG_ARRAYS = {
    "a weight that is NaN": ("stack.weight.face", np.array([np.nan])),
    "a negative weight": ("stack.weight.face", np.array([-0.1])),
    "an infinite weight": ("stack.weight.trees", np.array([np.inf])),
    "a weight in 32 bits": ("stack.weight.face", np.array([0.5], np.float32)),
    "two weights of a stream": ("stack.weight.face", np.array([0.5, 0.5])),
    "the weight of another stream": ("stack.weight.smell", np.array([0.5])),
    "no weight of a stream": ("stack.weight.face", None),
    "no weight of the trees": ("stack.weight.trees", None),
    "trees without a leaf size": ("stack.min_samples_leaf", np.array([0])),
    "a negative leaf size": ("stack.min_samples_leaf", np.array([-1])),
    "no leaf size": ("stack.min_samples_leaf", None),
    "no medians": ("stack.medians", None),
    "medians that are not scores": ("stack.medians", np.full(6, 2.0)),
    "a median that is NaN": ("stack.medians", np.full(6, np.nan)),
    "five medians": ("stack.medians", np.full(5, 0.5)),
}


@pytest.mark.parametrize("wrong", WRONG_ARRAYS)
def test_foreign_weights_are_refused(wrong: str) -> None:
    tensors = dict(FITTED.to_tensors())
    name, array = WRONG_ARRAYS[wrong]
    tensors.pop(name, None)
    if array is not None:
        tensors[name] = array
    with pytest.raises(FormatError):
        Fusion.from_tensors(CONFIG, tensors)


@pytest.mark.parametrize(("kept", "fit_on"), [("forest.", "held-out"), ("stack.", "held-out"), ("", "training")])
def test_arrays_of_another_kind_of_fusion_are_refused(kept: str, fit_on: str) -> None:
    tensors = {n: a for n, a in FITTED.to_tensors().items() if n.startswith(("mean.", "scale.", kept))}
    with pytest.raises(FormatError):
        Fusion.from_tensors(FusionConfig(fit_on, trees=6, max_features=WIDTH), tensors)


FITTED = fit(make_clips(1, output_noise=0.3))
assert FITTED.forest is not None and FOLDS == 5
