"""The page of a run: one HTML file that opens offline, for a reader who has not read the paper.

Everything that comes from outside (clip names, transcripts, warnings) is escaped by the template engine. Faces are
shown of drawn people only; of real people, neither frames nor words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crnet.bundle.verify import BUNDLE_FILE, CALIBRATION_FILE, find_bundle
from crnet.data.splits import OFFICIAL
from crnet.data.store import ClipFile
from crnet.data.transforms import choose_frames
from crnet.evaluation.evaluate import AVERAGE, FLOOR, FUSION, Evaluation
from crnet.fusion.conformal import LEVEL, Calibration
from crnet.report.curves import Log, read_logs, training_figures
from crnet.report.page import MEANINGS, NEUROTICISM, data_uri, environment
from crnet.report.plots import evaluation_figures
from crnet.report.style import png
from crnet.text.base import encoder_label
from crnet.types import TARGETS, TRAITS, Stream
from crnet.utils.files import read_json, write_bytes, write_text
from crnet.utils.number_format import error_removed_text, interval_text
from crnet.utils.progress import Progress, no_progress

REPORT_FILE = "report.html"
CLIPS_SHOWN = 3  # best ones, and as many worst
LONGEST_TRANSCRIPT = 220  # characters

EVALUATION_CAPTIONS = {
    "systems": (
        "Every system beside the floor",
        "1 - MAE of each system with its 95% interval. A system whose interval reaches down to the dashed line has "
        "not shown that it knows more than one number.",
    ),
    "scatter": (
        "True score and predicted score",
        "Each dot is a clip. Perfect predictions lie on the diagonal; the floor puts every clip on the dashed line.",
    ),
    "errors": (
        "Error against the true score",
        "A line that falls from left to right is regression to the mean: low scores are guessed too high and high "
        "ones too low. The dashed line is how the floor errs; the flatter the black line, the better.",
    ),
    "distributions": (
        "How widely the scores spread",
        "A model that plays safe predicts scores near the middle. The spread is the predictions' standard deviation "
        "over the truth's: 1 is right, 0 is one number for everyone.",
    ),
    "calibration": (
        "Can a score be taken at its word?",
        "Clips are sorted by their predicted score and cut into tenths. On the diagonal, clips predicted 0.6 are "
        "scored 0.6 on average.",
    ),
}
TRAINING_CAPTIONS = {
    "training_curves": (
        "Training beside validation",
        "Training that goes on rising while validation falls is overfitting. The first stage learns the classes "
        "only, so its 1 - MAE is left out; the ring marks the epoch whose weights were kept.",
    ),
    "loss_terms": (
        "What each loss contributes",
        "Second stage, training split, scores times 100. Bell pulls only scores that are less than 36 points off; "
        "the dotted line is the share that it cannot reach.",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure of the page."""

    title: str
    caption: str
    uri: str


@dataclass(frozen=True)
class ClipCard:
    """One clip of the page: what it was given and what it was predicted."""

    name: str
    error: str
    scores: tuple[tuple[str, str, str], ...]
    """Target, true score, prediction."""
    pictures: tuple[tuple[str, str], ...]
    """What is shown, and its data URI."""
    transcript: str
    warnings: tuple[str, ...]


def show_run(
    run_dir: Path, store: Path, evaluation: Evaluation, folder: Path, progress: Progress = no_progress
) -> Path:
    """Draw what was measured: figures into `folder`, and the run's page, which is returned.

    Args:
        run_dir: A finished run.
        store: The store that it was measured on.
        evaluation: What was measured.
        folder: For the figures.
        progress: Told after every figure.
    """
    figures = draw_figures(run_dir, evaluation, progress)
    for name, content in figures.items():
        write_bytes(folder / f"{name}.png", content)
    return write_report(run_dir, evaluation, store, figures)


def draw_figures(run_dir: Path, evaluation: Evaluation, progress: Progress = no_progress) -> dict[str, bytes]:
    """Every figure of the evaluation and of the run's training as a PNG file, by name.

    Raises:
        FormatError: A training log is damaged.
    """
    figures = evaluation_figures(evaluation)
    figures |= training_figures(read_logs(run_dir), _average(evaluation, FLOOR)["accuracy"])
    drawn = {}
    for done, (name, figure) in enumerate(figures.items(), start=1):
        drawn[name] = png(figure)
        progress("drawing figures", done, len(figures))
    return drawn


