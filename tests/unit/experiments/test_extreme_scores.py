"""Spread and errors at the ends of the scale."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workspace_fakes import fake_workspace

from crnet.experiments.paper.extremes import errors_and_spread, extremes, tail_masks
from crnet.experiments.workspace import Workspace


def test_outer_tenths_match_hand_computation() -> None:
    truth = np.tile(np.arange(11) / 10, (6, 1)).T  # 0, .1 ... 1: outer tenths end at .1 and .9
    low, high = tail_masks(truth)
    assert np.flatnonzero(low[:, 0]).tolist() == [0, 1]
    assert np.flatnonzero(high[:, 5]).tolist() == [9, 10]


def test_errors_match_hand_computation() -> None:
    truth = np.tile(np.arange(11) / 10, (6, 1)).T
    predictions = 0.5 + (truth - 0.5) / 2  # halfway to the middle: errors of 0 to .25, half the spread
    numbers = errors_and_spread(predictions, truth)
    assert numbers["spread"] == pytest.approx(0.5)
    assert numbers["low error"] == pytest.approx((0.25 + 0.2) / 2)
    assert numbers["high error"] == pytest.approx((0.25 + 0.2) / 2)
    assert numbers["outer error"] == pytest.approx(0.225)
    assert numbers["inner error"] == pytest.approx((0.15 + 0.1 + 0.05 + 0 + 0.05 + 0.1 + 0.15) / 7)
    assert numbers["worst error"] == pytest.approx(0.25)


def test_the_floor_is_the_last_row(workspace: Workspace, tmp_path: Path) -> None:
    section = extremes.run(replace(fake_workspace(workspace), seeds=(0,)), tmp_path)
    medians, truth = np.median(workspace.truth("train"), axis=0), workspace.truth("test")
    floor = section.data["floor"]
    assert floor["spread"] == 0
    # With four clips, the lowest and the highest score of each trait are its outer tenths.
    ends = np.abs(np.stack([truth.min(axis=0), truth.max(axis=0)]) - medians)[:, :5]
    assert (floor["low error"], floor["high error"]) == pytest.approx(tuple(ends.mean(axis=1)))
    assert floor["worst error"] == pytest.approx(ends.max(axis=0).mean())
    *_, last = (line for line in (tmp_path / "extremes.md").read_text(encoding="utf-8").splitlines() if "|" in line)
    assert last.startswith("| floor | training median for everyone | .00 |")
    with (tmp_path / "extremes.csv").open(newline="", encoding="utf-8") as file:
        lines = {line["metric"]: line for line in csv.DictReader(file) if line["group"] == "floor"}
    assert float(lines["worst error"]["mean"]) == pytest.approx(floor["worst error"])
    assert (lines["worst error"]["sd"], len(lines)) == ("", 6)
    assert {path.name for path in section.files} >= {f"extremes-claims.{kind}" for kind in ("md", "tex", "csv")}


@pytest.mark.parametrize(("seeds", "words"), [((0,), "one seed"), ((0, 1), "over 2 seeds")])
def test_the_table_states_seeds_and_conditions(
    seeds: tuple[int, ...], words: str, workspace: Workspace, tmp_path: Path
) -> None:
    fake = replace(fake_workspace(workspace), seeds=seeds)
    extremes.run(fake, tmp_path)
    page = (tmp_path / "extremes.md").read_text(encoding="utf-8")
    assert words in page and fake.conditions in page
