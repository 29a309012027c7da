"""Tests of the store of nearly unpredictable scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.weak_clips import MEANS, write_weak_store
from benchmarks.weak_signal import ridge_accuracy
from crnet.data.dataset import ClipDataset, read_texts, stack_scores
from crnet.data.manifest import read_manifest
from crnet.data.transforms import TransformConfig
from crnet.models.text_regression import fit_ridge


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weak_store(tmp_path_factory.mktemp("weak") / "store", {"train": 1500, "val": 60, "test": 60}, seed=1)


def test_text_explains_a_few_percent_of_the_scores(store: Path) -> None:
    rows = read_manifest(store).rows("train")
    fit = fit_ridge(read_texts(store, rows), stack_scores(rows), range(len(rows)))
    assert 0.005 < fit.r2 < 0.08
    assert np.allclose(stack_scores(rows).mean(axis=0), MEANS, atol=0.02)
    floor = np.abs(stack_scores(read_manifest(store).rows("test")) - MEANS)[:, :5].mean()
    accuracy, r2 = ridge_accuracy(store)
    assert accuracy == pytest.approx(1 - floor, abs=0.02) and abs(r2) < 0.15


def test_brightness_and_loudness_explain_a_few_percent_each(store: Path) -> None:
    rows = read_manifest(store).rows("train")[:600]
    config = TransformConfig(frames=4, pixels=32, audio_samples=4000)
    samples = [ClipDataset(store, rows, config)[index] for index in range(len(rows))]
    interview = stack_scores(rows)[:, 5]
    cues = {
        "scene": [sample.scene.mean() for sample in samples],
        "face": [sample.face.mean() for sample in samples],
        "sound": [np.log(np.abs(sample.audio).mean()) for sample in samples],
    }
    for values in cues.values():
        assert 0.1 < np.corrcoef(values, interview)[0, 1] < 0.35  # the square root of .05 is .22
    assert abs(np.corrcoef(cues["scene"], cues["face"])[0, 1]) < 0.15


def test_a_written_store_is_not_written_again(store: Path) -> None:
    before = (store / "manifest.parquet").stat().st_mtime_ns
    assert write_weak_store(store, {"train": 5}, seed=2) == store
    assert (store / "manifest.parquet").stat().st_mtime_ns == before
