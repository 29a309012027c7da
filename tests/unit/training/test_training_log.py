"""The metrics of an epoch, the log file, the warning of overfitting."""

from __future__ import annotations

import builtins
import errno
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crnet.errors import StorageError
from crnet.training.log import EpochMetrics, metrics_row, open_log, overfitting_warning
from crnet.types import TARGETS


def test_metrics_by_hand() -> None:
    truth = np.tile([[0.2], [0.6]], (1, 6))
    scores = truth + np.array([[0.1], [-0.1]])  # 0.3 and 0.5: off by 0.1, half as spread out
    scores[:, 5] = 0.4  # interview: off by 0.2, constant
    row = metrics_row(EpochMetrics({"total": 1.0, "l1": 2.0}, scores, truth, 0.25, 0.5))
    assert (row["total"], row["l1"], row["class_accuracy"], row["outside_bell"]) == (1.0, 2.0, 0.25, 0.5)
    assert set(row["accuracy"]) == set(row["spread"]) == {*TARGETS, "average"}
    assert row["accuracy"]["openness"] == pytest.approx(0.9) == row["accuracy"]["average"]
    assert row["accuracy"]["interview"] == pytest.approx(0.8)
    assert row["spread"]["openness"] == pytest.approx(0.5) and row["spread"]["interview"] == pytest.approx(0)


def test_metrics_of_a_single_clip_are_json() -> None:
    row = metrics_row(EpochMetrics({}, np.full((1, 6), 0.4), np.full((1, 6), 0.5), 0.0, 0.0))
    assert json.loads(json.dumps(row, allow_nan=False))["accuracy"]["average"] == pytest.approx(0.9)


def rows(train: Sequence[float], val: Sequence[float] | None, weight: float = 4.0) -> list[dict[str, Any]]:
    """Return epochs with these scores; for classification (weight 1) a score is the negative cross-entropy."""

    def split(score: float) -> dict[str, Any]:
        return {"classification": -score, "accuracy": {"average": score}}

    return [
        {
            "epoch": i + 1,
            "lambda": weight,
            "train": split(train[i]),
            "val": None if val is None else split(val[i]),
        }
        for i in range(len(train))
    ]


@pytest.mark.parametrize(
    ("train", "val", "weight", "warning"),
    [
        ([0.88, 0.89, 0.9, 0.91, 0.915], [0.88, 0.90, 0.9, 0.899, 0.897], 4.0, r"fell from 0\.9000 \(epoch 2\)"),
        ([0.88, 0.89, 0.9, 0.91, 0.915], [0.88, 0.90, 0.9, 0.899, 0.899], 4.0, None),  # within the noise
        ([0.88, 0.89, 0.9, 0.91], [0.88, 0.90, 0.9, 0.897], 4.0, None),  # the best is too recent
        ([0.9, 0.89, 0.88, 0.87, 0.86], [0.9, 0.89, 0.88, 0.87, 0.86], 4.0, None),  # both fall: not overfitting
        ([0.93], [0.905], 4.0, "far above"),
        ([0.93], [0.915], 4.0, None),
        ([-8.0, -7.0, -6.0, -5.0], [-8.0, -8.05, -8.05, -8.2], 1.0, r"validation cross-entropy rose from 8\.0000"),
        ([-8.0, -7.0, -6.0, -5.0], [-8.0, -7.0, -6.9, -6.8], 1.0, None),  # no gap rule in classification
        ([0.99], None, 4.0, None),
        ([], [], 4.0, None),
    ],
)
def test_overfitting(train: list[float], val: list[float] | None, weight: float, warning: str | None) -> None:
    sentence = overfitting_warning(rows(train, val, weight))
    if warning is None:
        assert sentence is None
    else:
        assert sentence is not None
        assert re.search(warning, sentence)


def test_the_log_continues_after_the_state(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')  # epoch 2 was logged without a state; epoch 3 is truncated
    with open_log(tmp_path, [{"epoch": 1}], tensorboard=False) as write:
        write({"epoch": 2})
        write({"epoch": 3})
        assert [json.loads(line)["epoch"] for line in path.read_text().splitlines()] == [1, 2, 3]
    assert not (tmp_path / "tensorboard").exists()


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_log(tmp_path, [], tensorboard=True) as write:
        for epoch in (1, 2):
            write({"epoch": epoch, "train": {"accuracy": {"average": 0.5 * epoch}}, "val": None, "overfitting": None})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/accuracy/average")] == [(1, 0.5), (2, 1.0)]


def test_tensorboard_is_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if "tensorboard" in name:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with open_log(tmp_path, [], tensorboard=True) as write:
        write({"epoch": 1})
    assert (tmp_path / "log.jsonl").read_text() == '{"epoch": 1}\n'


def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_log(tmp_path, [], tensorboard=False) as write:
        monkeypatch.setattr(Path, "open", full)
        with pytest.raises(StorageError, match=r"log\.jsonl: cannot write: No space left"):
            write({"epoch": 1})
