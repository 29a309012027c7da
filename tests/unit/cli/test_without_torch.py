"""Preparing a dataset and auditing tables work where PyTorch is not installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from crnet.data.manifest import read_manifest
from hidden_packages import hiding
from unit.media.video_maker import quadrants, write_video

PROGRAM = """
import json, sys
from crnet.cli.main import main
for arguments in json.loads(sys.argv[1]):
    assert main(arguments) == 0
"""


def run_without_torch(*commands: list[str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", hiding("torch") + PROGRAM, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def test_tables_are_audited_without_torch(tmp_path: Path) -> None:
    scores, groups = tmp_path / "p.csv", tmp_path / "g.csv"
    scores.write_text("clip,openness\n" + "".join(f"c{number},0.{40 + number}\n" for number in range(40)))
    groups.write_text(
        "clip,group_age\n" + "".join(f"c{number},{('young', 'old')[number % 2]}\n" for number in range(40))
    )
    tables = ["--predictions", str(scores), "--labels", str(scores), "--groups", str(groups)]
    done = run_without_torch(["audit", *tables, "--resamples", "100", "--json"])
    assert json.loads(done.stdout)["clips"] == 40


def test_a_store_is_prepared_and_embedded_without_torch(tmp_path: Path) -> None:
    source, store = tmp_path / "source", tmp_path / "store"
    source.mkdir()
    tone = 0.1 * np.sin(np.arange(16_000, dtype=np.float32))[None]
    write_video(source / "a.mp4", [quadrants(96, 128)] * 20 + [quadrants(96, 128)[::-1]] * 5, sound=tone)
    (source / "clips.csv").write_text("clip,transcript\na.mp4,hello there\n")
    prepare = ["prepare", str(source), str(store), "--workers", "0", "--json"]
    embed = ["embed", str(store), "--encoder", "hashed-ngrams-v1", "--json"]
    done = run_without_torch(prepare, embed)
    prepared, end = json.JSONDecoder().raw_decode(done.stdout)
    assert prepared["done"] == 1 and json.loads(done.stdout[end:])["skipped"] == 1
    (row,) = read_manifest(store).clips
    assert row.frames >= 25 and row.faces_looked_at == 32
