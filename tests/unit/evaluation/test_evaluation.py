"""Evaluation of a system on a store: which clips are scored or refused, and which files are written."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from crnet import metrics
from crnet.bundle.bundle import Bundle
from crnet.cli.evaluation_tables import tables
from crnet.data.manifest import read_manifest, write_manifest
from crnet.data.splits import SplitProtocol, training_fingerprint
from crnet.data.store import read_clip
from crnet.errors import ConfigError, FormatError, LabelError
from crnet.evaluation.cross_validation import pool
from crnet.evaluation.evaluate import evaluate, ranking_warnings
from crnet.evaluation.evaluation import SYSTEMS, Evaluation, write_evaluation
from crnet.fusion.fusion import Fusion
from crnet.models import inference
from crnet.predict import Predictor
from crnet.types import STREAMS, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE, TRAITS


def fail(store: Path, *rows: tuple[str, str], header: str = "clip,path,reason,remedy,split") -> None:
    lines = [header, *(f"{clip},x.mp4,broken,mend it,{split}" for clip, split in rows)]
    (store / "failures.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_every_system_is_scored_on_the_annotated_clips_of_the_split(evaluation: Evaluation, store: Path) -> None:
    assert tuple(evaluation.predictions) == SYSTEMS == tuple(evaluation.systems)
    assert [row.clip_id for row in evaluation.rows] == [f"clip{i}.mp4" for i in range(16, 28)]
    np.testing.assert_array_equal(evaluation.truth, [row.scores for row in evaluation.rows])
    for prediction in evaluation.predictions.values():
        assert prediction.shape == (12, 6)
        assert prediction.min() >= 0
        assert prediction.max() <= 1
    assert all("is below the floor" in warning for warning in evaluation.warnings)  # of networks that nobody trained
    assert evaluation.missing == ()


def test_the_floor_is_the_training_median(evaluation: Evaluation, store: Path) -> None:
    train = np.array([row.scores for row in read_manifest(store).rows("train")])
    np.testing.assert_array_equal(evaluation.predictions["floor"], np.tile(np.median(train, axis=0), (12, 1)))
    for figures in evaluation.systems.values():
        assert figures["average"]["floor_accuracy"] == evaluation.systems["floor"]["average"]["accuracy"]
    assert evaluation.systems["floor"]["average"]["error_removed"] == pytest.approx(0)


def test_metrics_agree_with_the_predictions(evaluation: Evaluation) -> None:
    for name, prediction in evaluation.predictions.items():
        for i, target in enumerate(TARGETS):
            figures = evaluation.systems[name][target]
            assert figures["mae"] == pytest.approx(np.abs(evaluation.truth[:, i] - prediction[:, i]).mean())
            assert figures["pearson"] == metrics.pearson(evaluation.truth[:, i], prediction[:, i])
        average = evaluation.systems[name]["average"]["accuracy"]
        assert average == pytest.approx(np.mean([evaluation.systems[name][t]["accuracy"] for t in TRAITS]))


def test_prediction_of_one_clip_agrees_with_evaluation_of_the_split(
    evaluation: Evaluation, bundle: Bundle, store: Path
) -> None:
    predictor = Predictor(bundle)
    for i in (0, 7):
        prediction = predictor.predict_clip(read_clip(store / evaluation.rows[i].file))
        for system, scores in {"fusion": prediction.scores, **prediction.streams}.items():
            expected = evaluation.predictions[system][i]
            np.testing.assert_allclose([scores[t] for t in TARGETS], expected, atol=1e-5, err_msg=system)


def test_clips_are_scored_in_blocks_with_the_same_result(
    bundle: Bundle, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 clips in batches of 3: one block of all, and two blocks of 6."""
    monkeypatch.setattr(inference, "BATCH_SIZE", 3)
    found, steps = [], []
    for clips_at_once in (12, 6):
        monkeypatch.setattr(inference, "CLIPS_AT_ONCE", clips_at_once)
        steps.clear()
        found.append(evaluate(bundle, store, resamples=2, progress=lambda *step: steps.append(step[:3])))
    for name, prediction in found[0].predictions.items():
        np.testing.assert_array_equal(found[1].predictions[name], prediction)
    assert [step for step in steps if "scene" in step[0]] == [("scene: features", done, 4) for done in (1, 2, 3, 4)]


