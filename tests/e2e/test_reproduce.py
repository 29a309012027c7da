"""The example of docs/reproduce.md, killed while it trains: its processes end with it, and its results are the same."""

from __future__ import annotations

import json
import os
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from synthetic import write_store

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reproduce.md"
PATIENCE_S = 240.0  # only a stuck run waits so long


def example(store: Path, out: Path) -> str:
    """The code of the page, with its two folders put in."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    assert len([line for line in found[1].splitlines() if line.strip()]) <= 21, "an ablation takes about 20 lines"
    return found[1].replace('"STORE"', repr(str(store))).replace('"RESULTS"', repr(str(out)))


def children_of(process: int) -> set[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    return {int(number) for number in listed.read_text().split()} if listed.exists() else set()


def runs(process: int) -> bool:
    """False for one that has ended, whether or not its parent has taken note."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until, f"waited in vain for {what}"
        time.sleep(0.01)


def epochs_logged(out: Path) -> int:
    return sum(len(path.read_bytes().splitlines()) for path in out.glob("nets/*/face/log.jsonl"))


def numbers_of(out: Path) -> Any:
    return json.loads((out / "results.json").read_text(encoding="utf-8"))["sections"]["widths"]["data"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks processes up in Linux's /proc")
def test_an_ablation_of_ones_own_survives_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.experiments.predictors.SINGLE_STREAM_TREES", 5)  # a hundred take longer than the rest
    store = write_store(tmp_path / "store", clips=30, pixels=24, duration_s=0.25)
    out, script = tmp_path / "results", tmp_path / "ablation.py"
    script.write_text(example(store, out), encoding="utf-8")

    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: epochs_logged(out) >= 3 or process.poll() is not None, "training to begin")
        workers = children_of(process.pid)
    finally:
        process.kill()
    _, said = process.communicate()
    wait_for(lambda: not any(map(runs, workers)), "the workers to end")
    assert 3 <= epochs_logged(out) < 4 * 13, said
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
    assert numbers_of(whole) == numbers_of(out)
    names = {path.name for path in whole.glob("nets/*")}
    assert len(names) == 4
    assert names == {path.name for path in out.glob("nets/*")}
    for name in names:
        bits = [(results / "nets" / name / "face" / "best.safetensors").read_bytes() for results in (whole, out)]
        assert bits[0] == bits[1]
