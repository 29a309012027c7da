"""Tests of the benchmarks outside the table, which people run by hand: they run, and their rows are as documented."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.growth import TREES, clip_rows, store_rows, trees_row
from crnet.demo import DemoResult
from crnet.utils.cores import available_cores
from grey_video import write_grey_video

pytestmark = pytest.mark.slow

Rows = dict[str, dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, Rows]]:
    """Run a benchmark; return exit code and rows by name. Skips the compiler, which takes half a minute."""
    monkeypatch.setattr(torch, "compile", lambda net: net)

    def run_benchmark(*words: str) -> tuple[int, Rows]:
        code = main([*words, "--json"])
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert code == int(any(row["holds"] is False for row in rows.values()))
        return code, rows

    return run_benchmark


def test_the_gpu_benchmark_runs_on_a_cpu(run: Callable[..., tuple[int, Rows]], tmp_path: Path) -> None:
    words = ("--device", "cpu", "--tiny", "--clips", "30", "--repeats", "1", "--minutes", "0.1")
    _, rows = run("gpu", "--out", str(tmp_path), *words)
    steps = ["gpu: a step on this device", "gpu: a step with its data", "gpu: compiled, a step with its data"]
    assert list(rows) == [*steps, "gpu: training speed"]
    assert all(row["value"] > 0 for row in rows.values())
    assert rows[steps[0]]["detail"]["teraflops_a_s"] > 0
    assert {epoch["stage"] for epoch in rows["gpu: training speed"]["detail"]["curve"]} == {1, 2}


def test_a_missing_gpu_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["gpu", "--out", "nowhere"]) == 2
    assert "no CUDA GPU is available" in capsys.readouterr().err


def test_growth_of_clips_data_sets_and_trees(tmp_path: Path) -> None:
    clip = write_grey_video(tmp_path / "a.mp4", seconds=0.5, fps=10)
    decoding, preparing = clip_rows("grey", clip, 1)
    assert 0 < decoding.value < preparing.value
    cores = available_cores()
    names = {f"preparing a data set: {n} clips, {w} workers" for n, w in ((2, 1), (2, cores), (4, cores))}
    assert {row.name for row in store_rows(clip, tmp_path, 2, 1)} == names
    assert trees_row(50).detail["nodes"] <= TREES * 99


def test_the_full_forest_equals_that_of_scikit_learn(run: Callable[..., tuple[int, Rows]]) -> None:
    _, rows = run("full-forest", "--trees", "5", "--clips", "300", "--features", "16")
    growth, size = rows["full forest: time to grow"]["detail"], rows["full forest: size"]
    assert (growth["rounds"], growth["trees"]) == (6, 5)
    assert rows["full forest: difference of predictions"]["value"] <= 1e-6
    assert 6 * 5 * 300 <= size["detail"]["nodes"] <= 6 * 5 * 599  # at most a leaf for each clip
    assert size["value"] < 1 / 4 and rows["full forest: one clip"]["value"] > 0
    assert rows["full forest: one clip"]["detail"]["nodes"] == size["detail"]["nodes"]


def test_the_cost_of_an_explanation(run: Callable[..., tuple[int, Rows]], demo: DemoResult) -> None:
    _, rows = run("explain-cost", str(demo.video), "--preset", "tiny")
    assert rows["explain: wall time"]["holds"]
    assert "heat maps" in rows["explain: CPU time"]["detail"]


def test_a_few_clips_are_fitted(run: Callable[..., tuple[int, Rows]], demo: DemoResult) -> None:
    words = ("--preset", "tiny", "--store", str(demo.out / "store"), "--streams", "scene", "--steps", "20")
    _, rows = run("overfit", *words)
    l1, cross_entropy = (rows[f"overfit: scene, training {name}"] for name in ("l1", "classification"))
    assert len(l1["detail"]["curve"]) == 20
    # G starts at the training means, so the first step of stage 2 is near the floor, and the last ones are below it.
    assert l1["value"] < float(l1["limit"].split()[0]) <= l1["detail"]["curve"][0]
    assert cross_entropy["value"] < cross_entropy["detail"]["curve"][0] < 8.32


def test_systems_on_weak_signal(run: Callable[..., tuple[int, Rows]], tmp_path: Path) -> None:
    _, rows = run("weak-signal", str(tmp_path), "--seeds", "1", "--clips", "100", "--system", "text alone")
    assert list(rows) == [
        "weak-signal: text alone, audio-text network minus ridge",
        "weak-signal: text alone, fusion minus best stream",
        "weak-signal: text alone, least system minus floor",
    ]
    for row in rows.values():
        (accuracies,) = row["detail"]["accuracies"]
        assert set(accuracies) >= {"audio-text", "fusion", "floor", "ridge"}
        assert accuracies.pop("R2 of ridge") < 0.5
        assert all(0.5 < value < 1 for value in accuracies.values())


def test_synthetic_faces_are_found(run: Callable[..., tuple[int, Rows]]) -> None:
    code, rows = run("face-finding", "--people", "3", "--frames", "2")
    assert code == 0 and rows["faces found: all"]["value"] == 1


def test_the_server_survives_a_small_load(run: Callable[..., tuple[int, Rows]], demo: DemoResult) -> None:
    words = ("--clients", "3", "--seconds", "1", "--broken-every", "3")
    _, rows = run("serve-load", str(demo.out), str(demo.video), *words)
    assert all(rows[f"serve load: {name}"]["holds"] for name in ("wrong answers", "tracebacks", "files left"))
    report = rows["serve load: wrong answers"]["detail"]
    assert report["scored"] >= 2  # of the first three clients, one sends a broken file
    assert report["broken"] >= 1
