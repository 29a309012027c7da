"""The page of a run: one HTML file that opens offline, for a reader who has not read the paper.

The template engine escapes all text from outside (clip names, transcripts, warnings). The page shows frames and words
of synthetic people only, never of real people.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crnet.data.splits import OFFICIAL
from crnet.data.store import ClipFile
from crnet.data.transforms import middle_frame
from crnet.evaluation.evaluation import FLOOR, FUSION, METRICS_FILE, PREDICTIONS_FILE, Evaluation
from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.metrics import AVERAGE
from crnet.report.page_templates import MEANINGS, NEUROTICISM, data_uri, render
from crnet.report.run_data import SYSTEMS_CSV
from crnet.report.run_figures import RUN_FIGURES
from crnet.report.training_figures import Log
from crnet.text.encoder_interface import encoder_label
from crnet.types import DATA_SOURCES, TARGETS, TRAIT_INDICES, VISUAL_STREAMS, Stream
from crnet.utils.number_format import counted, decimal, error_removed_text, interval_text, percent, score_text

CLIPS_SHOWN = 3  # with the largest errors, and as many with the smallest
LONGEST_TRANSCRIPT = 220  # characters
DIGITS = 3
TABLES = (METRICS_FILE, PREDICTIONS_FILE, SYSTEMS_CSV)  # that the page links to


@dataclass(frozen=True)
class PageFigure:
    """A figure of the page; `links` are names and addresses of its files."""

    title: str
    caption: str
    uri: str
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class ClipCard:
    """One clip of the page with its true and its predicted scores.

    Attributes:
        name: Name of the clip.
        error: Mean error of the five traits.
        scores: Target, true score and predicted score.
        pictures: Name and data URI of each picture.
        transcript: The spoken words; "" for a real person.
        warnings: The clip's warnings.
    """

    name: str
    error: str
    scores: tuple[tuple[str, str, str], ...]
    pictures: tuple[tuple[str, str], ...]
    transcript: str
    warnings: tuple[str, ...]


def render_run_page(
    run: str,
    bundle: Mapping[str, Any],
    evaluation: Evaluation,
    store: Path,
    figures: Mapping[str, bytes],
    *,
    files: str | None = None,
    logs: Mapping[Stream, Log],
    calibration_clips: int,
) -> str:
    """Render the page of a run.

    Args:
        run: Name of the run.
        bundle: The content of its `bundle.json`.
        evaluation: The evaluation.
        store: The store that it was evaluated on.
        figures: PNG files by name, a key of `RUN_FIGURES`.
        files: Address of the folder with the figures' files, relative to the page; None: no links to them.
        logs: The training log of each stream.
        calibration_clips: Number of clips that the intervals were calibrated on.

    Raises:
        FormatError: A clip of the page is damaged.
    """
    context = {
        "run": run,
        "evaluation": evaluation,
        "synthetic": evaluation.source == "simulated",
        "targets": TARGETS,
        "meanings": MEANINGS,
        "neuroticism": NEUROTICISM,
        **_metric_context(evaluation),
        **_interval_context(evaluation, calibration_clips),
        "figures": _page_figures(figures, "evaluation", files),
        "curves": _page_figures(figures, "training", files),
        "files": None if files is None else [(name, f"{files}/{name}") for name in TABLES],
        "overfitting": _overfitting(logs),
        "largest_errors": _cards(evaluation, store, largest=True),
        "smallest_errors": _cards(evaluation, store, largest=False),
        "facts": _facts(bundle, evaluation.fusion),
        "config": json.dumps(bundle.get("config"), indent=2, ensure_ascii=False),
    }
    return render("run.html", context)


def headline(evaluation: Evaluation) -> str:
    """Return one sentence that compares the fused system with the floor."""
    metrics = evaluation.systems[FUSION][AVERAGE]
    removed, interval = metrics["error_removed"], metrics["ci95"]["error_removed"]
    protocol = "" if evaluation.protocol == OFFICIAL else f" ({evaluation.protocol})"
    clips = f"On {len(evaluation.rows)} clips of the {evaluation.split} split{protocol}"
    floor = "predicting one number for everyone"
    if removed is None:
        return f"{clips}, the error of the fused system is undefined: some of its predictions are not finite."
    if interval is None:
        return (
            f"{clips}, the fused system removes {percent(removed, 0)} of the error of {floor}; with so few clips, this "
            "may be chance."
        )
    low, high = (percent(bound, 0) for bound in interval)
    if interval[0] > 0:
        return (
            f"{clips}, the fused system removes {percent(removed, 0)} of the error of {floor} (95% interval {low} to "
            f"{high})."
        )
    if interval[1] < 0:
        low, high = percent(-interval[1], 0), percent(-interval[0], 0)
        return (
            f"{clips}, the fused system is worse than {floor}: its error is {percent(-removed, 0)} larger "
            f"(95% interval {low} to {high})."
        )
    return (
        f"{clips}, the fused system does not differ significantly from {floor}: it removes "
        f"{percent(removed, 0)} of that error, with a 95% interval of {low} to {high}."
    )


def _metric_context(evaluation: Evaluation) -> dict[str, Any]:
    return {
        "headline": headline(evaluation),
        "tiles": _tiles(evaluation.systems[FUSION][AVERAGE]),
        "systems": _system_rows(evaluation),
        "details": _detail_rows(evaluation),
        "overlap": _overlap_tables(evaluation),
    }


def _tiles(metrics: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, value and explanation of the fused system's average over the five traits."""
    interval = interval_text(metrics["ci95"]["accuracy"])
    return [
        (
            "1 - MAE",
            decimal(metrics["accuracy"], digits=DIGITS),
            f"95% interval {interval}" if interval else "too few clips for an interval",
        ),
        ("floor", decimal(metrics["floor_accuracy"], digits=DIGITS), "one number for everyone"),
        ("error removed", percent(metrics["error_removed"]), "of the floor's error"),
        (
            "correlation",
            decimal(metrics["pearson"], digits=2),
            "Pearson's r: 0 is chance, 1 is a perfect linear relationship",
        ),
        (
            "spread",
            decimal(metrics["spread"], digits=2),
            "standard deviation of the predictions relative to that of the true scores",
        ),
    ]


