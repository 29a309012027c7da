"""Errors over the number of training clips."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workspace_fakes import FakeLab, fake_lab

from crnet.data.ceiling import CEILING_FORMAT, CEILING_NAME
from crnet.experiments.figures.learning_curve import LearningCurve, bounds_of, fall_a_doubling, sizes
from crnet.experiments.workspace import Lab
from crnet.report import style
from crnet.types import STREAMS, TARGETS
from crnet.utils.files import write_json
from synthetic import write_store


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(style, "DOTS_PER_INCH", 60)


@pytest.fixture
def fake(lab: Lab) -> FakeLab:
    return fake_lab(lab)


@pytest.mark.parametrize(
    ("clips", "expected"), [(6000, (750, 1500, 3000, 6000)), (12, (2, 3, 6, 12)), (3, (1, 2, 3)), (1, (1,))]
)
def test_sizes(clips: int, expected: tuple[int, ...]) -> None:
    assert sizes(clips) == expected


def test_parts_are_nested_and_the_whole_is_the_standard_network(fake: FakeLab) -> None:
    specs = [spec for spec in LearningCurve().nets(fake) if spec.stream == "scene"]
    clips = [{row.clip_id for row in spec.training_rows(fake.manifest)} for spec in specs]
    assert [len(part) for part in clips] == [2, 3, 6, 12]
    assert clips[0] < clips[1] < clips[2] < clips[3]
    assert specs[-1] == fake.standard("scene")


def test_how_fast_the_error_falls() -> None:
    # .20, .17, .14 at 10, 20, 40: .03 each doubling
    curve = {10: {"test": [0.19, 0.21]}, 20: {"test": [0.17, 0.17]}, 40: {"test": [0.14, 0.14]}}
    assert fall_a_doubling(curve) == pytest.approx(0.03)
    assert fall_a_doubling({10: {"test": [0.2]}}) is None


def test_errors_are_those_of_the_clips_trained_on(fake: FakeLab, tmp_path: Path) -> None:
    section = LearningCurve().run(fake, tmp_path)
    with section.files[1].open() as lines:
        rows = list(csv.DictReader(lines))
    of_streams = [row for row in rows if row["system"] in STREAMS]
    # Every score of the fake networks is 0.1 off; another truth than that of their own clips would show.
    assert {row["mean_absolute_error"] for row in of_streams} == {"0.100000"}
    assert len(of_streams) == 3 * 4 * 3 * 2  # streams, sizes, splits, seeds
    assert {row["split"] for row in rows if row["system"] == "fusion"} == {"val", "test"}
    expected = np.abs(np.median(fake.truth("train"), axis=0) - fake.truth("test"))[:, :5].mean()
    assert section.data["floor"] == pytest.approx(expected)
    assert section.data["ceiling"] == {}
    assert fake.conditions in section.markdown and section.data["conditions"] == fake.conditions
    json.dumps(section.data, allow_nan=False)


def test_a_failed_training_and_one_stream_alone(fake: FakeLab, tmp_path: Path) -> None:
    section = LearningCurve().run(replace(fake, failed=("face",)), tmp_path)
    assert section.data["errors"]["face"] == section.data["errors"]["fusion"] == {}
    alone = LearningCurve().run(replace(fake, base=replace(fake.base, streams=("scene",))), tmp_path)
    assert list(alone.data["errors"]) == ["scene"]


def test_simulated_clips_have_a_ceiling(lab: Lab, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=20, frames_per_segment=1, pixels=24, duration_s=0.25)
    best = {"all_cues": {target: {"accuracy": 0.96} for target in (*TARGETS, "average")}}
    splits = {"test": {"floor": {}, "streams": {"scene": best, "all": best}}}
    write_json(store / CEILING_NAME, {"format": CEILING_FORMAT, "splits": splits})
    fake = fake_lab(replace(lab, store=store))
    assert bounds_of(fake).ceiling == {"scene": pytest.approx(0.04), "fusion": pytest.approx(0.04)}
    section = LearningCurve().run(fake, tmp_path)
    assert "| ceiling, scene | – | – | – | .0400 |" in section.markdown.replace("*", "")