def average(accuracy: float | None) -> dict[str, dict[str, float | None]]:
    return {"average": {"accuracy": accuracy}}


def test_a_system_below_the_floor_and_a_fusion_below_a_stream_are_warned_of() -> None:
    """Floor .88, scene .89, face .87, fusion .8851: the face is .01 below the floor, the fusion .0049 below scene."""
    systems = {"scene": 0.89, "face": 0.87, "audio-text": None, "scene+face": 0.884, "fusion": 0.8851, "floor": 0.88}
    assert list(ranking_warnings({name: average(value) for name, value in systems.items()})) == [
        "face is below the floor, which predicts the training median for everyone, by .0100: 1 - MAE is .8700 against "
        ".8800 (mean of the five traits)",
        "scene+face is below scene by .0060: 1 - MAE is .8840 against .8900 (mean of the five traits)",
        "fusion is below scene by .0049: 1 - MAE is .8851 against .8900 (mean of the five traits)",
    ]
    equal = {"scene": average(0.88004), "fusion": average(0.88), "floor": average(0.88)}
    assert list(ranking_warnings(equal)) == []


def test_the_warnings_and_the_parts_of_the_fused_score_reach_metrics_json(evaluation: Evaluation) -> None:
    document = evaluation.to_dict()
    assert any(warning.startswith("scene is below the floor") for warning in document["warnings"])
    assert document["fusion"] == "extra-trees alone (5 per target), fitted on the training clips"


def test_folds_share_conditions_and_are_ranked_together(make_evaluation: Callable[..., Evaluation]) -> None:
    """The fusion is .1 and .3 off in two folds and the scene .25 in both: pooled, the fusion is better (.2)."""
    truth = np.full((12, 6), 0.5)
    folds = []
    for number, fusion_error in ((1, 0.1), (2, 0.3)):
        errors = {"scene": 0.25, "fusion": fusion_error, "floor": 0.4}
        predictions = {name: truth + error for name, error in errors.items()}
        systems = {name: average(1 - error) for name, error in errors.items()}
        warnings = ("no sound", *ranking_warnings(systems))
        folds.append(
            make_evaluation(
                truth=truth, predictions=predictions, systems=systems, warnings=warnings, fusion=f"formula {number}",
                protocol=SplitProtocol.parse(f"grouped-kfold:3:{number}"),
            )
        )  # fmt: skip
    assert any("fusion is below scene" in warning for warning in folds[1].warnings)
    whole = pool(folds, SplitProtocol.parse("grouped-kfold:3"))
    assert whole.warnings == ("no sound",)
    assert whole.fusion == "grouped-kfold:3:1: formula 1; grouped-kfold:3:2: formula 2"


def test_networks_return_to_the_cpu_and_stay_in_evaluation_mode(evaluation: Evaluation, bundle: Bundle) -> None:
    for net in bundle.networks.values():
        assert not net.training
        assert next(net.parameters()).device.type == "cpu"


def test_without_the_visual_fusion_its_row_is_left_out(bundle: Bundle, store: Path) -> None:
    assert "scene+face" not in evaluate(bundle, str(store), resamples=5).systems


def test_a_missing_clip_is_refused_unless_allowed_and_then_n_is_beside_every_figure(
    bundle: Bundle, store_maker: Callable[..., Path]
) -> None:
    store = store_maker()
    fail(store, ("lost.mp4", "test"), ("other.mp4", "train"), ("clip20.mp4", "test"), ("unknown.mp4", ""), ("", "test"))
    with pytest.raises(LabelError, match=r"1 annotated clips.*lost\.mp4"):
        evaluate(bundle, store, resamples=5)
    evaluation = evaluate(bundle, store, resamples=5, allow_missing=True)
    assert evaluation.missing == ("lost.mp4",)
    assert evaluation.to_dict()["missing"] == ["lost.mp4"]
    assert evaluation.to_dict()["clips"] == 12
    assert "1 annotated clips are missing" in evaluation.warnings
    for table in tables(evaluation):
        assert [cell for column in table.columns if column.header == "n" for cell in column.cells] == (
            ["12"] * table.row_count
        )


