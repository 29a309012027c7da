"""Split protocols measure what knowing the video is worth: here the video alone determines the scores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crnet.cli.main import main
from crnet.config import Config
from crnet.data.manifest import ClipRow, Manifest, read_manifest, write_manifest
from crnet.data.splits import SplitProtocol
from crnet.data.store import clip_path, write_clip
from crnet.data.transforms import TransformConfig
from crnet.evaluation.cross_validation import evaluate_protocol
from crnet.evaluation.evaluate import evaluate_run
from crnet.fusion.fusion import FusionConfig
from crnet.models.config import ModelConfig
from crnet.train import train_system
from crnet.types import SPLITS, TARGETS, TEXT_DIMENSIONS
from synthetic import SPLIT_OF_FIVE, make_clip
from tiny_training import tiny_training

VIDEOS = 40
TRAINING = tiny_training((0, 8), batch_size=10)
LEARN_FAST = replace(TRAINING.stages[1], optimizer="adam", lr=0.005, lr_step_epochs=100)
CONFIG = Config(
    streams=("audio-text",),
    transforms=TransformConfig(frames=4, pixels=16, audio_samples=800),
    model=ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=4, audio_text="text"),
    training=replace(TRAINING, stages=(TRAINING.stages[0], LEARN_FAST)),
    fusion=FusionConfig(trees=20),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty people with one video each, cut into five clips. Each person has their own words and scores."""
    folder = tmp_path_factory.mktemp("protocols") / "store"
    rng = np.random.default_rng(0)
    rows = []
    for video in range(VIDEOS):
        words, scores = rng.normal(size=TEXT_DIMENSIONS), rng.uniform(0.2, 0.8, len(TARGETS))
        for number, split in enumerate(SPLIT_OF_FIVE):
            name = f"video{video:02d}.{number:03d}.mp4"
            clip = make_clip(name, 1.0, words, rng, pixels=16, frames_per_segment=1, duration_s=0.05)
            write_clip(folder / clip_path(name), clip)
            rows.append(ClipRow(name, clip_path(name), split, tuple(scores.tolist())))
    write_manifest(folder, Manifest(tuple(rows), "folder", {"pixels": 16}, "synthetic", "synthetic"))
    return folder


@pytest.fixture(scope="module")
def run(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protocols") / "run"
    train_system(str(store), str(folder), CONFIG)  # strings work as well as paths
    return folder


def test_a_finished_run_is_kept_if_only_settings_without_influence_differ(store: Path, run: Path) -> None:
    bundle = run / "bundle" / "bundle.json"
    written = bundle.stat().st_mtime_ns
    other_workers = replace(CONFIG, training=replace(CONFIG.training, workers=CONFIG.training.workers + 1))
    train_system(store, run, other_workers)
    assert bundle.stat().st_mtime_ns == written


def r2(systems: dict[str, dict[str, dict[str, float]]]) -> float:
    return systems["fusion"]["average"]["r2"]


def test_scores_that_only_the_video_determines_are_lost_in_disjoint_splits(store: Path, run: Path) -> None:
    official, _ = evaluate_run(run, store)
    disjoint, parts = evaluate_protocol(run, store, SplitProtocol.parse("video-disjoint"))
    assert r2(official.systems) > 0.5
    assert r2(disjoint.evaluation.systems) < 0.1
    assert len(parts) == 1 and parts[0] is disjoint
    recorded = json.loads((disjoint.run_dir / "run.json").read_text())
    assert recorded["data"]["protocol"] == "video-disjoint"


def test_folds_test_every_clip_once_against_its_own_floor(store: Path, run: Path) -> None:
    whole, parts = evaluate_protocol(run, store, SplitProtocol.parse("grouped-kfold:3"))
    assert [part.run_dir.name for part in parts] == [f"grouped-kfold-3-{fold}" for fold in (1, 2, 3)]
    clips = [row.clip_id for row in whole.evaluation.rows]
    assert sorted(clips) == sorted(row.clip_id for row in read_manifest(store).clips)
    assert r2(whole.evaluation.systems) < 0.1
    floor = whole.evaluation.predictions["floor"]
    starts = np.cumsum([0, *(len(part.evaluation.rows) for part in parts)])
    for part, start, end in zip(parts, starts, starts[1:], strict=False):
        assert np.array_equal(floor[start:end], part.evaluation.predictions["floor"])
        assert part.evaluation.rows == whole.evaluation.rows[start:end]
    expected = 1 - np.abs(floor - whole.evaluation.truth)[:, :5].mean()
    assert whole.evaluation.systems["fusion"]["average"]["floor_accuracy"] == pytest.approx(expected)
    document = json.loads((whole.folder / "metrics.json").read_text())
    assert document["protocol"] == "grouped-kfold:3" and document["clips"] == len(clips)


def test_a_run_of_a_protocol_is_evaluated_on_its_own_splits(
    store: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disjoint, _ = evaluate_protocol(run, store, SplitProtocol.parse("video-disjoint"))
    capsys.readouterr()
    assert main(["evaluate", str(disjoint.run_dir), str(store), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["protocol"] == "video-disjoint"
    assert document["split_overlap"] == {}
    assert document["systems"]["fusion"]["average"] == disjoint.evaluation.systems["fusion"]["average"]


def test_a_run_of_a_protocol_is_refused_if_its_clips_have_other_splits(
    store: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With one clip fewer, training clips would be among the test clips."""
    disjoint, _ = evaluate_protocol(run, store, SplitProtocol.parse("video-disjoint"))
    manifest = read_manifest(store)
    shutil.copytree(store, tmp_path / "store")
    write_manifest(tmp_path / "store", replace(manifest, clips=manifest.clips[1:]))
    assert main(["evaluate", str(disjoint.run_dir), str(tmp_path / "store")]) == 2
    assert "may have been trained on its test clips" in capsys.readouterr().err


def test_missing_clips_are_reported_before_hours_of_training(
    store: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(store, tmp_path / "store")
    shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("protocols"))
    lost = "clip,path,reason,remedy,split\nlost.mp4,lost.mp4,broken,repair it,train\n"
    (tmp_path / "store" / "failures.csv").write_text(lost)
    command = ["evaluate", str(tmp_path / "run"), str(tmp_path / "store"), "--protocol", "video-disjoint"]
    assert main(command) == 2
    assert "1 annotated clips are not in the store, the first is lost.mp4" in capsys.readouterr().err
    assert not (tmp_path / "run" / "protocols").exists()


def test_the_command_shows_both_results(store: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(run), str(store), "--protocol", "video-disjoint"]) == 0
    output = capsys.readouterr().out
    assert "official splits (40 clips) and video-disjoint splits (" in " ".join(output.split())
    assert main(["evaluate", str(run), str(store), "--protocol", "official", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "official"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--protocol", "identity-disjoint"], "200 of 200 clips name no person"),
        (["--protocol", "by-moon-phase"], "unknown protocol"),
        (["--protocol", "grouped-kfold:3", "--split", "train"], "overlap"),
    ],
)
def test_unusable_protocols_are_refused(
    store: Path, run: Path, options: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(run), str(store), *options]) == 2
    assert reason in capsys.readouterr().err


def test_training_needs_one_fold(store: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(store), str(run), "--preset", "tiny", "--protocol", "grouped-kfold:3"]) == 2
    assert "name one fold" in capsys.readouterr().err
    manifest = read_manifest(store)
    assert {row.split for row in manifest.clips} == set(SPLITS)  # a protocol does not change the store
