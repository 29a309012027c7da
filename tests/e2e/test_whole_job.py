"""The whole job on a few synthetic people: simulate, prepare, train, fuse, evaluate, predict, report."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

import crnet
from crnet.cli import main as cli
from crnet.demo import DemoResult, run_demo
from crnet.types import STREAMS, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE

CLIPS = 30  # of the fixture `demo`
pytestmark = pytest.mark.slow


def test_the_demo_writes_every_file_it_promises(demo: DemoResult) -> None:
    for name in ("report.html", "run.json", "prediction.json", "bundle/bundle.json", "scene+face.safetensors"):
        assert (demo.out / name).is_file(), name
    figures = demo.out / "evaluation" / "test"
    assert {"scatter.png", "systems.png", "training_curves.png"} <= {path.name for path in figures.glob("*.png")}
    assert "meaningless" not in " ".join(demo.evaluation.warnings)  # the clips are synthetic, too
    assert any("floor" in line for line in demo.summary())


def test_the_metrics_have_the_keys_of_the_contract(demo: DemoResult) -> None:
    document = json.loads((demo.out / "evaluation/test/metrics.json").read_text())
    assert (document["split"], document["clips"]) == ("test", CLIPS // 5)
    assert list(document["systems"]) == [*STREAMS, "scene+face", "fusion", "floor"]
    for figures in document["systems"].values():
        assert list(figures) == [*TARGETS, "average"]
        for values in figures.values():
            assert set(values) == {
                "accuracy",
                "mae",
                "r2",
                "pearson",
                "ccc",
                "floor_accuracy",
                "error_removed",
                "spread",
                "ci95",
            }


def test_the_bundle_records_that_it_was_trained_on_synthetic_people(demo: DemoResult) -> None:
    document = json.loads((demo.out / "bundle/bundle.json").read_text())
    assert document["training_source"] == "simulated"
    assert document["targets"] == list(TARGETS)


def test_predict_and_evaluate_give_a_clip_the_same_scores(demo: DemoResult) -> None:
    with (demo.out / "evaluation/test/predictions.csv").open(newline="") as file:
        rows = {row["clip"]: row for row in csv.DictReader(file)}
    row = rows[demo.prediction.clip.rsplit("/", 1)[-1]]
    assert demo.prediction.scores is not None
    for target in TARGETS:
        assert demo.prediction.scores[target] == pytest.approx(float(row[f"fusion.{target}"]), abs=0.01)
        for stream in STREAMS:
            score = demo.prediction.streams[stream][target]
            assert score == pytest.approx(float(row[f"{stream}.{target}"]), abs=1e-4)


def test_a_second_run_repeats_nothing(demo: DemoResult) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.out.rglob("*.safetensors")}
    again = run_demo(demo.out, clips=CLIPS, seed=3)
    assert again.prediction == demo.prediction and again.prediction.model is not None
    assert {path: path.stat().st_mtime_ns for path in demo.out.rglob("*.safetensors")} == before
    assert again.evaluation.systems == demo.evaluation.systems


def test_predict_prints_one_document_and_nothing_else(demo: DemoResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["predict", str(demo.out), str(demo.video), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    first = ["clip", "duration_s", "scores", "streams", "intervals", "faces", "warnings"]
    assert list(document) == [*first, "error", "model", "scale"]
    assert list(document["scores"]) == list(TARGETS)
    assert list(document["streams"]) == list(STREAMS)
    assert document["intervals"] is None
    assert TRAINED_ON_SYNTHETIC_PEOPLE not in document["warnings"]


def test_a_bad_file_among_many_becomes_a_row(
    demo: DemoResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(demo.video, tmp_path / "good one.mp4")
    (tmp_path / "bad.mp4").write_text("this is text")
    table = tmp_path / "out.csv"
    assert cli.main(["predict", str(demo.out), str(tmp_path), "--json", "--out", str(table)]) == 1
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(document["clip"]).name for document in documents] == ["bad.mp4", "good one.mp4"]
    assert documents[0]["scores"] is None
    assert "bad.mp4" in documents[0]["error"]
    assert documents[1]["error"] is None
    with table.open(newline="") as file:
        assert [bool(row["error"]) for row in csv.DictReader(file)] == [True, False]


def test_a_single_bad_file_is_an_error(demo: DemoResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mp4").write_text("this is text")
    assert cli.main(["predict", str(demo.out), str(tmp_path / "bad.mp4")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_evaluate_from_the_command_line(demo: DemoResult, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(demo.out), str(demo.out / "store"), "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "val"
    assert cli.main(["evaluate", str(demo.out), str(demo.out / "store")]) == 0
    assert "floor" in capsys.readouterr().out


def test_training_again_removes_what_a_killed_run_left(demo: DemoResult) -> None:
    before, left = (demo.out / "bundle/bundle.json").read_bytes(), demo.out / "bundle" / ".tmp-abc.safetensors"
    left.touch()
    assert cli.main(["train", str(demo.out / "store"), str(demo.out), "--preset", "tiny", "--seed", "3"]) == 0
    assert not left.exists()
    assert (demo.out / "bundle/bundle.json").read_bytes() == before


def test_a_run_is_not_resumed_with_another_configuration(demo: DemoResult, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", str(demo.out / "store"), str(demo.out), "--preset", "tiny", "--seed", "4"]
    assert cli.main(words) == 2
    assert "another configuration" in capsys.readouterr().err


def test_a_finished_run_is_not_turned_into_one_of_other_streams(
    demo: DemoResult, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (demo.out / "bundle/bundle.json").read_bytes()
    words = ["train", str(demo.out / "store"), str(demo.out), "--preset", "tiny", "--seed", "3", "--streams", "scene"]
    assert cli.main(words) == 2
    assert "another configuration: streams" in capsys.readouterr().err
    assert (demo.out / "bundle/bundle.json").read_bytes() == before


def test_the_warning_about_real_people_comes_first(demo: DemoResult, media_dir: Path) -> None:
    prediction = crnet.load(demo.out).predict(media_dir / "edge_no_face.mp4", transcript="hello", allow_no_face=True)
    assert prediction.warnings[0] == TRAINED_ON_SYNTHETIC_PEOPLE
    assert "no face" in prediction.warnings[1]
    assert prediction.intervals is None
    assert prediction.faces is not None
    assert prediction.faces.found == 0
