"""The example of docs/reproduce.md, killed during training: its processes end with it, and a rerun completes it."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from process_state import becomes_true, is_running
from synthetic import write_store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reproduce.md"
TIMEOUT_S = 240.0  # only a stuck run takes so long


def example(store: Path, out: Path) -> str:
    """Return the code of the page with the two folders filled in."""
    match = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    assert len([line for line in match[1].splitlines() if line.strip()]) <= 21, "an ablation takes about 20 lines"
    return match[1].replace('"STORE"', repr(str(store))).replace('"RESULTS"', repr(str(out)))


def children_of(process: int) -> set[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return {int(number) for number in path.read_text().split()} if path.exists() else set()


def epochs_logged(out: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in out.glob("nets/*/face/log.jsonl"))


def table_data(out: Path) -> Any:
    return json.loads((out / "results.json").read_text(encoding="utf-8"))["sections"]["widths"]["data"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds processes in Linux's /proc")
def test_a_custom_ablation_survives_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.experiments.score_methods.SINGLE_STREAM_TREES", 5)  # 100 would take longer than the rest
    store = write_store(tmp_path / "store", clips=30, pixels=24, duration_s=0.25)
    out, script = tmp_path / "results", tmp_path / "ablation.py"
    script.write_text(example(store, out), encoding="utf-8")

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert becomes_true(lambda: epochs_logged(out) >= 3 or process.poll() is not None, TIMEOUT_S)
        workers = children_of(process.pid)
    finally:
        process.kill()
    _, stderr = process.communicate()
    assert becomes_true(lambda: not any(map(is_running, workers)), TIMEOUT_S)
    assert 3 <= epochs_logged(out) < 4 * 13, stderr
    assert not (out / "README.md").exists()

    runpy.run_path(str(script), run_name="__main__")
    written = {path.name for path in (out / "widths").iterdir()}
    assert written >= {f"widths.{kind}" for kind in ("md", "tex", "csv")}
    assert "How wide must a network be?" in (out / "README.md").read_text(encoding="utf-8")

    # The same without a kill and without worker processes.
    whole = tmp_path / "whole"
    code = example(store, whole).replace("seeds=(0, 1)", "seeds=(0, 1), workers=1")
    script.write_text(code, encoding="utf-8")
    runpy.run_path(str(script), run_name="__main__")
    assert table_data(whole) == table_data(out)
    names = {path.name for path in whole.glob("nets/*")}
    assert len(names) == 4
    assert names == {path.name for path in out.glob("nets/*")}
    for name in names:
        weights = [(results / "nets" / name / "face" / "best.safetensors").read_bytes() for results in (whole, out)]
        assert weights[0] == weights[1]
