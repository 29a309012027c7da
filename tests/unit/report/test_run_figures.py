"""Figures: any evaluation and log gives readable PNG files, always the same."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from crnet import metrics
from crnet.errors import FormatError
from crnet.evaluation.evaluation import Evaluation
from crnet.models.losses import LOSSES, Loss, l1_loss
from crnet.report import figure_style
from crnet.report.evaluation_figures import _binned, calibration_figure, error_figure, scatter_figure
from crnet.report.figure_style import GREY, SYSTEM_COLOURS, VERMILION, png
from crnet.report.run_figures import RUN_FIGURES, draw_run_figures
from crnet.report.training_figures import curves_figure, read_logs, terms_figure
from crnet.types import STREAMS, TARGETS

NAMES = {"systems", "scatter", "errors", "distributions", "calibration"}
TRAINING_NAMES = {"training_curves", "loss_terms"}


def log_rows(first: int = 2, second: int = 3, validated: bool = True) -> list[dict]:
    def figures(x: float) -> dict:
        by_target = dict.fromkeys((*TARGETS, "average"), x)
        losses = {"total": 20.0, "l1": 9.0, "mse": 100.0, "bell": 80.0, "classification": 8 * x}
        return {**losses, "class_accuracy": 0.4, "outside_bell": 0.1, "accuracy": by_target, "spread": by_target}

    rows = []
    for stage, epochs in ((1, first), (2, second)):
        for epoch in range(1, epochs + 1):
            value = 0.85 + 0.01 * epoch
            rows.append(
                {"stage": stage, "epoch": epoch, "epochs": epochs, "lr": 0.002, "lambda": 1.0 if stage == 1 else 4.0}
                | {"train": figures(value), "val": figures(value - 0.005) if validated else None}
                | {"best": stage == 2 and epoch == 2, "overfitting": None}
            )
    return rows


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fewer pixels; the content of a figure does not depend on them."""
    monkeypatch.setattr(figure_style, "DOTS_PER_INCH", 72)


def write_log(run: Path, stream: str, rows: list[dict]) -> None:
    (run / stream).mkdir(parents=True)
    (run / stream / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_every_figure_is_a_png_with_content(evaluation: Evaluation) -> None:
    figures = draw_run_figures(evaluation, {})
    assert set(figures) == NAMES
    for figure in figures.values():
        picture = matplotlib.image.imread(io.BytesIO(png(figure)))
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.02
        assert picture[0, 0, :3].tolist() == [1, 1, 1]


def test_the_same_evaluation_gives_the_same_bytes(evaluation: Evaluation) -> None:
    first, second = (png(scatter_figure(evaluation)) for _ in range(2))
    assert first == second


def test_figures_leave_the_state_of_pyplot_alone(evaluation: Evaluation) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    png(scatter_figure(evaluation))
    assert dict(matplotlib.rcParams) == before


def test_the_panels_show_truth_prediction_and_floor(evaluation: Evaluation) -> None:
    for i, axes in enumerate(scatter_figure(evaluation).axes):
        by_label = {line.get_label(): line for line in axes.lines}
        np.testing.assert_array_equal(by_label["one clip"].get_xdata(), evaluation.truth[:, i])
        np.testing.assert_array_equal(by_label["one clip"].get_ydata(), evaluation.predictions["fusion"][:, i])
        floor = by_label["floor: one number for everyone"]
        assert set(floor.get_ydata()) == {evaluation.train_medians[i]}
        assert axes.get_title(loc="left").startswith(TARGETS[i])
    for i, axes in enumerate(error_figure(evaluation, "scene").axes):
        points = next(line for line in axes.lines if line.get_label() == "one clip")
        expected = evaluation.predictions["scene"][:, i] - evaluation.truth[:, i]
        np.testing.assert_allclose(points.get_ydata(), expected)
        assert axes.get_ylim()[0] <= expected.min()


def test_a_colour_and_a_shape_for_each_system() -> None:
    assert len(set(SYSTEM_COLOURS.values())) == len(SYSTEM_COLOURS)
    assert (SYSTEM_COLOURS["fusion"], SYSTEM_COLOURS["floor"]) == (VERMILION, GREY)


@pytest.mark.parametrize("count", [1, 12])
def test_degenerate_evaluations_can_be_drawn(
    count: int, evaluation: Evaluation, make_evaluation: Callable[..., Evaluation]
) -> None:
    truth = evaluation.truth[:count].copy()
    predictions = {name: values[:count].copy() for name, values in evaluation.predictions.items()}
    predictions["fusion"][:, 0] = 0.5  # constant
    predictions["fusion"][:, 1] = np.nan  # diverged
    truth[:, 2], predictions["fusion"][:, 2] = 0, 1  # as wrong as can be
    systems = {n: metrics.describe(truth, p, evaluation.train_medians, resamples=5) for n, p in predictions.items()}
    changed = make_evaluation(rows=evaluation.rows[:count], truth=truth, predictions=predictions, systems=systems)
    for figure in draw_run_figures(changed, {}).values():
        assert len(png(figure)) > 3_000


def test_bins() -> None:
    x = np.array([0.01, 0.02, 0.03, 0.5, 0.51, 0.95, 0.96, 1.0, np.nan])
    y = np.array([1.0, 2.0, 3.0, 9.0, 9.0, 4.0, 4.0, 4.0, 7.0])
    centres, means, errors = _binned(x, y)
    np.testing.assert_allclose(centres, [0.02, 0.97])  # two clips are too few for a mean
    np.testing.assert_allclose(means, [2, 4])
    np.testing.assert_allclose(errors, [1 / np.sqrt(3), 0])


def test_bins_by_rank_hold_every_clip_once(evaluation: Evaluation) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0.4, 0.6, 100), rng.uniform(0, 1, 100)
    centres, means, _ = _binned(x, y, by_rank=True)
    assert len(centres) == 10
    assert np.all(np.diff(centres) > 0)
    assert means.mean() == pytest.approx(y.mean())
    png(calibration_figure(evaluation))


