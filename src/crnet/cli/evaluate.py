"""`crnet evaluate`: measure a trained system."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars, console, print_json
from crnet.utils.device import Device

if TYPE_CHECKING:
    from crnet.evaluation.evaluate import Evaluation
    from crnet.utils.progress import Progress


def evaluate(
    run: Path,
    data: Path,
    /,
    *,
    split: Literal["train", "val", "test"] = "test",
    protocol: str | None = None,
    allow_missing: bool = False,
    device: Device = "auto",
    json: bool = False,
) -> int:
    """Measure a trained system on a split, beside the constant-median floor.

    For every target 1-MAE, MAE, R2, Pearson, CCC with 95% bootstrap intervals, the share of the floor's error that is
    removed, and the spread of the predictions; each stream alone, scene+face, and all three. Leaves metrics.json,
    predictions.csv and plots in RUN/evaluation/SPLIT, and RUN/report.html. Where a test clip's source video, or person,
    also is in the training or validation split, as of most clips of First Impressions, such clips are measured apart.

    With --protocol the run's configuration is trained anew on other splits of the same clips, in RUN/protocols, which
    takes as long as `crnet train` did (K times for K folds), and both results are shown. Stopped, it goes on.

    Args:
        run: A run that `crnet train` finished.
        data: A store made by `crnet prepare`.
        split: Which clips.
        protocol: By default the splits that the run was trained by. video-disjoint: no source video in two splits;
            identity-disjoint: no person in two (needs persons in DATA); grouped-kfold:5: each clip tested once, by
            networks that saw none of its video or person.
        allow_missing: Go on although some annotated clips could not be prepared; n is printed with every figure.
        device: Where the networks compute; auto takes a GPU if there is one.
        json: Print metrics.json instead of tables.
    """
    from crnet.bundle.bundle import training_of
    from crnet.cli.evaluation_tables import comparison
    from crnet.data.splits import SplitProtocol
    from crnet.evaluation.cross_validation import evaluate_protocol
    from crnet.evaluation.evaluate import evaluate_run

    asked = None if protocol is None else SplitProtocol.parse(protocol)
    measure = partial(evaluate_run, run, data, split=split, allow_missing=allow_missing, device=device)
    if asked is None or asked == training_of(run)[1]:
        with bars() as progress:
            own, folder = measure(progress=progress)
            page = _show_run(run, data, own, folder, progress)
        if json:
            print_json(own.to_dict())
        else:
            _print_evaluation(own, folder, page)
        return EXIT_DONE
    with bars() as progress:
        own, _ = measure(progress=progress)
        other, parts = evaluate_protocol(
            run, data, asked, split=split, allow_missing=allow_missing, device=device, progress=progress
        )
        pages = [_show_run(part.run_dir, data, part.evaluation, part.folder, progress) for part in parts]
    if json:
        print_json({"own": own.to_dict(), "protocol": other.evaluation.to_dict()})
        return EXIT_DONE
    _print_evaluation(other.evaluation, other.folder, pages[0] if len(pages) == 1 else None)
    console().print(comparison(own, other.evaluation))
    return EXIT_DONE


def _print_evaluation(evaluation: Evaluation, folder: Path, page: Path | None) -> None:
    from crnet.cli.evaluation_tables import tables

    screen = console()
    for warning in evaluation.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False)
    for table in tables(evaluation):
        screen.print(table)
    screen.print(f"all figures: {folder}" + ("" if page is None else f"; a page to look at: {page}"), highlight=False)


def _show_run(run: Path, data: Path, evaluation: Evaluation, folder: Path, progress: Progress) -> Path | None:
    """Plots and report of an evaluation; without the packages for them, the figures alone have to do."""
    try:
        from crnet.report.run_report import show_run
    except ModuleNotFoundError as error:
        print(f'no plots and no report: {error.name} is missing (pip install "crnet[report]")', file=sys.stderr)
        return None
    return show_run(run, data, evaluation, folder, progress)
