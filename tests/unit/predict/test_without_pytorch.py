"""Prediction runs where PyTorch and scikit-learn are not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from crnet.data.store import write_clip
from crnet.predict import Predictor
from crnet.types import Clip
from grey_video import write_grey_video
from hidden_packages import hiding

SCORE = """
import json, sys, crnet
from crnet.data.store import read_clip
print(json.dumps(crnet.load(sys.argv[1]).predict_clip(read_clip(sys.argv[2])).to_dict()))
"""
MODULES = """
import sys, crnet
crnet.load(sys.argv[1]).bundle.networks["scene"]
"""
EXPLAIN_AND_SERVE = """
import json, os, sys
from pathlib import Path
from crnet.cli.main import main
bundle, video, out, job = map(os.path.abspath, sys.argv[1:])
assert main(["explain", bundle, video, "--out", out, "--allow-no-face", "--transcript", "hello there", "--json"]) == 0
from crnet.serve import worker
from crnet.serve.limits import Limits
from crnet.serve.progress import SCORES_READY
os.mkdir(job)
os.rename(video, f"{job}/{worker.VIDEO_FILE}")
worker.ScoringJob("talk.mp4", "hello there", True, Limits(), 1, allow_no_face=True).write(Path(job))
messages = []
worker.score(worker.load(bundle), Path(job), worker.ScoringJob.read(Path(job)), messages.append)
assert SCORES_READY in messages
"""


def run_hidden(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", hiding("torch", "sklearn", "scipy") + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_stored_clip_is_scored(bundle: Bundle, clip_maker: object, tmp_path: Path) -> None:
    clip: Clip = clip_maker("a.mp4")  # type: ignore[operator]
    save_bundle(bundle, tmp_path / "bundle")
    write_clip(tmp_path / "a.safetensors", clip)
    done = run_hidden(SCORE, tmp_path / "bundle", tmp_path / "a.safetensors")
    assert done.returncode == 0, done.stderr
    expected = Predictor(bundle).predict_clip(clip).scores
    assert expected is not None
    assert json.loads(done.stdout)["scores"] == pytest.approx(dict(expected), abs=1e-6)


def test_the_command_scores_a_video(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    video = write_grey_video(tmp_path / "grey.mp4", seconds=2)
    arguments = ("predict", tmp_path / "bundle", video, "--allow-no-face", "--json", "--workers", "0")
    done = run_hidden("from crnet.cli.main import run\nrun()\n", *arguments)
    assert done.returncode == 0, done.stderr
    expected = Predictor(bundle).predict(video, allow_no_face=True).scores
    assert expected is not None
    assert json.loads(done.stdout)["scores"] == pytest.approx(dict(expected), abs=1e-6)


def test_the_modules_of_networks_say_what_to_install(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    done = run_hidden(MODULES, tmp_path / "bundle")
    assert 'pip install "crnet[train]"' in done.stderr


def test_videos_are_explained_and_served_without_heat_maps(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "bundle")
    video = write_grey_video(tmp_path / "grey.mp4", seconds=2)
    expected = Predictor(bundle).predict(video, "hello there", allow_no_face=True).scores
    done = run_hidden(EXPLAIN_AND_SERVE, tmp_path / "bundle", video, tmp_path / "out", tmp_path / "job")
    assert done.returncode == 0, done.stderr
    assert "no heat maps" in done.stderr and "crnet[train]" in done.stderr
    assert expected is not None
    served = json.loads((tmp_path / "job" / "out" / "prediction.json").read_text())
    for document in (json.loads(done.stdout)["prediction"], served):
        assert document["scores"] == pytest.approx(dict(expected), abs=1e-6)
    assert (tmp_path / "out" / "report.html").is_file() and not list((tmp_path / "out").glob("*heat*"))