def test_training_figures(tmp_path: Path, evaluation: Evaluation) -> None:
    for stream in STREAMS:
        write_log(tmp_path, stream, log_rows())
    figures = draw_run_figures(evaluation, read_logs(tmp_path))
    assert list(figures) == list(RUN_FIGURES)
    for name in TRAINING_NAMES:
        assert matplotlib.image.imread(io.BytesIO(png(figures[name]))).std() > 0.02


def test_curves_show_training_and_validation_of_the_second_stage_and_the_selected_epoch(tmp_path: Path) -> None:
    write_log(tmp_path, "face", log_rows(2, 3))
    logs = read_logs(tmp_path)
    assert list(logs) == ["face"]
    above, below = curves_figure(logs, 0.88).axes
    lines = {line.get_label(): line for line in above.lines}
    assert list(lines["training"].get_xdata()) == [3, 4, 5]
    np.testing.assert_allclose(lines["validation"].get_ydata(), [0.855, 0.865, 0.875])
    assert list(lines["selected epoch"].get_xdata()) == [4]
    assert list(lines["second stage begins"].get_xdata()) == [2.5, 2.5]
    assert len(below.lines[0].get_xdata()) == 5


def test_terms_are_weighted_as_in_the_sum(tmp_path: Path) -> None:
    write_log(tmp_path, "scene", log_rows())
    axes = terms_figure(read_logs(tmp_path)).axes[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["lambda x cross-entropy"].get_ydata(), [4 * 8 * x for x in (0.86, 0.87, 0.88)])


def test_a_loss_that_no_log_holds_is_left_out_and_one_without_a_label_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "huber", Loss(l1_loss))  # type: ignore[misc]
    write_log(tmp_path, "scene", log_rows())
    logs = read_logs(tmp_path)
    assert "huber" not in [line.get_label() for line in terms_figure(logs).axes[0].lines]
    for row in logs["scene"]:
        row["train"]["huber"] = 7.0
    lines = {line.get_label(): line for line in terms_figure(logs).axes[0].lines}
    np.testing.assert_allclose(lines["huber"].get_ydata(), [7.0] * 3)
    assert len({line.get_color() for line in lines.values()}) == len(lines)


@pytest.mark.parametrize("rows", [log_rows(validated=False), log_rows(0, 1), log_rows(3, 0)])
def test_unusual_logs_can_be_drawn(rows: list[dict], tmp_path: Path, evaluation: Evaluation) -> None:
    write_log(tmp_path, "scene", rows)
    figures = draw_run_figures(evaluation, read_logs(tmp_path))
    for name in TRAINING_NAMES & set(figures):
        png(figures[name])


def test_no_logs_no_figures(tmp_path: Path, evaluation: Evaluation) -> None:
    assert set(draw_run_figures(evaluation, read_logs(tmp_path))) == NAMES
    write_log(tmp_path, "scene", [])
    assert set(draw_run_figures(evaluation, read_logs(tmp_path))) == NAMES


@pytest.mark.parametrize("content", [b"{", b"[]\n", b'{"stage": 1}\n', b"\xff\n", b'{"stage": "1", "train": {}}\n'])
def test_damaged_logs_are_named(content: bytes, tmp_path: Path) -> None:
    write_log(tmp_path, "scene", [])
    (tmp_path / "scene" / "log.jsonl").write_bytes(content)
    with pytest.raises(FormatError, match=r"log\.jsonl"):
        read_logs(tmp_path)
