"""The files that show one run: `report.html` in the run, and its figures as PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from crnet.bundle.verify import BUNDLE_FILE, CALIBRATION_FILE, find_bundle
from crnet.evaluation.evaluation import Evaluation
from crnet.fusion.conformal import Calibration
from crnet.report.figure_style import png
from crnet.report.page_templates import REPORT_FILE
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
        FormatError: See `draw_figures` and `write_run_page`.
        StorageError: A file cannot be written.
    """
    figures = draw_figures(run_dir, evaluation, progress)
    for name, content in figures.items():
        write_bytes(Path(folder) / f"{name}.png", content)
    return write_run_page(run_dir, evaluation, store, figures)


def draw_figures(run_dir: Path | str, evaluation: Evaluation, progress: Progress = no_progress) -> dict[str, bytes]:
    """Return every figure of an evaluation and of the run's training as a PNG file, by name.

    Raises:
        FormatError: A training log is damaged.
    """
    figures = draw_run_figures(evaluation, read_logs(Path(run_dir)))
    contents = {}
    for done, (name, figure) in enumerate(figures.items(), start=1):
        contents[name] = png(figure)
        progress("drawing figures", done, len(figures))
    return contents


def write_run_page(
    run_dir: Path | str, evaluation: Evaluation, store: Path | str, figures: Mapping[str, bytes]
) -> Path:
    """Write `report.html` into a run.

    Args:
        run_dir: The run, with its bundle and its training logs.
        evaluation: The evaluation.
        store: The store that it was evaluated on; frames of synthetic people come from it.
        figures: PNG files by name, from `draw_figures`.

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
        logs=read_logs(run_dir),
        calibration_clips=_calibration_clips(bundle),
    )
    write_text(run_dir / REPORT_FILE, page)
    return run_dir / REPORT_FILE


def _calibration_clips(bundle: Path) -> int:
    """Return the number of clips that the intervals were calibrated on; 0 without intervals."""
    path = bundle / CALIBRATION_FILE
    return Calibration.from_dict(read_json(path, "a calibration"), path).clips if path.is_file() else 0