def test_a_clip_in_a_locked_archive_is_missing_too(bundle: Bundle, store_maker: Callable[..., Path]) -> None:
    store = store_maker()
    fail(store)
    (store / "locked.csv").write_text("clip,split\nlocked.mp4,test\nother.mp4,val\n")
    with pytest.raises(
        LabelError, match=r"1 annotated clips .* the first is locked.mp4 .*keys for those in locked.csv"
    ):
        evaluate(bundle, store, resamples=5)
    assert evaluate(bundle, store, resamples=5, allow_missing=True).missing == ("locked.mp4",)


def test_failures_of_other_splits_do_not_matter(bundle: Bundle, store_maker: Callable[..., Path]) -> None:
    store = store_maker()
    fail(store, ("lost.mp4", "val"))
    assert evaluate(bundle, store, resamples=5).missing == ()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"name,why\nx,y\n"])
def test_a_damaged_list_of_failures_is_refused(
    bundle: Bundle, store_maker: Callable[..., Path], content: bytes
) -> None:
    store = store_maker()
    (store / "failures.csv").write_bytes(content)
    with pytest.raises(FormatError, match=r"failures\.csv"):
        evaluate(bundle, store, resamples=5)


def test_a_split_without_annotated_clips_names_those_that_have_some(bundle: Bundle, store: Path) -> None:
    with pytest.raises(LabelError, match=r"no annotated clips in the val split.*train, test"):
        evaluate(bundle, store, split="val")


def test_no_store_at_all(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="manifest"):
        evaluate(bundle, tmp_path)


def test_another_text_encoder_is_refused(bundle: Bundle, store_maker: Callable[..., Path]) -> None:
    with pytest.raises(ConfigError, match="skip-thoughts"):
        evaluate(bundle, store_maker(encoder="skip-thoughts"), resamples=5)


def test_the_most_important_warning_comes_first(bundle: Bundle, store_maker: Callable[..., Path]) -> None:
    settings = dict(bundle.media) | {"face_margin": 0.9, "frames_per_segment": None}
    store = store_maker(source="folder", settings=settings)
    warnings = evaluate(bundle, store, split="train", resamples=5).warnings
    assert warnings[0] == TRAINED_ON_SYNTHETIC_PEOPLE
    assert "memorised" in warnings[1]
    assert "face_margin 0.9" in warnings[2]
    assert all("is below" in warning for warning in warnings[3:])
    real = replace(bundle, training_source="first-impressions-v2")
    assert TRAINED_ON_SYNTHETIC_PEOPLE not in evaluate(real, store, resamples=5).warnings


def test_a_damaged_clip_is_named(bundle: Bundle, store_maker: Callable[..., Path]) -> None:
    store = store_maker()
    victim = store / read_manifest(store).rows("test")[3].file
    victim.write_bytes(victim.read_bytes()[:200])
    with pytest.raises(FormatError, match=victim.name):
        evaluate(bundle, store, resamples=5)


def test_metrics_json_follows_the_contract(evaluation: Evaluation, tmp_path: Path) -> None:
    write_evaluation(evaluation, tmp_path)
    document = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert document["split"] == "test"
    assert document["clips"] == 12
    assert set(document["systems"]) == {*STREAMS, "scene+face", "fusion", "floor"}
    for system in document["systems"].values():
        assert set(system) == {*TARGETS, "average"}
        for figures in system.values():
            names = ("accuracy", "mae", "r2", "pearson", "ccc", "floor_accuracy", "error_removed", "spread")
            assert set(figures) == {*names, "ci95"}
            assert set(figures["ci95"]) == set(names)


