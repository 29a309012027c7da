"""Tests of examples/: each script runs as it is, on small data. `make examples` runs them all; one runs always."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
slow = pytest.mark.skipif(not os.environ.get("CRNET_TEST_EXAMPLES"), reason="make examples runs it; it trains networks")


def run(script: str, *arguments: object, cwd: Path) -> str:
    command = [sys.executable, EXAMPLES / script, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "src"), "COLUMNS": "160"}
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_own_model_beats_the_floor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import own_model

    table = own_model.main(epochs=15)
    assert {
        target: values["ci95"]["error_removed"][0] > 0 for target, values in table.items() if target != "average"
    } == {
        "warmth": True,
        "competence": True,
    }
    assert "of the floor's error" in capsys.readouterr().out


@slow
def test_audit_finds_the_planted_bias(tmp_path: Path) -> None:
    out = run("audit_predictions.py", tmp_path, cwd=tmp_path)
    assert "planted: agreeableness, bias, -0.06: found" in out
    assert (tmp_path / "audit" / "report.html").is_file()


@slow
def test_a_folder_with_a_csv_becomes_a_system_that_scores_a_folder(tmp_path: Path) -> None:
    out = run("train_from_csv.py", tmp_path / "work", "--clips", 45, "--epochs", 1, cwd=tmp_path)
    assert "prepared 45 clips, 0 failed" in out
    assert (tmp_path / "work" / "run" / "report.html").is_file()
    videos = tmp_path / "videos"
    videos.mkdir()
    for video in sorted((tmp_path / "work" / "my-videos").glob("*.mp4"))[:2]:
        video.rename(videos / video.name)
    (videos / "broken.mp4").write_bytes(b"not a video")
    out = run("score_folder.py", tmp_path / "work" / "run", videos, "--out", tmp_path / "scores.parquet", cwd=tmp_path)
    assert out.count(".mp4") >= 3
    assert "not scored: " in out
    assert (tmp_path / "scores.parquet").is_file()


@slow
def test_the_ablation_writes_a_table_with_a_claim(tmp_path: Path) -> None:
    out = run("ablation.py", tmp_path / "work", "--clips", 20, "--epochs", 1, cwd=tmp_path)
    assert "How wide must a network be?" in out
    assert "wide beats narrow" in out


def test_every_example_is_tested_and_documented() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    tests = Path(__file__).read_text(encoding="utf-8")
    elsewhere = {"score_video.py"}  # tests/e2e/test_serve_http.py
    assert {script for script in scripts - elsewhere if script.removesuffix(".py") not in tests} == set()
    page = (REPOSITORY / "docs" / "guides" / "examples.md").read_text(encoding="utf-8")
    assert {script for script in scripts if script not in page} == set()
