"""Fusion: the weighted sum by hand, the forest compared with scikit-learn, and files that must be refused."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load, save
from sklearn.ensemble import ExtraTreesRegressor

from crnet.errors import ConfigError, FormatError
from crnet.fusion import forest as forest_module
from crnet.fusion.forest import Forest, _not_above
from crnet.fusion.fusion import Fusion, FusionConfig
from crnet.types import STREAMS, TARGETS

Features = dict[str, NDArray[np.float32]]
CLIPS, WIDTH = 40, 8
TRAINING = "training"  # the paper's way: `fit_on`


def make_features(clips: int = CLIPS, seed: int = 0, width: int = WIDTH) -> Features:
    rng = np.random.default_rng(seed)
    scales = {"scene": 5.0, "face": 0.01, "audio-text": 1.0}
    return {s: (rng.normal(0, scales[s], (clips, 6, width)) + 3).astype(np.float32) for s in STREAMS}


def make_scores(clips: int = CLIPS, seed: int = 1) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(0, 1, (clips, 6))


def fit(trees: int = 12, streams: tuple[str, ...] = STREAMS, mode: str = "sum") -> tuple[Fusion, Features]:
    features = {stream: array for stream, array in make_features().items() if stream in streams}
    config = FusionConfig(TRAINING, mode=mode, trees=trees, max_features=4)
    return Fusion.fit(config, features, make_scores()), features


def by_hand(features: Features, stream: str) -> NDArray[np.float64]:
    values = features[stream].astype(np.float64)
    return (values - values.mean(0)) / values.std(0)


def test_sum_weights_streams_7_5_3_over_15() -> None:
    fusion, features = fit(trees=1)
    expected = sum(w * by_hand(features, s) for s, w in (("scene", 7), ("face", 5), ("audio-text", 3))) / 15
    np.testing.assert_allclose(fusion.fuse(features), expected, atol=1e-6)
    assert fusion.streams == STREAMS


def test_scene_and_face_weights_are_7_5_over_12_without_the_third_stream() -> None:
    fusion, features = fit(trees=1, streams=("scene", "face"))
    expected = (7 * by_hand(features, "scene") + 5 * by_hand(features, "face")) / 12
    np.testing.assert_allclose(fusion.fuse(make_features()), expected, atol=1e-6)
    assert fusion.streams == ("scene", "face")


def test_concat_joins_the_three_streams() -> None:
    fusion, features = fit(trees=3, mode="concat")
    fused = fusion.fuse(features)
    assert fused.shape == (CLIPS, 6, 3 * WIDTH)
    np.testing.assert_allclose(fused[..., WIDTH : 2 * WIDTH], by_hand(features, "face"), atol=1e-5)


def test_standardisation_uses_training_statistics() -> None:
    fusion, features = fit(trees=5)
    shifted = {stream: array + 1 for stream, array in features.items()}
    assert not np.allclose(fusion.fuse(shifted), fusion.fuse(features))
    together = fusion.predict(features, {})
    one_by_one = np.concatenate(
        [fusion.predict({s: a[i : i + 1] for s, a in features.items()}, {}) for i in range(CLIPS)]
    )
    np.testing.assert_array_equal(together, one_by_one)


def test_a_feature_that_is_constant_in_training_has_no_effect() -> None:
    features = make_features()
    features["scene"][:, 2, 3] = 0.1
    features["face"][:, 1, :] = 0.0
    fusion = Fusion.fit(FusionConfig(TRAINING, trees=2), features, make_scores())
    assert np.isfinite(fusion.fuse(features)).all()
    changed = {stream: array.copy() for stream, array in features.items()}
    changed["scene"][:, 2, 3] = 1e6
    np.testing.assert_array_equal(fusion.fuse(changed), fusion.fuse(features))


@pytest.mark.parametrize(("max_features", "trees"), [(1, 7), (4, 7), (512, 7)])
def test_the_forest_gives_the_predictions_of_scikit_learn(max_features: int, trees: int) -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=(60, 6, WIDTH)).astype(np.float32)
    y = make_scores(60)
    forest = Forest.fit(x, y, trees=trees, max_features=max_features, seed=3)
    new = rng.normal(size=(200, 6, WIDTH)).astype(np.float32)
    predictions = forest.predict(new)
    for target in range(6):
        seed = int(np.random.SeedSequence([3, target]).generate_state(1)[0])
        regressor = ExtraTreesRegressor(trees, max_features=min(max_features, WIDTH), random_state=seed)
        regressor.fit(x[:, target], y[:, target])
        np.testing.assert_allclose(predictions[:, target], regressor.predict(new[:, target]), atol=1e-6)
    np.testing.assert_allclose(forest.predict(x), y, atol=1e-6)  # full trees reproduce their training scores


def test_growing_trees_leaves_the_warning_filters_as_they_were() -> None:
    x, y = make_features(40)["scene"], make_scores()
    Forest.fit(x, y, trees=2, max_features=4, seed=0)  # importing scikit-learn adds filters of its own
    before = list(warnings.filters)
    for seed in range(5):
        Forest.fit(x, y, trees=10, max_features=4, seed=seed)
    assert list(warnings.filters) == before


def test_the_number_of_parallel_walks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    fusion, features = fit()
    expected = fusion.predict(features, {})
    monkeypatch.setattr(forest_module, "MAX_PARALLEL_WALKS", 5 * CLIPS)
    np.testing.assert_allclose(fusion.predict(features, {}), expected, atol=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.floats(-(2.0**100), 2.0**100), st.floats(-(2.0**100), 2.0**100, width=32))
def test_float32_thresholds_decide_as_float64_thresholds(threshold: float, x: float) -> None:
    stored = _not_above(np.array([threshold]))[0]
    assert stored.dtype == np.float32
    neighbours = [
        np.float32(x),
        stored,
        np.nextafter(stored, np.float32(np.inf)),
        np.nextafter(stored, np.float32(-np.inf)),
    ]
    for value in neighbours:
        assert (value <= stored) == (float(value) <= threshold)


def test_predictions_depend_on_the_seed_and_stay_in_the_range_of_the_scores() -> None:
    features, scores = make_features(), make_scores() * 0.5
    config = FusionConfig(TRAINING, trees=5)
    first, same = (Fusion.fit(config, features, scores) for _ in range(2))
    other = Fusion.fit(FusionConfig(TRAINING, trees=5, seed=1), features, scores)
    new = make_features(seed=9)
    np.testing.assert_array_equal(first.predict(new, {}), same.predict(new, {}))
    assert not np.array_equal(first.predict(new, {}), other.predict(new, {}))
    assert first.predict(new, {}).min() >= 0
    assert first.predict(new, {}).max() <= 0.5


@pytest.mark.parametrize(("mode", "streams"), [("sum", STREAMS), ("sum", ("scene", "face")), ("concat", STREAMS)])
def test_a_fusion_survives_its_file(mode: str, streams: tuple[str, ...]) -> None:
    fusion, features = fit(mode=mode, streams=streams)
    loaded = Fusion.from_tensors(fusion.config, load(save(fusion.to_tensors())))
    np.testing.assert_array_equal(loaded.predict(features, {}), fusion.predict(features, {}))
    assert loaded.streams == fusion.streams


def _damage(tensors: dict[str, NDArray], key: str, change: Callable[[NDArray], object]) -> None:
    tensors[key] = tensors[key].copy()
    result = change(tensors[key])
    if isinstance(result, np.ndarray):
        tensors[key] = result


def first_inner(tensors: dict[str, NDArray]) -> int:
    return int(np.flatnonzero(tensors["forest.feature"] >= 0)[0])


def put(index: object, value: object) -> Callable[[NDArray], None]:
    def change(array: NDArray) -> None:
        array[index] = value

    return change


DAMAGE: dict[str, tuple[str, Callable[[NDArray], object]]] = {
    "a jump to itself": ("forest.jump", put(0, 0)),
    "a jump backwards": ("forest.jump", put(0, -3)),
    "a jump to the left child": ("forest.jump", put(0, 1)),
    "a jump out of the tree": ("forest.jump", put(0, 10_000)),
    "a jump that overflows": ("forest.jump", put(0, 2**31 - 1)),
    "a leaf that jumps": ("forest.jump", lambda a: put(np.flatnonzero(a == 0)[0], 2)(a)),
    "a feature beyond the width": ("forest.feature", put(0, WIDTH)),
    "a negative feature": ("forest.feature", put(0, -2)),
    "a tree that ends in a split": ("forest.feature", put(-1, 0)),
    "a threshold that is NaN": ("forest.value", put(0, np.nan)),
    "an infinite leaf": ("forest.value", put(-1, np.inf)),
    "values missing": ("forest.value", lambda a: a[:-1]),
    "no nodes": ("forest.feature", lambda a: a[:0]),
    "trees out of order": ("forest.start", lambda a: a[:, ::-1].copy()),
    "a tree that starts before the file": ("forest.start", put((0, 0), -1)),
    "a tree that ends after the file": ("forest.start", put((5, -1), 10**9)),
    "targets that overlap": ("forest.start", put((1, 0), 3)),
    "five targets": ("forest.start", lambda a: a[:5]),
    "no trees": ("forest.start", lambda a: a[:, :1]),
    "starts of one dimension": ("forest.start", lambda a: a.ravel()),
    "features of 64 bits": ("forest.feature", lambda a: a.astype(np.int64)),
    "thresholds of 64 bits": ("forest.value", lambda a: a.astype(np.float64)),
    "a mean that is NaN": ("mean.scene", put((0, 0), np.nan)),
    "a mean of another width": ("mean.scene", lambda a: a[:, :-1]),
    "a mean of five targets": ("mean.scene", lambda a: a[:5]),
    "a mean in 32 bits": ("mean.scene", lambda a: a.astype(np.float32)),
    "a mean without a dimension": ("mean.scene", lambda a: np.array(0.5)),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_files_are_refused(name: str) -> None:
    fusion, _ = fit(trees=2)
    tensors = dict(fusion.to_tensors())
    assert tensors["forest.feature"][0] >= 0  # the first node is a split, as the table above assumes
    _damage(tensors, *DAMAGE[name])
    with pytest.raises(FormatError):
        Fusion.from_tensors(fusion.config, tensors)


@pytest.mark.parametrize("change", ["missing", "foreign", "other stream", "no stream", "nothing", "mode"])
def test_foreign_files_are_refused(change: str) -> None:
    fusion, _ = fit(trees=2)
    tensors, config = dict(fusion.to_tensors()), fusion.config
    if change == "missing":
        del tensors["forest.jump"]
    elif change == "foreign":
        tensors["weights"] = np.zeros(3)
    elif change == "other stream":
        tensors["mean.smell"], tensors["scale.smell"] = tensors["mean.scene"], tensors["scale.scene"]
    elif change == "no stream":
        tensors = {key: array for key, array in tensors.items() if key.startswith("forest.")}
    elif change == "nothing":
        tensors = {}
    else:
        fused_wider, _ = fit(trees=2, mode="concat")
        tensors = dict(fused_wider.to_tensors())
        tensors["forest.feature"] = np.where(
            tensors["forest.feature"] >= 0, np.int16(3 * WIDTH - 1), tensors["forest.feature"]
        )
    with pytest.raises(FormatError):
        Fusion.from_tensors(config, tensors)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_arrays_are_refused_or_give_finite_predictions(data: st.DataObject) -> None:
    fusion, features = FITTED
    tensors = {key: array.copy() for key, array in fusion.to_tensors().items()}
    key = data.draw(st.sampled_from(["forest.feature", "forest.value", "forest.jump", "forest.start"]))
    flat = tensors[key].reshape(-1)
    for _ in range(data.draw(st.integers(1, 3))):
        flat[data.draw(st.integers(0, len(flat) - 1))] = data.draw(st.integers(-5, 400))
    try:
        damaged = Fusion.from_tensors(fusion.config, tensors)
    except FormatError:
        return
    assert np.isfinite(damaged.predict(features, {})).all()


FITTED = fit(trees=2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fit_on": "test"},
        {"mode": "product"},
        {"trees": 0},
        {"max_features": 0},
        {"weights": {"scene": 7.0}},
        {"weights": {"scene": 7.0, "face": 5.0, "audio-text": 0.0}},
        {"weights": {"scene": 7.0, "face": 5.0, "audio-text": float("nan")}},
        {"weights": {"scene": 7.0, "face": 5.0, "audio-text": 3.0, "smell": 1.0}},
    ],
)
def test_wrong_configurations_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError):
        FusionConfig(**wrong)


def test_features_that_cannot_be_fused_are_refused() -> None:
    features, scores, config = make_features(), make_scores(), FusionConfig(TRAINING, trees=1)
    with pytest.raises(ConfigError, match="cannot fuse the streams"):
        Fusion.fit(config, {}, scores)
    with pytest.raises(ConfigError, match="cannot fuse the streams"):
        Fusion.fit(config, {"smell": features["scene"]}, scores)
    with pytest.raises(ConfigError, match="cannot be summed"):
        Fusion.fit(config, features | {"face": features["face"][..., :-1]}, scores)
    with pytest.raises(FormatError, match="diverged"):
        Fusion.fit(config, features | {"face": features["face"] * np.nan}, scores)
    with pytest.raises(FormatError, match="different numbers"):
        Fusion.fit(config, features | {"face": features["face"][:-1]}, scores)
    with pytest.raises(FormatError, match="shape"):
        Fusion.fit(config, features | {"face": features["face"][:, 0]}, scores)
    with pytest.raises(FormatError, match="scores"):
        Fusion.fit(config, features, scores[:-1])
    with pytest.raises(FormatError, match="scores"):
        Fusion.fit(config, features, scores * np.nan)


def test_features_that_cannot_be_scored_are_refused() -> None:
    fusion, features = fit(trees=1)
    with pytest.raises(FormatError, match="audio-text"):
        fusion.predict({"scene": features["scene"], "face": features["face"]}, {})
    with pytest.raises(FormatError, match="expected"):
        fusion.predict({stream: array[..., :-1] for stream, array in features.items()}, {})


def with_repeated_trees(forest: Forest, times: int) -> Forest:
    """Repeat each tree: the forest is as slow as one with that many trees, without the time of fitting it."""
    blocks = [slice(starts[0], starts[-1]) for starts in forest.start]
    feature, value, jump = (
        np.concatenate([np.tile(array[block], times) for block in blocks])
        for array in (forest.feature, forest.value, forest.jump)
    )
    sizes = np.concatenate([np.tile(np.diff(starts), times) for starts in forest.start])
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    trees = times * (forest.start.shape[1] - 1)
    start = bounds[np.arange(len(forest.start))[:, None] * trees + np.arange(trees + 1)]
    tensors = {"feature": feature, "value": value, "jump": jump, "start": start}
    return Forest.from_tensors(tensors, targets=len(blocks), features=forest.features)


def test_scoring_one_clip_with_6000_trees_is_fast() -> None:
    features = make_features(500)
    fusion = Fusion.fit(FusionConfig(TRAINING, trees=20, max_features=1), features, make_scores(500))
    one = fusion.fuse({stream: array[:1] for stream, array in features.items()})
    forest = with_repeated_trees(fusion.forest, 50)
    assert forest.start[:, :-1].size == len(TARGETS) * 1000
    np.testing.assert_allclose(forest.predict(one), fusion.forest.predict(one), atol=1e-9)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        forest.predict(one)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.060