def _system_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    return [
        {
            "name": system,
            "cells": [decimal(metrics[target]["accuracy"], digits=DIGITS) for target in (*TARGETS, AVERAGE)],
            "removed": "" if system == FLOOR else percent(metrics[AVERAGE]["error_removed"]),
        }
        for system, metrics in evaluation.systems.items()
    ]


def _detail_rows(evaluation: Evaluation) -> list[tuple[str, list[str]]]:
    rows = []
    for target in (*TARGETS, AVERAGE):
        metrics = evaluation.systems[FUSION][target]
        cells = [
            decimal(metrics["accuracy"], digits=DIGITS),
            interval_text(metrics["ci95"]["accuracy"]),
            decimal(metrics["floor_accuracy"], digits=DIGITS),
            percent(metrics["error_removed"]),
            *(decimal(metrics[name], digits=2) for name in ("r2", "pearson", "ccc", "spread")),
        ]
        rows.append((target, cells))
    return rows


def _overlap_tables(evaluation: Evaluation) -> list[tuple[str, int, int, list[tuple[str, list[str]]]]]:
    """Return what clips share with other splits, how many do and do not, and the rows of the systems."""
    tables = []
    for grouping, parts in evaluation.split_overlap.items():
        seen, unseen = parts["seen"], parts["unseen"]
        rows = []
        for system, metrics in seen["systems"].items():
            pair = (metrics, unseen["systems"][system])
            cells = [decimal(part["accuracy"], digits=DIGITS) for part in pair]
            cells += ["" if system == FLOOR else error_removed_text(part) for part in pair]
            rows.append((system, cells))
        tables.append((grouping, seen["clips"], unseen["clips"], rows))
    return tables


