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

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "sklearn", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
"""
SCORE = """
import json, sys, crnet
from crnet.data.store import read_clip
print(json.dumps(crnet.load(sys.argv[1]).predict_clip(read_clip(sys.argv[2])).to_dict()))
"""
EXPLAIN = """
import sys, crnet
crnet.load(sys.argv[1]).bundle.networks["scene"]
"""


def run_hidden(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", HIDE + code, *map(str, arguments)]
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
    done = run_hidden(EXPLAIN, tmp_path / "bundle")
    assert 'pip install "crnet[train]"' in done.stderr
