"""Errors over the number of training clips."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workspace_fakes import FakeWorkspace, fake_workspace

from crnet.data.ceiling_file import CEILING_FORMAT, CEILING_NAME
from crnet.experiments.figures.learning_curve import LearningCurve, clip_counts, decrease_per_doubling, measure_bounds
from crnet.experiments.workspace import Workspace
from crnet.report import figure_style
from crnet.types import STREAMS, TARGETS
from crnet.utils.files import write_json
from synthetic import write_store


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_style, "DOTS_PER_INCH", 60)


@pytest.fixture
def fake(workspace: Workspace) -> FakeWorkspace:
    return fake_workspace(workspace)


@pytest.mark.parametrize(
    ("clips", "expected"), [(6000, (750, 1500, 3000, 6000)), (12, (2, 3, 6, 12)), (3, (1, 2, 3)), (1, (1,))]
)
def test_clip_counts(clips: int, expected: tuple[int, ...]) -> None:
    assert clip_counts(clips) == expected


def test_subsets_are_nested_and_all_clips_give_the_standard_network(fake: FakeWorkspace) -> None:
    specs = [spec for spec in LearningCurve().networks(fake) if spec.stream == "scene"]
    clips = [{row.clip_id for row in spec.training_rows(fake.manifest)} for spec in specs]
    assert [len(part) for part in clips] == [2, 3, 6, 12]
    assert clips[0] < clips[1] < clips[2] < clips[3]
    assert specs[-1] == fake.standard_net("scene")


def test_decrease_per_doubling() -> None:
    # .20, .17, .14 at 10, 20, 40: .03 per doubling
    curve = {10: {"test": [0.19, 0.21]}, 20: {"test": [0.17, 0.17]}, 40: {"test": [0.14, 0.14]}}
    assert decrease_per_doubling(curve) == pytest.approx(0.03)
    assert decrease_per_doubling({10: {"test": [0.2]}}) is None


def test_training_errors_are_those_of_the_subset(fake: FakeWorkspace, tmp_path: Path) -> None:
    section = LearningCurve().run(fake, tmp_path)
    with section.files[1].open() as lines:
        rows = list(csv.DictReader(lines))
    stream_rows = [row for row in rows if row["system"] in STREAMS]
    # Every score of the fake networks is off by 0.1; comparison with other clips would give other errors.
    assert {row["mean_absolute_error"] for row in stream_rows} == {"0.100000"}
    assert len(stream_rows) == 3 * 4 * 3 * 2  # streams, sizes, splits, seeds
    assert {row["split"] for row in rows if row["system"] == "fusion"} == {"val", "test"}
    expected = np.abs(np.median(fake.truth("train"), axis=0) - fake.truth("test"))[:, :5].mean()
    assert section.data["floor"] == pytest.approx(expected)
    assert section.data["ceiling"] == {}
    assert fake.conditions in section.markdown and section.data["conditions"] == fake.conditions
    json.dumps(section.data, allow_nan=False)


def test_failed_trainings_and_single_streams(fake: FakeWorkspace, tmp_path: Path) -> None:
    section = LearningCurve().run(replace(fake, failed=("face",)), tmp_path)
    assert section.data["errors"]["face"] == section.data["errors"]["fusion"] == {}
    alone = LearningCurve().run(replace(fake, base=replace(fake.base, streams=("scene",))), tmp_path)
    assert list(alone.data["errors"]) == ["scene"]


def test_synthetic_clips_have_a_ceiling(workspace: Workspace, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=20, frames_per_segment=1, pixels=24, duration_s=0.25)
    best = {"all_cues": {target: {"accuracy": 0.96} for target in (*TARGETS, "average")}}
    splits = {"test": {"floor": {}, "streams": {"scene": best, "all": best}}}
    write_json(store / CEILING_NAME, {"format": CEILING_FORMAT, "splits": splits})
    fake = fake_workspace(replace(workspace, store=store))
    assert measure_bounds(fake).ceiling == {"scene": pytest.approx(0.04), "fusion": pytest.approx(0.04)}
    section = LearningCurve().run(fake, tmp_path)
    assert "| ceiling, scene | – | – | – | .0400 |" in section.markdown.replace("*", "")
