"""The scripts of `benchmarks/` that are run by hand, and seldom: they still run, and say what the docs quote."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from crnet.data.workers import available_cores
from grey_video import write_grey_video

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Without the compiler, which takes half a minute; a script tells a missed goal by its exit code."""
    environment = {**os.environ, "TORCHDYNAMO_DISABLE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, str(SCRIPTS / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 1), done.stderr
    return done


def test_the_rows_of_a_gpu_can_be_taken_on_a_cpu(tmp_path: Path) -> None:
    words = ("--device", "cpu", "--tiny", "--clips", "30", "--repeats", "1", "--minutes", "0.1")
    done = run("gpu.py", "--out", str(tmp_path), *words)
    results: dict[str, Any] = json.loads((tmp_path / "results.json").read_text())
    names = ["train: a step on this device", "train: a step with its data", "train: compiled, a step with its data"]
    assert [row["name"] for row in results["rows"]] == names
    assert all(row["value"] > 0 for row in results["rows"])
    assert results["rows"][0]["detail"]["teraflops_a_s"] > 0
    assert {epoch["stage"] for epoch in results["curve"]} == {1, 2}
    assert done.returncode == (0 if all(row["holds"] for row in results["rows"]) else 1)


def test_a_gpu_that_is_not_there_is_named() -> None:
    command = [sys.executable, str(SCRIPTS / "gpu.py"), "--out", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 2 and "no CUDA GPU here" in done.stderr


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


def test_the_whole_forest_is_that_of_scikit_learn() -> None:
    found = json.loads(run("full_forest.py", "--trees", "5", "--clips", "300", "--features", "16").stdout)
    assert found["trees"] == [6, 5] and found["predictions_apart"] <= 1e-6
    assert 6 * 5 * 300 <= found["nodes"] <= 6 * 5 * 599  # at most a leaf for each clip
    assert found["size_ratio"] < 1 / 4 and found["one_clip_ms"] > 0
    assert len(found["ours_wall_s"]) == len(found["sklearn_wall_s"]) == 6
