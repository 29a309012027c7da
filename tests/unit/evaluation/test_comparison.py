"""Comparison of runs and tables: the numbers of `crnet evaluate`, joined clips, floors, calibrated intervals, files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crnet.cli.main import main
from crnet.errors import LabelError, UsageError
from crnet.evaluation.compared_systems import join_systems, read_systems
from crnet.evaluation.comparison import Comparison, compare
from crnet.evaluation.evaluation import Evaluation, write_evaluation
from crnet.fusion.conformal import cross_calibrated
from crnet.metrics import describe
from crnet.report.comparison_figures import removed_figure
from crnet.report.comparison_page import headline, render_comparison_page
from crnet.report.figure_style import png
from crnet.types import TARGETS


def write_table(path: Path, scores: dict[str, list[float | None]], targets: tuple[str, ...] = ("interview",)) -> Path:
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["clip", *targets])
        table.writerows([clip, *("" if value is None else value for value in row)] for clip, row in scores.items())
    return path


def joined(
    paths: list[Path], labels: Path | None = None, *, train_labels: Path | None = None, resamples: int = 30
) -> Comparison:
    clips = join_systems(read_systems(paths, "test"), labels, train_labels, allow_missing=True)
    return compare(clips, resamples=resamples)


@pytest.fixture
def runs(evaluation: Evaluation, make_evaluation: Callable[..., Evaluation], tmp_path: Path) -> list[Path]:
    """Two runs that were evaluated on the same clips."""
    predictions = {name: np.roll(scores, 1, axis=0) for name, scores in evaluation.predictions.items()}
    predictions["floor"] = evaluation.predictions["floor"]
    other = make_evaluation(predictions=predictions)
    for name, result in (("a", evaluation), ("b", other)):
        write_evaluation(result, tmp_path / name / "evaluation" / "test")
    return [tmp_path / "a", tmp_path / "b"]


def test_numbers_of_runs_are_those_of_evaluate_to_the_last_digit(evaluation: Evaluation, runs: list[Path]) -> None:
    systems = joined(runs).systems
    assert systems["a"] == evaluation.systems["fusion"]
    assert systems["floor"] == evaluation.systems["floor"]
    rolled = np.roll(evaluation.predictions["fusion"], 1, axis=0)
    assert systems["b"] == describe(evaluation.truth, rolled, evaluation.train_medians, resamples=30)


def test_clips_of_a_person_stay_together_in_the_intervals(
    make_evaluation: Callable[..., Evaluation], evaluation: Evaluation, tmp_path: Path
) -> None:
    rows = [replace(row, person=f"p{i // 6}") for i, row in enumerate(evaluation.rows)]
    write_evaluation(make_evaluation(rows=rows), tmp_path / "a" / "evaluation" / "test")
    comparison = joined([tmp_path / "a"])
    assert comparison.to_dict()["clusters"] == {"kind": "person", "count": 2}
    assert comparison.systems["a"]["openness"]["ci95"]["mae"] is None  # two persons are too few


def test_differences_are_the_later_system_minus_the_earlier_one(runs: list[Path]) -> None:
    comparison = joined(runs)
    rows = {(row.target, row.metric): row for row in comparison.differences}
    assert len(rows) == len(comparison.differences) == 7 * 6
    row = rows["average", "ccc"]
    assert (row.system, row.minus) == ("b", "a")
    assert row.value == comparison.systems["b"]["average"]["ccc"] - comparison.systems["a"]["average"]["ccc"]
    assert row.p == row.p_corrected


def test_tables_are_joined_by_name_and_what_does_not_match_is_named(tmp_path: Path) -> None:
    labels = write_table(tmp_path / "l.csv", {"x.000.mp4": [0.5], "y.mp4": [0.25], "z": [0.75]})
    first = write_table(tmp_path / "p.csv", {"z.mp4": [0.5], "x.000": [0.5], "w": [0.1]})
    second = write_table(tmp_path / "q.csv", {"y": [0.5], "z": [0.5], "x.000": [0.5]})
    clips = joined([first, second], labels).clips
    assert clips.clips == ("x.000", "z")
    assert clips.warnings == (
        "in p.csv, 1 labelled clip has no predictions and is left out: y",
        "in p.csv, 1 predicted clip has no labels and is left out: w",
    )
    page = render_comparison_page(joined([first, second], labels), {"error_removed": b"", "differences": b""})
    assert "<strong>In p.csv, 1 labelled clip has no predictions and is left out: y.</strong>" in page
    assert clips.truth.tolist() == [[0.5], [0.75]]
    assert clips.floors["p.csv"].tolist() == [[0.625], [0.625]]
    assert clips.floor.startswith("the median of these labels")


def test_persons_that_any_table_names_count_whatever_the_order_of_the_systems(tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("clip,interview,person\nx,.5,\ny,.25,\nz,.75,\n")
    named = tmp_path / "p.csv"
    named.write_text("clip,interview,person\nx,.5,a\ny,.5,a\nz,.5,b\n")
    other = write_table(tmp_path / "q.csv", {"x": [0.5], "y": [0.5], "z": [0.5]})
    for systems in ([named, other], [other, named]):
        clips = joined(systems, labels).clips
        assert (clips.cluster_kind, clips.clusters.tolist()) == ("person", [0, 0, 1])


def test_scores_on_another_scale_are_a_warning(tmp_path: Path) -> None:
    labels = write_table(tmp_path / "l.csv", {"x": [0.5], "y": [0.25], "z": [0.75]})
    table = write_table(tmp_path / "p.csv", {"x": [1.0], "y": [4.5], "z": [-0.1]})
    assert joined([table], labels).clips.warnings == ("2 predicted scores are outside [0, 1], the range of the labels",)
    table = write_table(tmp_path / "q.csv", {"x": [0.0], "y": [None], "z": [1.1]})
    assert joined([table], labels).clips.warnings[0] == "1 predicted score is outside [0, 1], the range of the labels"


def test_the_floor_of_a_table_is_the_median_of_the_training_labels_or_that_of_a_run(
    runs: list[Path], evaluation: Evaluation, tmp_path: Path
) -> None:
    names = [row.clip_id for row in evaluation.rows]
    table = write_table(tmp_path / "p.csv", {name: [0.5] for name in names})
    train = write_table(tmp_path / "t.csv", {"r": [0.1], "s": [0.2], "t": [0.9]})
    clips = joined([table, runs[0]], train_labels=train).clips
    assert set(clips.floors["p.csv"].ravel().tolist()) == {0.2}
    np.testing.assert_array_equal(clips.floors["a"], evaluation.predictions["floor"][:, 5:])
    assert clips.warnings == ("the systems have different floors, because they were trained on different labels",)
    np.testing.assert_array_equal(joined([table, runs[0]]).clips.floors["p.csv"], clips.floors["a"])


def test_a_missing_score_leaves_the_clip_out_of_that_target_for_every_system(tmp_path: Path) -> None:
    targets = ("openness", "interview")
    labels = write_table(tmp_path / "l.csv", {"x": [0.5, 0.5], "y": [0.2, 0.4]}, targets)
    gap = write_table(tmp_path / "p.csv", {"x": [0.4, None], "y": [0.4, 0.4]}, targets)
    whole = write_table(tmp_path / "q.csv", {"x": [0.5, 0.9], "y": [0.2, 0.5]}, targets)
    comparison = joined([gap, whole], labels)
    assert comparison.clips.warnings == ("1 clip without a score of interview is left out of it",)
    assert comparison.systems["q.csv"]["interview"]["mae"] == pytest.approx(0.1)
    assert comparison.systems["q.csv"]["openness"]["mae"] == 0


def test_systems_without_a_common_target_are_refused_with_what_each_scores(tmp_path: Path) -> None:
    labels = write_table(tmp_path / "l.csv", {"x": [0.5, 0.5]}, ("openness", "interview"))
    paths = [write_table(tmp_path / f"{t}.csv", {"x": [0.5]}, (t,)) for t in ("openness", "interview")]
    with pytest.raises(LabelError) as refused:
        joined(paths, labels)
    assert "(the labels: openness, interview; openness.csv: openness; interview.csv: interview)" in str(refused.value)


def test_runs_with_other_labels_and_runs_without_evaluation_are_refused(
    runs: list[Path], make_evaluation: Callable[..., Evaluation], evaluation: Evaluation, tmp_path: Path
) -> None:
    truth = evaluation.truth.copy()
    truth[3, 2] = 0.123
    write_evaluation(make_evaluation(truth=truth), tmp_path / "c" / "evaluation" / "test")
    with pytest.raises(LabelError, match="c was evaluated with another label of clip clip19"):
        joined([runs[0], tmp_path / "c"])
    with pytest.raises(LabelError, match="no evaluation on the test split"):
        joined([tmp_path])
    with pytest.raises(UsageError, match="given twice"):
        joined([runs[0], runs[0]])


def test_the_floor_shows_how_wide_intervals_are_without_any_knowledge(tmp_path: Path) -> None:
    # Labels 0, .01 ... .99, and the floor .495: of each half, .46 to .47 on either side hold 90%.
    labels = write_table(tmp_path / "l.csv", {f"c{i}": [i / 100] for i in range(100)})
    table = write_table(tmp_path / "p.csv", {f"c{i}": [i / 100 + 0.01 * (-1) ** i] for i in range(100)})
    comparison = joined([table], labels)
    assert set(comparison.calibrated) == {"p.csv", "floor"} and set(comparison.bounds) == {"p.csv"}
    assert comparison.calibrated["floor"]["interview"]["width"] == pytest.approx(0.92, abs=0.04)
    assert comparison.calibrated["p.csv"]["interview"]["width"] == pytest.approx(0.02, abs=1e-3)
    page = render_comparison_page(comparison, {"error_removed": b""})
    assert '<tr class="floor"><th scope="row">floor</th><td>calibrated here</td>' in page


def test_calibrated_intervals_cover_what_they_promise_and_keep_persons_in_one_half() -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.3, 0.7, (2000, 1))
    scores = truth + np.repeat(rng.normal(0, 0.05, (1000, 1)), 2, axis=0)
    low, high = cross_calibrated(truth, scores, (np.arange(2000) // 2).tolist())
    assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.9, abs=0.02)
    widths = (high - low).ravel()
    assert len(np.unique(widths.round(9))) == 2
    np.testing.assert_allclose(widths[::2], widths[1::2])
    few = cross_calibrated(truth[:30], scores[:30], list(range(30)))
    assert np.isnan(few).all()


def test_the_command_evaluates_a_table_and_writes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.2, 0.8, (80, 6)).round(4)
    clips = [f"v{i // 2}.{i % 2:03d}" for i in range(80)]
    labels = write_table(tmp_path / "l.csv", dict(zip(clips, truth.tolist(), strict=True)), TARGETS)
    scores = 0.5 + 0.5 * (truth - 0.5)
    table = write_table(tmp_path / "p.csv", dict(zip(clips, scores.tolist(), strict=True)), TARGETS)
    arguments = ["evaluate", "--predictions", str(table), "--labels", str(labels)]
    assert main([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    folder = tmp_path / "evaluation"
    assert document == json.loads((folder / "metrics.json").read_text())
    assert document["clusters"] == {"kind": "source video", "count": 40}
    assert document["scale"] == {"neuroticism": "reversed: high = emotionally stable"}
    floor = np.median(truth, axis=0)
    expected = {"p.csv": scores, "floor": np.tile(floor, (80, 1))}
    assert document["systems"] == {
        name: describe(truth, values, floor, clusters=np.arange(80) // 2) for name, values in expected.items()
    }
    assert set(document["intervals"]["calibrated"]["p.csv"]) == {*TARGETS, "average"}
    assert len(list(csv.DictReader((folder / "predictions.csv").open(newline="")))) == 80
    page = (folder / "report.html").read_text()
    assert "Evaluation of p.csv" in page and "neuroticism (high = stable)" in page
    assert (folder / "error_removed.png").read_bytes().startswith(b"\x89PNG")
    assert main(arguments) == 0
    assert "emotionally stable" in capsys.readouterr().out


def test_labelled_clips_without_predictions_need_permission(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write_table(tmp_path / "l.csv", {"x": [0.5], "y": [0.25]})
    table = write_table(tmp_path / "p.csv", {"x": [0.5]})
    arguments = ["evaluate", "--predictions", str(table), "--labels", str(labels)]
    assert main(arguments) == 2
    assert "p.csv: 1 of 2 labelled clips have no predictions, such as y (score them, or give --allow-missing" in (
        capsys.readouterr().err
    )
    assert main([*arguments, "--allow-missing"]) == 0
    assert "1 clip of 1 source video" in " ".join(capsys.readouterr().out.split())


def test_the_command_compares_runs_and_says_what_differs(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["compare", *map(str, runs), "--out", str(out), "--resamples", "100"]) == 0
    assert "b − a" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {
        "comparison.json", "predictions.csv", "report.html", "error_removed.png", "error_removed.svg", "systems.csv",
        "differences.png", "differences.svg", "differences.csv",
    }  # fmt: skip
    assert json.loads((out / "comparison.json").read_text())["split"] == "test"
    header, *rows = (out / "differences.csv").read_text().splitlines()
    assert header == "system,minus,target,metric,value,low,high,p,p_corrected,scale" and len(rows) > 6
    assert {row.rpartition(",")[2] for row in rows if "neuroticism" in row} == {"reversed: high = emotionally stable"}
    assert main(["compare", str(runs[0])]) == 2
    assert "needs two systems" in capsys.readouterr().err


def test_results_never_overwrite_a_table_that_the_command_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = write_table(tmp_path / "systems.csv", {"x": [0.5], "y": [0.25]})
    table = write_table(tmp_path / "predictions.csv", {"x": [0.5], "y": [0.5]})
    other = write_table(tmp_path / "q.csv", {"x": [0.5], "y": [0.5]})
    before = {path: path.read_bytes() for path in (labels, table)}
    for command in (["evaluate", "--predictions", str(table)], ["compare", str(other), str(table)]):
        assert main([*command, "--labels", str(labels), "--out", str(tmp_path)]) == 2
        assert "predictions.csv: the results would overwrite this file" in capsys.readouterr().err
    assert main(["evaluate", "--predictions", str(other), "--labels", str(labels), "--out", str(tmp_path)]) == 2
    assert "systems.csv: the results would overwrite this file" in capsys.readouterr().err
    assert before == {path: path.read_bytes() for path in (labels, table)}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv", "q.csv", "systems.csv"]


def test_options_of_tables_are_refused_for_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("--out", "--train-labels"):
        assert main(["evaluate", "run", "store", option, "x"]) == 2
        assert "--out and --train-labels belong to --predictions" in capsys.readouterr().err


def test_a_run_may_have_the_name_of_a_column(runs: list[Path]) -> None:
    truth = runs[0].rename(runs[0].with_name("truth"))
    assert joined([truth, runs[1]]).names == ("truth (system)", "b")


def test_a_run_is_compared_with_labels_that_name_its_clips_by_path(
    runs: list[Path], evaluation: Evaluation, tmp_path: Path
) -> None:
    rows = {f"videos/{row.clip_id}": [float(i == 2)] for i, row in enumerate(evaluation.rows)}
    comparison = joined(runs, write_table(tmp_path / "l.csv", rows))
    assert len(comparison.clips.clips) == len(evaluation.rows)
    np.testing.assert_array_equal(comparison.clips.floors["a"], evaluation.predictions["floor"][:, 5:])


def test_the_average_names_what_it_is_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    targets = ("openness", "interview")
    labels = write_table(tmp_path / "l.csv", {"x": [0.5, 0.5], "y": [0.2, 0.4]}, targets)
    table = write_table(tmp_path / "p.csv", {"x": [0.4, 0.1], "y": [0.4, 0.4]}, targets)
    comparison = joined([table], labels)
    assert comparison.systems["p.csv"]["average"]["mae"] == comparison.systems["p.csv"]["openness"]["mae"]
    assert "The average is over openness." in render_comparison_page(comparison, {"error_removed": b""})
    assert main(["evaluate", "--predictions", str(table), "--labels", str(labels)]) == 0
    printed = capsys.readouterr().out
    assert "average of openness" in printed and "reversed" not in printed


def test_intervals_of_metrics_are_printed_in_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = {f"v{i}": [0.5 + 0.01 * (i % 3)] for i in range(20)}
    labels = write_table(tmp_path / "l.csv", truth)
    table = write_table(tmp_path / "p.csv", {clip: [1 - i / 20] for i, clip in enumerate(truth)})
    assert main(["evaluate", "--predictions", str(table), "--labels", str(labels), "--json"]) == 0
    low, high = json.loads(capsys.readouterr().out)["systems"]["p.csv"]["interview"]["ci95"]["r2"]
    assert main(["evaluate", "--predictions", str(table), "--labels", str(labels)]) == 0
    printed = capsys.readouterr().out
    assert f"−{-low:.3f} to −{-high:.3f}" in printed and "…" not in printed


def test_any_name_can_be_drawn(tmp_path: Path) -> None:
    scores: dict[str, list[float | None]] = {f"c{i}": [i / 20] for i in range(20)}
    labels = write_table(tmp_path / "l.csv", scores)
    comparison = joined([write_table(tmp_path / name, scores) for name in ("_a$b_{", "<b>.csv")], labels)
    figure = removed_figure(comparison)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["floor", r" _a\$b_{", "<b>.csv"]
    page = render_comparison_page(comparison, {"error_removed": png(figure)} | dict.fromkeys(["differences"], b""))
    assert 'href="comparison.json"' in page and 'href="predictions.csv"' in page
    assert "<b>.csv" not in page and "&lt;b&gt;.csv" in page


def test_the_headline_says_which_system_is_better_only_if_chance_does_not_explain_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = [f"c{i}" for i in range(200)]
    truth = rng.uniform(0.2, 0.8, 200)
    noise = {"good": 0.02, "bad": 0.1, "same": 0.02}
    labels = write_table(tmp_path / "l.csv", {c: [t] for c, t in zip(clips, truth.tolist(), strict=True)})
    paths = {
        name: write_table(tmp_path / name, {c: [s] for c, s in zip(clips, scores.tolist(), strict=True)})
        for name, sd in noise.items()
        for scores in [truth + rng.normal(0, sd, 200)]
    }
    assert headline(joined([paths["bad"], paths["good"]], labels, resamples=199)).startswith(
        "good has a higher 1 - MAE than bad"
    )
    assert headline(joined([paths["good"], paths["bad"]], labels, resamples=199)).startswith(
        "good has a higher 1 - MAE than bad"
    )
    assert headline(joined([paths["good"], paths["same"]], labels, resamples=199)).startswith(
        "No difference in 1 - MAE"
    )
    assert headline(joined(list(paths.values()), labels, resamples=199)).startswith("2 of 3 pairs of systems differ")
