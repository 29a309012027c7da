"""The records refuse invalid values."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from crnet.errors import FormatError
from crnet.types import (
    DATA_SOURCES,
    PREDICTION_COLUMNS,
    TARGETS,
    TRAITS,
    Batch,
    DataSource,
    Faces,
    ModelInfo,
    Prediction,
)
from synthetic import make_clip

SCORES = dict.fromkeys(TARGETS, 0.5)


def test_interview_comes_last() -> None:
    assert TARGETS[-1] == "interview"
    assert TARGETS[:5] == TRAITS
    assert len(TRAITS) == 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"time_s": np.zeros(3)}, "scene_offsets"),
        ({"audio": np.zeros(4, np.float32)}, "audio"),
        ({"text": np.zeros(300, np.float32)}, "text"),
        ({"segment": np.zeros(64, np.int16)}, "segment has no frame"),
        ({"time_s": np.arange(64.0)[::-1].copy()}, "order of time"),
        ({"scene_offsets": np.zeros(65, np.int64)}, "scene_offsets do not cut"),
        ({"face_box": np.zeros((64, 4))}, "face_box is float64"),
    ],
)
def test_a_clip_validates_itself(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        replace(make_clip("a.mp4"), **changes)


def test_a_clip_returns_the_jpeg_of_each_frame() -> None:
    clip = make_clip("a.mp4")
    start, end = clip.face_offsets[5], clip.face_offsets[6]
    assert clip.jpeg("face", 5) == clip.face_jpeg[start:end].tobytes()
    assert clip.jpeg("scene", 0)[:2] == b"\xff\xd8"  # the start of a JPEG file


def _batch(**changes: Any) -> Batch:
    parts = {
        "clip_ids": ("a", "b"),
        "scene": torch.zeros(2, 4, 3, 8, 8, dtype=torch.uint8),
        "audio": torch.zeros(2, 100),
        "text": torch.zeros(2, 4800),
        "scores": torch.zeros(2, 6),
        "classes": torch.zeros(2, 6, dtype=torch.int64),
    }
    return Batch(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"clip_ids": ()}, "empty batch"),
        ({"clip_ids": ("a",)}, "for 1 clips"),
        ({"scene": torch.zeros(2, 4, 3, 8, 8)}, "scene is torch.float32"),
        ({"face": torch.zeros(2, 4, 8, 8, 3, dtype=torch.uint8)}, "not RGB"),
        ({"text": None}, "come together"),
        ({"classes": None}, "come together"),
        ({"scores": torch.zeros(2, 5)}, "six targets"),
        ({"text": torch.zeros(2, 300)}, "4,800"),
    ],
)
def test_a_batch_validates_itself(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(FormatError, match=reason):
        _batch(**changes)


def test_a_batch_moves_to_another_device() -> None:
    moved = _batch().to(torch.device("meta"))
    assert len(moved) == 2
    assert moved.scene is not None
    assert moved.scene.device.type == "meta"
    assert moved.face is None


def test_a_prediction_has_either_scores_or_an_error() -> None:
    with pytest.raises(FormatError):
        Prediction("a.mp4", 1.0, SCORES, error="broken")
    with pytest.raises(FormatError):
        Prediction("a.mp4", 1.0, None)
    with pytest.raises(FormatError, match="openness"):
        Prediction("a.mp4", 1.0, {**SCORES, "openness": float("nan")})


def test_the_json_of_a_prediction_has_every_key_of_the_contract() -> None:
    prediction = Prediction(
        "a.mp4", 2.0, SCORES, {"scene": SCORES}, {"openness": (0.4, 0.6)}, Faces(3, 8), ("careful",),
        model=ModelInfo("run", "0123456789abcdef", "0.1.0"),
    )  # fmt: skip
    assert prediction.to_dict() == {
        "clip": "a.mp4",
        "duration_s": 2.0,
        "scores": SCORES,
        "streams": {"scene": SCORES},
        "intervals": {"openness": [0.4, 0.6]},
        "faces": {"found": 3, "looked_at": 8},
        "warnings": ["careful"],
        "error": None,
        "model": {"name": "run", "fingerprint": "0123456789abcdef", "crnet_version": "0.1.0"},
        "scale": {"neuroticism": "reversed: high = emotionally stable"},
    }
    assert Prediction("a.mp4", None, None, error="broken").to_dict()["error"] == "broken"


def test_to_row_is_flat_and_has_every_column() -> None:
    prediction = Prediction(
        "a.mp4", 2.0, SCORES, {"scene": SCORES}, {"openness": (0.4, 0.6)}, Faces(3, 8), ("no sound", "black")
    )
    row = prediction.to_row()
    assert tuple(row) == PREDICTION_COLUMNS
    assert row["clip"] == "a.mp4" and row["duration_s"] == 2.0
    assert [row[target] for target in TARGETS] == list(SCORES.values())
    assert (row["openness.low"], row["openness.high"], row["extraversion.low"]) == (0.4, 0.6, None)
    assert row["scene.extraversion"] == SCORES["extraversion"] and row["face.extraversion"] is None
    assert (row["faces_found"], row["faces_looked_at"]) == (3, 8)
    assert (row["warnings"], row["error"]) == ("no sound; black", None)
    assert row["scale"] == "neuroticism reversed: high = emotionally stable"
    failed = Prediction("b.mp4", None, None, error="broken").to_row()
    assert tuple(failed) == PREDICTION_COLUMNS and failed["error"] == "broken" and failed["openness"] is None


def test_rows_make_a_pandas_data_frame() -> None:
    pandas = pytest.importorskip("pandas")
    predictions = (Prediction("a.mp4", 2.0, SCORES), Prediction("b.mp4", None, None, error="broken"))
    frame = pandas.DataFrame(prediction.to_row() for prediction in predictions)
    assert tuple(frame.columns) == PREDICTION_COLUMNS
    assert frame["interview"].dtype == np.float64 and np.isnan(frame["interview"][1])
    assert frame.loc[0, "openness"] == SCORES["openness"] and frame.loc[1, "error"] == "broken"


def test_every_data_source_has_its_texts() -> None:
    assert tuple(DATA_SOURCES) == get_args(DataSource)
