"""Turning points of validation, and confusion of the classes."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workspace_fakes import FakeWorkspace, fake_workspace, log_rows, write_log

from crnet.experiments.figures.diagnostics import Diagnostics, Floors, TurningPoint, confusion
from crnet.experiments.workspace import Workspace
from crnet.models.classes import class_indices
from crnet.report import figure_style

WARNING = "training 1 - MAE 0.9500 is far above validation 0.9000"


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_style, "DOTS_PER_INCH", 60)


def test_the_turning_point_is_read_from_the_log() -> None:
    point = TurningPoint.from_log(
        log_rows([0.90, 0.92, 0.91, 0.90], [0.90, 0.93, 0.94, 0.95], {3: "earlier", 4: WARNING})
    )
    assert point == TurningPoint(2, 4, (0.92, 0.90), (0.93, 0.95), (3, 4), WARNING)
    first = log_rows([0.9], [0.9])[:1]
    assert TurningPoint.from_log(first) is None  # classification only
    assert TurningPoint.from_log([row | {"val": None} for row in log_rows([0.9], [0.9])]) is None
    assert TurningPoint.from_log([]) is None


def test_confusion_matches_hand_count() -> None:
    true, predicted = np.array([[0, 1, 2, 2, 0, 0]]), np.array([[0, 2, 2, 1, 1, 0]])
    assert confusion(true, predicted, 3).tolist() == [[2, 1, 0], [0, 0, 1], [0, 1, 1]]


@pytest.fixture
def fake(workspace: Workspace) -> FakeWorkspace:
    fake = fake_workspace(workspace)
    for stream in fake.base.streams:
        spec = fake.standard_net(stream)
        write_log(fake.folder(spec, 0), log_rows([0.90, 0.92, 0.91], [0.90, 0.93, 0.95], {3: WARNING}))
        write_log(fake.folder(spec, 1), log_rows([0.90, 0.91, 0.92], [0.90, 0.92, 0.93]))
    return fake


def test_the_section_describes_the_turning_points(fake: FakeWorkspace, tmp_path: Path) -> None:
    section = Diagnostics().run(fake, tmp_path)
    text = section.markdown
    assert "Seed 0: validation peaked and fell after epoch 2 of 3, from .9200 to .9100 at the end" in text
    assert f'the log warns of overfitting in 1 epoch, last in epoch 3: "{WARNING}"' in text
    assert "Seed 1: validation was best in the last epoch (.9200), with no turning point yet" in text
    assert "the log never warns of overfitting" in text
    assert section.data["face"]["best_epoch"] == {"0": 2, "1": 3}
    counts = np.array(section.data["scene"]["confusion"])
    assert counts.sum() == 2 * 4 * 6  # seeds, validation clips, targets
    true = np.bincount(class_indices(fake.truth("val")).ravel(), minlength=4)
    assert counts.sum(axis=1).tolist() == (2 * true).tolist()
    json.dumps(section.data, allow_nan=False)
    with section.files[1].open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 3 * 2 * 4  # streams, seeds, epochs of both stages
    assert rows[2]["val_accuracy"] == "0.920000"
    assert (rows[2]["selected"], rows[3]["overfitting"]) == ("1", WARNING)
    assert rows[3]["train_spread"] == "0.750000"


def test_floors_match_hand_computation(fake: FakeWorkspace) -> None:
    floors = Floors.measure(fake)
    train, val = class_indices(fake.truth("train")), class_indices(fake.truth("val"))
    correct = [np.mean(val[:, i] == np.bincount(train[:, i], minlength=4).argmax()) for i in range(6)]
    assert floors.class_accuracy == pytest.approx(np.mean(correct))
    errors = np.abs(np.median(fake.truth("train"), axis=0) - fake.truth("val"))
    assert floors.accuracy == pytest.approx(1 - errors[:, :5].mean())


def test_failed_networks_are_left_out(fake: FakeWorkspace, tmp_path: Path) -> None:
    section = Diagnostics().run(replace(fake, failed=("face",)), tmp_path)
    assert "training failed: face" in section.markdown
    assert "**Face.**" not in section.markdown
    nothing = Diagnostics().run(replace(fake, failed=fake.base.streams), tmp_path)
    assert (nothing.files, "failed for every network" in nothing.markdown) == ((), True)
