"""The files that show one run: `report.html` in the run, and its figures as PNG, SVG and CSV files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from crnet.bundle.verify import BUNDLE_FILE, CALIBRATION_FILE, find_bundle
from crnet.evaluation.evaluation import Evaluation
from crnet.fusion.conformal import Calibration
from crnet.report.figure_style import png, svg
from crnet.report.page_templates import REPORT_FILE
from crnet.report.run_data import SYSTEMS_CSV, TRAINING_CSV, systems_csv, training_csv
from crnet.report.run_figures import draw_run_figures
from crnet.report.run_page import render_run_page
from crnet.report.training_figures import read_logs
from crnet.utils.files import read_json, write_bytes, write_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.storage import as_path


def write_run_report(
    run_dir: Path | str,
    store: Path | str,
    evaluation: Evaluation,
    folder: Path | str,
    progress: Progress = no_progress,
) -> Path:
    """Write the figures of an evaluation into `folder` and the page of the run; return the page.

    Args:
        run_dir: A finished run.
        store: The store that it was evaluated on.
        evaluation: The evaluation.
        folder: The folder of the figures.
        progress: Called after every figure.

    Raises:
        FormatError: See `write_run_page`.
        StorageError: A file cannot be written.
    """
    figures: dict[str, bytes] = {}
    folder, logs = Path(folder), read_logs(run_dir)
    drawn = draw_run_figures(evaluation, logs)
    for done, (name, figure) in enumerate(drawn.items(), start=1):
        figures[name] = png(figure)
        write_bytes(folder / f"{name}.png", figures[name])
        write_bytes(folder / f"{name}.svg", svg(figure))
        progress("drawing figures", done, len(drawn))
    write_text(folder / SYSTEMS_CSV, systems_csv(evaluation.systems))
    if logs:
        write_text(folder / TRAINING_CSV, training_csv(logs))
    return write_run_page(run_dir, evaluation, store, figures, folder)


def write_run_page(
    run_dir: Path | str,
    evaluation: Evaluation,
    store: Path | str,
    figures: Mapping[str, bytes],
    folder: Path | None = None,
) -> Path:
    """Write `report.html` into a run.

    Args:
        run_dir: The run, with its bundle and its training logs.
        evaluation: The evaluation.
        store: The store that it was evaluated on; frames of synthetic people come from it.
        figures: PNG files by name, a key of `RUN_FIGURES`.
        folder: Where these files and their numbers are, for links to them; None: nowhere.

    Raises:
        FormatError: The run holds no bundle, or a log or a clip of the page is damaged.
        StorageError: The page cannot be written.
    """
    run_dir = Path(run_dir)
    bundle = find_bundle(run_dir)
    page = render_run_page(
        run_dir.resolve().name,
        read_json(bundle / BUNDLE_FILE, "a bundle"),
        evaluation,
        as_path(store),
        figures,
        files=None if folder is None else _relative_url(folder, run_dir),
        logs=read_logs(run_dir),
        calibration_clips=_calibration_clips(bundle),
    )
    write_text(run_dir / REPORT_FILE, page)
    return run_dir / REPORT_FILE


def _relative_url(folder: Path, run_dir: Path) -> str:
    """Return the address of a folder on a page in the run; links work as long as the two keep their places."""
    return quote(Path(os.path.relpath(folder.resolve(), run_dir.resolve())).as_posix())


def _calibration_clips(bundle: Path) -> int:
    """Return the number of clips that the intervals were calibrated on; 0 without intervals."""
    path = bundle / CALIBRATION_FILE
    return Calibration.from_dict(read_json(path, "a calibration"), path).clips if path.is_file() else 0
