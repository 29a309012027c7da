"""The scripts of `benchmarks/` that are run by hand, and seldom: they still run, and say what the docs quote."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from crnet.utils.executors import available_cores
from grey_video import write_grey_video

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Calls a script as the command line does, without the compiler, which takes half a minute."""
    monkeypatch.syspath_prepend(SCRIPTS)
    monkeypatch.setattr(torch, "compile", lambda net: net)

    def main(script: str, *words: str) -> int:
        monkeypatch.setattr(sys, "argv", [script, *words])
        return int(importlib.import_module(script).main())

    return main


def test_the_rows_of_a_gpu_can_be_taken_on_a_cpu(run: Callable[..., int], tmp_path: Path) -> None:
    words = ("--device", "cpu", "--tiny", "--clips", "30", "--repeats", "1", "--minutes", "0.1")
    code = run("gpu", "--out", str(tmp_path), *words)
    results: dict[str, Any] = json.loads((tmp_path / "results.json").read_text())
    names = ["train: a step on this device", "train: a step with its data", "train: compiled, a step with its data"]
    assert [row["name"] for row in results["rows"]] == names
    assert all(row["value"] > 0 for row in results["rows"])
    assert results["rows"][0]["detail"]["teraflops_a_s"] > 0
    assert {epoch["stage"] for epoch in results["curve"]} == {1, 2}
    assert code == (0 if all(row["holds"] for row in results["rows"]) else 1)


def test_a_gpu_that_is_not_there_is_named(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        run("gpu", "--out", "nowhere")
    assert ended.value.code == 2 and "no CUDA GPU here" in capsys.readouterr().err


def test_growth_of_a_clip_and_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS)
    growth = importlib.import_module("growth")
    clip = write_grey_video(tmp_path / "a.mp4", seconds=0.5, fps=10)
    of_one = growth.of_a_clip(clip, 1)
    assert 0 < of_one["decode_cpu_s"] < of_one["prepare_cpu_s"]
    cores = available_cores()
    assert set(growth.of_a_data_set(clip, tmp_path, 2, 1)) == {f"{n} clips, {w} workers, s" for n, w in
                                                               ((2, 1), (2, cores), (4, cores))}  # fmt: skip
    assert growth.of_trees(50)["nodes"] <= growth.TREES * 99


def test_the_whole_forest_is_that_of_scikit_learn(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("full_forest", "--trees", "5", "--clips", "300", "--features", "16") in (0, 1)  # 1: a goal is missed
    found = json.loads(capsys.readouterr().out)
    assert found["trees"] == [6, 5] and found["predictions_apart"] <= 1e-6
    assert 6 * 5 * 300 <= found["nodes"] <= 6 * 5 * 599  # at most a leaf for each clip
    assert found["size_ratio"] < 1 / 4 and found["one_clip_ms"] > 0
    assert len(found["ours_wall_s"]) == len(found["sklearn_wall_s"]) == 6
