"""`crnet evaluate`: measure a trained system."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import (
    AllowMissing,
    Command,
    DeviceOption,
    Json,
    LabelsTable,
    OptionalRun,
    OptionalStore,
    PredictionsTable,
    SplitOption,
    TrainLabels,
    option,
)
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console, print_json
from crnet.errors import UsageError
from crnet.utils.extras import install_command

if TYPE_CHECKING:
    from crnet.data.splits import SplitProtocol
    from crnet.evaluation.evaluation import Evaluation
    from crnet.utils.progress import Progress

USAGE = "usage: crnet evaluate RUN STORE, or crnet evaluate --predictions P.csv --labels L.csv"


@dataclass(frozen=True)
class Evaluate(Command):
    """Evaluate a trained system, or any system's predictions.

    A constant, the training median for everyone, is measured too and called the floor. The command writes metrics.json,
    predictions.csv and plots to RUN/evaluation/SPLIT, and RUN/report.html. For each stream alone, for scene+face and
    for the fusion, metrics.json gives the following for every target: 1 - MAE, MAE, R2, Pearson and CCC with 95%
    bootstrap intervals, the share of the floor's error that is removed, and the spread of the predictions. The tables
    on the terminal summarise it. Clips whose source video or person also occurs in another split, as is the case for
    most First Impressions clips, are also reported separately.

    With --protocol, the system is retrained with the run's configuration on different splits of the same clips, in
    RUN/protocols, and both results are shown. This takes as long as `crnet train`, or K times as long for K folds. If
    it is interrupted, run the same command again to continue.

    With --predictions and --labels, any system is evaluated from tables: the same metrics with intervals from a
    bootstrap of source videos, and intervals of the scores, for which each half of the clips calibrates the other
    half. Clips are joined by name, with or without .mp4 and folders. The results go to the folder evaluation beside
    P.csv: metrics.json, predictions.csv and report.html.
    """

    resumes = True

    run: OptionalRun = None
    store: OptionalStore = None
    predictions: PredictionsTable = None
    labels: LabelsTable = None
    train_labels: TrainLabels = None
    out: Annotated[
        Path | None,
        option("With --predictions: folder for the results. By default evaluation in the folder of P.csv.", "FOLDER"),
    ] = None
    split: SplitOption = "test"
    protocol: Annotated[
        str | None,
        option(
            "How clips are assigned to splits; by default as in training. video-disjoint: no source video in two "
            "splits. identity-disjoint: no person in two splits (STORE must identify the person in each clip). "
            "grouped-kfold:5: each clip is tested once, by networks that saw neither its video nor its person.",
            "PROTOCOL",
        ),
    ] = None
    allow_missing: AllowMissing = False
    device: DeviceOption = "auto"
    json: Json = False

    def __call__(self) -> int:
        """Evaluate the run, by another protocol too if one is given, or the predictions."""
        if self.run is not None and self.store is not None and self.predictions is None and self.labels is None:
            if self.out is not None or self.train_labels is not None:
                raise UsageError(
                    "--out and --train-labels belong to --predictions",
                    remedy="leave them out: results go to RUN/evaluation, and the floor is that of training",
                )
            return self._measure_run(self.run, self.store)
        if self.predictions is not None and self.labels is not None and self.run is None and self.protocol is None:
            return self._measure_tables(self.predictions, self.labels)
        raise UsageError("crnet evaluate needs a run with a store, or two tables", remedy=USAGE)

    def _measure_tables(self, predictions: Path, labels: Path) -> int:
        from crnet.cli.compare import check_results_folder, report_comparison
        from crnet.evaluation.compared_systems import join_systems, read_systems
        from crnet.evaluation.comparison import compare
        from crnet.evaluation.evaluation import EVALUATION_FOLDER, METRICS_FILE

        systems = read_systems([predictions], self.split)
        folder = self.out or predictions.parent / EVALUATION_FOLDER
        check_results_folder(folder, METRICS_FILE, systems, labels, self.train_labels)
        clips = join_systems(systems, labels, self.train_labels, allow_missing=self.allow_missing)
        return report_comparison(compare(clips), folder, METRICS_FILE, as_json=self.json)

    def _measure_run(self, run: Path, store: Path) -> int:
        from crnet.bundle.load import read_training_config
        from crnet.data.splits import SplitProtocol

        protocol = None if self.protocol is None else SplitProtocol.parse(self.protocol)
        if protocol is None or protocol == read_training_config(run)[1]:
            return self._evaluate(run, store)
        return self._compare_protocols(run, store, protocol)

    def _evaluate(self, run: Path, store: Path) -> int:
        with progress_display(self.quiet) as progress:
            evaluation, folder = self._evaluate_run(run, store, progress)
            page = _write_report(run, store, evaluation, folder, progress)
        if self.json:
            print_json(evaluation.to_dict())
        else:
            _print_evaluation(evaluation, folder, page)
        return EXIT_DONE

    def _compare_protocols(self, run: Path, store: Path, protocol: SplitProtocol) -> int:
        from crnet.cli.evaluation_tables import comparison
        from crnet.evaluation.cross_validation import evaluate_protocol

        with progress_display(self.quiet) as progress:
            own, _ = self._evaluate_run(run, store, progress)
            other, runs = evaluate_protocol(
                run,
                store,
                protocol,
                split=self.split,
                allow_missing=self.allow_missing,
                device=self.device,
                progress=progress,
            )
            pages = [_write_report(part.run_dir, store, part.evaluation, part.folder, progress) for part in runs]
        if self.json:
            print_json({"own": own.to_dict(), "protocol": other.evaluation.to_dict()})
            return EXIT_DONE
        _print_evaluation(other.evaluation, other.folder, pages[0] if len(pages) == 1 else None)
        console().print(comparison(own, other.evaluation))
        return EXIT_DONE

    def _evaluate_run(self, run: Path, store: Path, progress: Progress) -> tuple[Evaluation, Path]:
        from crnet.evaluation.evaluate import evaluate_run

        return evaluate_run(
            run,
            store,
            split=self.split,
            allow_missing=self.allow_missing,
            device=self.device,
            progress=progress,
        )


def _print_evaluation(evaluation: Evaluation, folder: Path, page: Path | None) -> None:
    from crnet.cli.evaluation_tables import tables

    screen = console()
    for warning in evaluation.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False)
    for table in tables(evaluation):
        screen.print(table)
    screen.print(f"fusion: {evaluation.fusion}", highlight=False)
    report = "" if page is None else f"; report: {page}"
    screen.print(f"all figures: {folder}{report}", highlight=False)


def _write_report(run: Path, store: Path, evaluation: Evaluation, folder: Path, progress: Progress) -> Path | None:
    """Write plots and report of an evaluation; None if the packages for them are missing."""
    try:
        from crnet.report.run_report import write_run_report
    except ModuleNotFoundError as error:
        module = error.name or str(error)
        print(f"no plots and no report: {module} is not installed ({install_command(module)})", file=sys.stderr)
        return None
    return write_run_report(run, store, evaluation, folder, progress)
