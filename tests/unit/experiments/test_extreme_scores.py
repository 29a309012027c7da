"""Spread and errors at both ends, by hand."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from workspace_fakes import fake_lab

from crnet.experiments.paper.extremes import errors_and_spread, extremes, outer
from crnet.experiments.rendering import write_table
from crnet.experiments.workspace import Lab
from crnet.report import style


def test_outer_deciles_by_hand() -> None:
    truth = np.tile(np.arange(11) / 10, (6, 1)).T  # 0, .1 ... 1: deciles at .1 and .9
    low, high = outer(truth)
    assert np.flatnonzero(low[:, 0]).tolist() == [0, 1]
    assert np.flatnonzero(high[:, 5]).tolist() == [9, 10]


def test_errors_by_hand() -> None:
    truth = np.tile(np.arange(11) / 10, (6, 1)).T
    predictions = 0.5 + (truth - 0.5) / 2  # half the way to the middle: errors of 0 to .25, half the spread
    found = errors_and_spread(predictions, truth)
    assert found["spread"] == pytest.approx(0.5)
    assert found["low error"] == pytest.approx((0.25 + 0.2) / 2)
    assert found["high error"] == pytest.approx((0.25 + 0.2) / 2)
    assert found["outer error"] == pytest.approx(0.225)
    assert found["inner error"] == pytest.approx((0.15 + 0.1 + 0.05 + 0 + 0.05 + 0.1 + 0.15) / 7)
    assert found["worst error"] == pytest.approx(0.25)


def test_the_floor_is_the_last_line(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_table, "png", lambda figure: b"picture")
    section = extremes.run(replace(fake_lab(lab), seeds=(0,)), tmp_path)
    medians, truth = np.median(lab.truth("train"), axis=0), lab.truth("test")
    floor = section.data["floor"]
    assert floor["spread"] == 0
    # Of four clips the lowest and the highest of each trait are its outer tenths.
    ends = np.abs(np.stack([truth.min(axis=0), truth.max(axis=0)]) - medians)[:, :5]
    assert (floor["low error"], floor["high error"]) == pytest.approx(tuple(ends.mean(axis=1)))
    assert floor["worst error"] == pytest.approx(ends.max(axis=0).mean())
    *_, last = (line for line in (tmp_path / "extremes.md").read_text(encoding="utf-8").splitlines() if "|" in line)
    assert last.startswith("| floor | one number for everyone | .00 |")
    with (tmp_path / "extremes.csv").open(newline="", encoding="utf-8") as file:
        lines = {line["figure"]: line for line in csv.DictReader(file) if line["group"] == "floor"}
    assert float(lines["worst error"]["mean"]) == pytest.approx(floor["worst error"])
    assert (lines["worst error"]["sd"], len(lines)) == ("", 6)
    assert {path.name for path in section.files} >= {f"extremes-claims.{kind}" for kind in ("md", "tex", "csv", "png")}


@pytest.mark.parametrize(("seeds", "words"), [((0,), "one seed"), ((0, 1), "over 2 seeds")])
def test_the_table_says_what_it_was_made_with(
    seeds: tuple[int, ...], words: str, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "DOTS_PER_INCH", 60)
    fake = replace(fake_lab(lab), seeds=seeds)
    extremes.run(fake, tmp_path)
    page = (tmp_path / "extremes.md").read_text(encoding="utf-8")
    assert words in page and fake.conditions in page
