"""Features in a file: the same numbers as in an array, with some clips in memory at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crnet.errors import FormatError
from crnet.fusion import feature_file
from crnet.fusion.feature_file import FeatureFile, Moments
from crnet.fusion.fusion import Fusion, FusionConfig

CLIPS = 53
FEATURES = np.random.default_rng(0).normal(3, 2, (CLIPS, 6, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feature_file, "CLIPS_AT_ONCE", 10)


def in_file(folder: Path, features: np.ndarray) -> FeatureFile:
    file = FeatureFile(folder)
    for start in range(0, len(features), 7):
        file.append(features[start : start + 7])
    return file


def test_a_file_holds_the_array_and_leaves_nothing(tmp_path: Path) -> None:
    file = in_file(tmp_path, FEATURES)
    assert len(file) == CLIPS and not list(tmp_path.iterdir())
    for _ in range(2):
        np.testing.assert_array_equal(np.asarray(file), FEATURES)
        assert [len(block) for block in file.blocks()] == [10, 10, 10, 10, 10, 3]


def test_moments_are_those_of_numpy_bit_for_bit(tmp_path: Path) -> None:
    array = FEATURES.astype(np.float64)
    for features in (FEATURES, in_file(tmp_path, FEATURES)):
        moments = Moments.of("scene", features)
        assert moments.clips == CLIPS
        np.testing.assert_array_equal(moments.mean, array.mean(axis=0))
        np.testing.assert_array_equal(moments.deviation, array.std(axis=0))
        np.testing.assert_array_equal(moments.largest, np.abs(array).max(axis=0))


@pytest.mark.parametrize("fit_on", ["held-out", "training"])
def test_a_fusion_does_not_depend_on_where_the_features_are(tmp_path: Path, fit_on: str) -> None:
    truth = np.random.default_rng(1).random((CLIPS, 6))
    config = FusionConfig(fit_on, trees=3)  # type: ignore[arg-type]
    fusions = [Fusion.fit(config, {"scene": each}, truth) for each in (FEATURES, in_file(tmp_path, FEATURES))]
    one, other = (fusion.to_tensors() for fusion in fusions)
    assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    damaged = FEATURES.copy()
    damaged[-1, 2, 3] = np.nan
    with pytest.raises(FormatError, match="scene features are not finite"):
        Moments.of("scene", in_file(tmp_path, damaged))