def _interval_context(evaluation: Evaluation, calibration_clips: int) -> dict[str, Any]:
    floor = evaluation.floor_intervals()
    return {
        "level": percent(INTERVAL_LEVEL, 0),
        "intervals": [
            (
                target,
                percent(figures["coverage"]),
                decimal(figures["width"], digits=2),
                decimal(floor[target]["width"] if target in floor else None, digits=2),
            )
            for target, figures in (evaluation.intervals or {}).items()
        ],
        "interval_regions": _region_rows(evaluation),
        "calibration_clips": calibration_clips,
        "chance": _chance_text(len(evaluation.rows)),
        "chance_in_region": _chance_text(len(evaluation.rows) // 3),
    }


def _chance_text(clips: int) -> str:
    """Return how far the coverage of a number of clips may be from the nominal one by chance."""
    points = 196 * (INTERVAL_LEVEL * (1 - INTERVAL_LEVEL) / max(clips, 1)) ** 0.5
    return (
        f"With {counted(clips, 'clip')}, the observed coverage can differ from a true coverage of "
        f"{percent(INTERVAL_LEVEL, 0)} by up to {points:.0f} percentage points by chance alone (95% range)."
    )


def _region_rows(evaluation: Evaluation) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return coverage and mean width of the intervals of each target by third of its scores."""
    regions = evaluation.interval_regions()
    if not regions:
        return []
    return [
        (
            target,
            [
                (percent(part[target]["coverage"]), decimal(part[target]["width"], digits=2))
                for part in regions.values()
            ],
        )
        for target in (*TARGETS, AVERAGE)
    ]


def _page_figures(figures: Mapping[str, bytes], section: str, files: str | None) -> list[PageFigure]:
    shown = []
    for name, content in figures.items():
        kind = RUN_FIGURES[name]
        names = {"PNG": f"{name}.png", "SVG": f"{name}.svg", "CSV": kind.data}
        links = () if files is None else tuple((label, f"{files}/{file}") for label, file in names.items())
        if kind.section == section:
            shown.append(PageFigure(kind.title, kind.caption, data_uri("image/png", content), links))
    return shown


def _overfitting(logs: Mapping[Stream, Log]) -> list[tuple[Stream, str]]:
    """Return the last warning about overfitting of each stream that has one, with the epoch that it is about."""
    warned = {stream: [row for row in rows if row.get("overfitting")] for stream, rows in logs.items()}
    return [
        (stream, f"in epoch {rows[-1]['epoch']} of stage {rows[-1]['stage']}: {rows[-1]['overfitting']}")
        for stream, rows in warned.items()
        if rows
    ]


def _cards(evaluation: Evaluation, store: Path, *, largest: bool) -> list[ClipCard]:
    """Return the clips with the largest or the smallest error, averaged over the five traits."""
    errors = np.abs(evaluation.predictions[FUSION] - evaluation.truth)[:, TRAIT_INDICES].mean(axis=1)
    order = np.argsort(-errors if largest else errors, kind="stable")
    # No clip appears in both lists.
    return [_card(evaluation, store, int(i), float(errors[i])) for i in order[: min(CLIPS_SHOWN, len(order) // 2)]]


def _card(evaluation: Evaluation, store: Path, i: int, error: float) -> ClipCard:
    row = evaluation.rows[i]
    synthetic = evaluation.source == "simulated"
    truth, prediction = evaluation.truth[i], evaluation.predictions[FUSION][i]
    words = row.transcript if synthetic else ""
    return ClipCard(
        name=row.clip_id,
        error=decimal(error, digits=DIGITS),
        scores=tuple((t, score_text(truth[j]), score_text(prediction[j])) for j, t in enumerate(TARGETS)),
        pictures=_middle_pictures(store / row.file, row.clip_id) if synthetic else (),
        transcript=words if len(words) <= LONGEST_TRANSCRIPT else words[:LONGEST_TRANSCRIPT].rsplit(" ", 1)[0] + " …",
        warnings=row.warnings,
    )


def _middle_pictures(path: Path, clip_id: str) -> tuple[tuple[str, str], ...]:
    """Return scene and face of a clip's middle frame."""
    clip = ClipFile(path, clip_id)
    middle = middle_frame(clip)
    scene, face = (clip.jpegs(stream, [middle])[0] for stream in VISUAL_STREAMS)
    return (("scene", data_uri("image/jpeg", scene)), ("face", data_uri("image/jpeg", face)))


def _facts(bundle: Mapping[str, Any], fusion: str) -> list[tuple[str, str]]:
    config = bundle.get("config") or {}
    facts = {
        "trained on": source.long if (source := DATA_SOURCES.get(bundle.get("training_source", ""))) else None,
        "seed": (config.get("training") or {}).get("seed"),
        "fusion": fusion,
        "text encoder": encoder_label(bundle.get("encoder") or "") or None,
        "source revision": bundle.get("git_revision"),
        **(bundle.get("versions") or {}),
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]