def write_report(run_dir: Path, evaluation: Evaluation, store: Path, figures: Mapping[str, bytes]) -> Path:
    """Write `report.html` into a run.

    Args:
        run_dir: The run, with its bundle and its training logs.
        evaluation: What was measured.
        store: The store it was measured on; drawn people's frames come from it.
        figures: PNG files by name, from `draw_figures`.

    Raises:
        FormatError: The run holds no bundle, a log is damaged, or a clip that is shown is.
        StorageError: The page cannot be written.
    """
    bundle = read_json(find_bundle(run_dir) / BUNDLE_FILE, "a bundle")
    page = (
        environment()
        .get_template("report.html")
        .render(
            run=run_dir.resolve().name,
            evaluation=evaluation,
            drawn=evaluation.source == "simulated",
            headline=headline(evaluation),
            tiles=_tiles(evaluation),
            systems=_system_rows(evaluation),
            details=_detail_rows(evaluation),
            familiar=_familiar_tables(evaluation),
            level=f"{100 * LEVEL:.0f}%",
            intervals=_interval_rows(evaluation),
            calibration_clips=_calibration_clips(run_dir),
            give=f"{196 * (LEVEL * (1 - LEVEL) / len(evaluation.rows)) ** 0.5:.0f}",
            figures=_pictures(figures, EVALUATION_CAPTIONS),
            curves=_pictures(figures, TRAINING_CAPTIONS),
            overfitting=_overfitting(read_logs(run_dir)),
            worst=_cards(evaluation, store, worst=True),
            best=_cards(evaluation, store, worst=False),
            meanings=MEANINGS,
            neuroticism=NEUROTICISM,
            targets=TARGETS,
            made_with=_made_with(bundle),
            config=json.dumps(bundle.get("config"), indent=2, ensure_ascii=False),
        )
    )
    path = run_dir / REPORT_FILE
    write_text(path, page)
    return path


def headline(evaluation: Evaluation) -> str:
    """How far above the floor the fused system is, in one sentence."""
    figures = _average(evaluation, FUSION)
    removed, interval = figures["error_removed"], figures["ci95"]["error_removed"]
    dealt = "" if evaluation.protocol == OFFICIAL else f" ({evaluation.protocol})"
    clips = f"{len(evaluation.rows)} clips of the {evaluation.split} split{dealt}"
    if removed is None:
        return f"On {clips} the fused system's error is not defined: its predictions are not all numbers."
    if interval is None:
        return (
            f"On {clips} the fused system removes {100 * removed:.0f}% of the error of predicting one number for "
            "everyone; so few clips cannot tell that from chance."
        )
    low, high = (100 * bound for bound in interval)
    if low > 0:
        return (
            f"On {clips} the fused system removes {100 * removed:.0f}% of the error of predicting one number for "
            f"everyone (95% interval {low:.0f}% to {high:.0f}%)."
        )
    if high < 0:
        return (
            f"On {clips} the fused system is worse than predicting one number for everyone: its error is "
            f"{-100 * removed:.0f}% larger (95% interval {-high:.0f}% to {-low:.0f}%)."
        )
    return (
        f"On {clips} the fused system cannot be told from predicting one number for everyone: it removes "
        f"{100 * removed:.0f}% of that error, with a 95% interval of {low:.0f}% to {high:.0f}%."
    )


def _average(evaluation: Evaluation, system: str) -> dict[str, Any]:
    return evaluation.systems[system][AVERAGE]