def test_predictions_csv_holds_every_number(evaluation: Evaluation, tmp_path: Path) -> None:
    rows = [replace(evaluation.rows[0], clip_id='odd, "name"\n.mp4', warnings=("no sound", "no face"))]
    write_evaluation(replace(evaluation, rows=(*rows, *evaluation.rows[1:])), tmp_path)
    with (tmp_path / "predictions.csv").open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 12
    assert table[0]["clip"] == 'odd, "name"\n.mp4'
    assert table[0]["warnings"] == "no sound; no face"
    assert (table[0]["faces_found"], table[0]["faces_looked_at"]) == ("3", "4")
    for name, values in {"truth": evaluation.truth, **evaluation.predictions}.items():
        for i, target in enumerate(TARGETS):
            np.testing.assert_array_equal([float(row[f"{name}.{target}"]) for row in table], values[:, i])


def test_tables_fit_a_terminal_and_carry_the_floor(
    evaluation: Evaluation, make_evaluation: Callable[..., Evaluation]
) -> None:
    for shown in (evaluation, make_evaluation(missing=("lost.mp4",))):
        console = Console(width=80, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
        for table in tables(shown):
            console.print(table)
        text = console.export_text()
        assert "…" not in text
        assert text.count("floor") == 2
        assert text.count("emotionally stable") == 2
        average = evaluation.systems["fusion"]["average"]["accuracy"]
        assert f"{average:.4f}".lstrip("0") in text


def test_undefined_metrics_are_a_dash(make_evaluation: Callable[..., Evaluation]) -> None:
    nothing = dict.fromkeys(metrics.METRICS)
    figures = {target: {**nothing, "ci95": nothing} for target in (*TARGETS, "average")}
    console = Console(width=80, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    for table in tables(make_evaluation(systems={"fusion": figures, "floor": figures})):
        console.print(table)
    assert " - " in console.export_text()


def test_progress_is_reported(bundle: Bundle, store: Path, visual_fusion: Fusion) -> None:
    calls: list[tuple[str, int, int]] = []

    def progress(task: str, done: int, total: int, note: str = "") -> None:
        calls.append((task, done, total))

    evaluate(bundle, store, resamples=5, progress=progress)
    assert {task.split(":")[0] for task, _, _ in calls} == set(STREAMS)
    assert calls[-1][1] == calls[-1][2]


def test_clips_that_share_their_person_with_another_split_are_evaluated_separately(
    tmp_path: Path, bundle: Bundle, store: Path
) -> None:
    """4 of 12 test clips show a person of the training split; the test computes their mean error independently."""
    manifest = read_manifest(store)
    tests = [row.clip_id for row in manifest.rows("test") if row.scores is not None]
    shared_person = dict.fromkeys(tests[:4], "clip00.mp4")  # also in the training split
    clips = tuple(replace(row, person=shared_person.get(row.clip_id, row.clip_id)) for row in manifest.clips)
    shutil.copytree(store, tmp_path / "store")
    write_manifest(tmp_path / "store", replace(manifest, clips=clips))
    trained_here = replace(bundle, training_fingerprint=training_fingerprint(manifest))
    evaluation = evaluate(trained_here, tmp_path / "store", resamples=0)
    assert list(evaluation.split_overlap) == ["person"]
    person = evaluation.split_overlap["person"]
    assert (person["seen"]["clips"], person["unseen"]["clips"]) == (4, 8)
    errors = np.abs(evaluation.predictions["fusion"] - evaluation.truth)[:, :5].mean(axis=1)
    seen = np.array([row.clip_id in shared_person for row in evaluation.rows])
    assert person["seen"]["systems"]["fusion"]["accuracy"] == pytest.approx(1 - errors[seen].mean())
    assert person["unseen"]["systems"]["fusion"]["accuracy"] == pytest.approx(1 - errors[~seen].mean())
    console = Console(width=80, record=True, file=Path("/dev/null").open("w"))  # noqa: SIM115
    for table in tables(evaluation):
        console.print(table)
    assert "4 clips whose person is in another split too, 8 whose person is not" in " ".join(
        console.export_text().split()
    )

    assert evaluate(bundle, tmp_path / "store", resamples=0).split_overlap == {}  # the training store is unknown


def test_without_shared_people_there_is_no_overlap(bundle: Bundle, store: Path) -> None:
    trained_here = replace(bundle, training_fingerprint=training_fingerprint(read_manifest(store)))
    assert evaluate(trained_here, store, resamples=0).split_overlap == {}
