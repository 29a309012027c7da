"""Tests of the benchmarks' tools: goals, alternation, peak memory, random forests of a given size."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.forest import clip_row, comparison_rows, grow_both
from benchmarks.inputs import ForestSize
from benchmarks.measurements import (
    Measurement,
    Usage,
    alternate,
    busy_warning,
    cpu_ratio,
    instruction_sets,
    machine_info,
    medians,
    timed,
    wall_ratio,
)
from benchmarks.untrained import random_forest
from crnet.fusion.forest import Forest
from crnet.utils.process_memory import reset_peak
from grey_video import write_grey_video


@pytest.mark.parametrize(
    ("value", "at_least", "holds"),
    [(2.1, False, True), (2.2, False, True), (2.3, False, False), (2.3, True, True), (2.1, True, False)],
)
def test_a_goal_has_a_direction(value: float, at_least: bool, holds: bool) -> None:
    row = Measurement("a", value, "x", 2.2, "something", at_least=at_least, detail={"work_cpu_s": 1.5})
    assert row.holds is holds
    document = row.to_dict()
    assert list(document) == ["name", "value", "unit", "goal", "holds", "limit", "detail"]
    assert document["goal"] == (">= 2.2 x" if at_least else "<= 2.2 x")
    assert json.loads(json.dumps(document)) == document


def test_a_row_without_a_goal_is_not_judged() -> None:
    row = Measurement("a", 2.0, "s", None, "nothing")
    assert row.holds is None
    assert (row.to_dict()["goal"], row.to_dict()["holds"]) == (None, None)


def test_works_alternate() -> None:
    done: list[str] = []
    usages = alternate(2, lambda: done.append("a"), lambda: done.append("b"))
    assert done == ["a", "b"] * 3  # the first round warms up
    assert [len(rounds) for rounds in usages] == [2, 2]


def test_sleeping_takes_time_but_no_cpu() -> None:
    usage = timed(lambda: time.sleep(0.05))
    assert usage.wall_s >= 0.05 and usage.cpu_s < 0.04


def test_the_cpu_time_of_children_counts() -> None:
    usage = timed(lambda: subprocess.run([sys.executable, "-c", "sum(range(4_000_000))"], check=True))
    assert usage.cpu_s > 0.02


@pytest.mark.skipif(not reset_peak(), reason="this system cannot report the peak memory of a part of a run")
def test_peak_memory_is_that_of_the_work_alone() -> None:
    large = timed(lambda: np.ones(16_000_000))  # 122 MiB
    small = timed(lambda: np.ones(1_000))
    assert large.peak_mib is not None and small.peak_mib is not None
    assert large.peak_mib - small.peak_mib > 100
    assert medians("work", [large])["work_peak_mib"] == round(large.peak_mib)


def test_ratios_are_medians_of_rounds() -> None:
    work = [Usage(2, 1), Usage(6, 30), Usage(4, 3)]
    limit = [Usage(1, 1), Usage(2, 10), Usage(4, 2)]
    assert cpu_ratio(work, limit) == 2  # of 2, 3, 1
    assert wall_ratio(work, limit) == 1.5  # of 1, 3, 1.5
    assert medians("work", work) == {"work_cpu_s": 4, "work_wall_s": 3}


def test_a_busy_machine_gives_a_warning() -> None:
    assert busy_warning(0.5, 2) is None
    assert "2 cores" in (busy_warning(1.9, 2) or "")
    assert machine_info()["cores"] >= 1 and "torch" in machine_info()["versions"]


def test_instruction_sets_are_named_with_their_limit() -> None:
    flags = ["fpu", "avx2", "avx512f", "avx512_bf16"]
    assert instruction_sets(flags, None) == "AVX2, AVX-512, AVX-512 BF16"
    assert instruction_sets(flags, "AVX2") == "AVX2, AVX-512, AVX-512 BF16; networks use AVX2 at most"
    assert instruction_sets([], None) == ""


@settings(max_examples=20, deadline=None)
@given(clips=st.integers(2, 60), trees=st.integers(1, 4), features=st.integers(1, 9))
def test_random_forests_are_valid_and_of_the_right_size(clips: int, trees: int, features: int) -> None:
    forest = random_forest(trees, clips, features)
    assert len(forest.feature) == 6 * trees * (2 * clips - 1)  # a leaf for each clip
    assert (forest.feature < 0).sum() == 6 * trees * clips
    checked = Forest.from_tensors(forest.to_tensors(), targets=6, features=features)
    assert np.isfinite(checked.predict(np.zeros((2, 6, features), np.float32))).all()


def test_the_rows_of_the_forest() -> None:
    size = ForestSize(trees=3, clips=120, features=8)
    rows = {row.name: row for row in comparison_rows("forest", [grow_both(size)], size)}
    assert set(rows) == {"forest: time to grow", "forest: size", "forest: difference of predictions"}
    assert rows["forest: difference of predictions"].holds and rows["forest: size"].value < 0.25
    assert clip_row("forest", random_forest(size.trees, size.clips, size.features), 3).value > 0


def test_peak_memory_is_measured_in_a_separate_process(tmp_path: Path) -> None:
    clip = write_grey_video(tmp_path / "grey.mp4", seconds=0.5, fps=10)
    command = [sys.executable, "-m", "benchmarks.peak_memory", str(clip)]
    peak = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 50 < peak < 2_000