def _tiles(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Name, figure and explanation of the average over the five traits."""
    figures = _average(evaluation, FUSION)
    interval = interval_text(figures["ci95"]["accuracy"])
    return [
        (
            "1 - MAE",
            _number(figures["accuracy"]),
            f"95% interval {interval}" if interval else "too few for an interval",
        ),
        ("floor", _number(figures["floor_accuracy"]), "one number for everyone"),
        ("error removed", _percent(figures["error_removed"]), "of the floor's error"),
        ("correlation", _number(figures["pearson"], 2), "Pearson's r; 0 knows nothing, 1 ranks perfectly"),
        ("spread", _number(figures["spread"], 2), "of the scores; 1 is as wide as the truth"),
    ]


def _system_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "cells": [_number(figures[target]["accuracy"]) for target in (*TARGETS, AVERAGE)],
            "removed": "" if name == FLOOR else _percent(figures[AVERAGE]["error_removed"]),
        }
        for name, figures in evaluation.systems.items()
    ]


def _detail_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    rows = []
    for target in (*TARGETS, AVERAGE):
        figures = evaluation.systems[FUSION][target]
        cells = [
            _number(figures["accuracy"]),
            interval_text(figures["ci95"]["accuracy"]),
            _number(figures["floor_accuracy"]),
            _percent(figures["error_removed"]),
            *(_number(figures[name], 2) for name in ("r2", "pearson", "ccc", "spread")),
        ]
        rows.append((target, cells))
    return rows


def _familiar_tables(evaluation: Evaluation) -> list[tuple[str, int, int, list[tuple[str, list[str]]]]]:
    """What is shared with other splits, how many clips do and do not, and each system's name and cells."""
    tables = []
    for grouping, found in evaluation.familiar.items():
        seen, unseen = found["seen"], found["unseen"]
        rows = []
        for name, figures in seen["systems"].items():
            pair = (figures, unseen["systems"][name])
            cells = [_number(of["accuracy"]) for of in pair]
            cells += ["" if name == FLOOR else error_removed_text(of) for of in pair]
            rows.append((name, cells))
        tables.append((grouping, seen["clips"], unseen["clips"], rows))
    return tables


def _interval_rows(evaluation: Evaluation) -> list[tuple[str, str, str]]:
    """Target, coverage and mean width."""
    figures = evaluation.intervals or {}
    return [(target, _percent(of["coverage"]), _number(of["width"], 2)) for target, of in figures.items()]


def _calibration_clips(run_dir: Path) -> int:
    """How many clips the intervals were learned from; 0 without any."""
    path = find_bundle(run_dir) / CALIBRATION_FILE
    return Calibration.from_dict(read_json(path, "a calibration"), path).clips if path.is_file() else 0


def _pictures(figures: Mapping[str, bytes], captions: Mapping[str, tuple[str, str]]) -> list[Picture]:
    return [
        Picture(*words, data_uri("image/png", figures[name])) for name, words in captions.items() if name in figures
    ]


def _overfitting(logs: Mapping[Stream, Log]) -> list[tuple[Stream, str]]:
    """The last word on each stream in which overfitting was seen."""
    said = {stream: [row["overfitting"] for row in rows if row.get("overfitting")] for stream, rows in logs.items()}
    return [(stream, sentences[-1]) for stream, sentences in said.items() if sentences]


def _cards(evaluation: Evaluation, store: Path, *, worst: bool) -> list[ClipCard]:
    """The clips with the largest or the smallest error, averaged over the five traits."""
    traits = [TARGETS.index(trait) for trait in TRAITS]
    errors = np.abs(evaluation.predictions[FUSION] - evaluation.truth)[:, traits].mean(axis=1)
    order = np.argsort(-errors if worst else errors, kind="stable")
    # No clip stands in both lists.
    return [_card(evaluation, store, int(i), float(errors[i])) for i in order[: min(CLIPS_SHOWN, len(order) // 2)]]


def _card(evaluation: Evaluation, store: Path, i: int, error: float) -> ClipCard:
    row = evaluation.rows[i]
    drawn = evaluation.source == "simulated"
    truth, prediction = evaluation.truth[i], evaluation.predictions[FUSION][i]
    said = row.transcript if drawn else ""
    return ClipCard(
        name=row.clip_id,
        error=f"{error:.3f}",
        scores=tuple((t, f"{truth[j]:.2f}", f"{prediction[j]:.2f}") for j, t in enumerate(TARGETS)),
        pictures=_frames(store / row.file) if drawn else (),
        transcript=said if len(said) <= LONGEST_TRANSCRIPT else said[:LONGEST_TRANSCRIPT].rsplit(" ", 1)[0] + " …",
        warnings=row.warnings,
    )


def _frames(path: Path) -> tuple[tuple[str, str], ...]:
    """The clip's middle frame and its face."""
    clip = ClipFile(path)
    middle = int(choose_frames(clip, 1, None)[0])
    scene, face = clip.jpeg("scene", middle), clip.jpeg("face", middle)
    return (("scene", data_uri("image/jpeg", scene)), ("face", data_uri("image/jpeg", face)))


def _made_with(bundle: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = bundle.get("config") or {}
    facts = {
        "trained on": bundle.get("training_source"),
        "seed": (config.get("training") or {}).get("seed"),
        "text encoder": encoder_label(bundle.get("encoder") or "") or None,
        "source revision": bundle.get("git_revision"),
        **(bundle.get("versions") or {}),
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}%"
