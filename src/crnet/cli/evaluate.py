"""`crnet evaluate`: measure a trained system."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import AllowMissing, Command, DeviceOption, Json, RunFolder, SplitOption, Store, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console, print_json
from crnet.utils.extras import install_command

if TYPE_CHECKING:
    from crnet.data.splits import SplitProtocol
    from crnet.evaluation.evaluation import Evaluation
    from crnet.utils.progress import Progress


@dataclass(frozen=True)
class Evaluate(Command):
    """Evaluate a trained system and compare it with a constant.

    The constant, called the floor, predicts the training median for everyone. The command writes metrics.json,
    predictions.csv and plots to RUN/evaluation/SPLIT, and RUN/report.html. For each stream alone, for scene+face and
    for the fusion, metrics.json gives the following for every target: 1 - MAE, MAE, R2, Pearson and CCC with 95%
    bootstrap intervals, the share of the floor's error that is removed, and the spread of the predictions. The tables
    on the terminal summarise it. Clips whose source video or person also occurs in another split, as is the case for
    most First Impressions clips, are also reported separately.

    With --protocol, the system is retrained with the run's configuration on different splits of the same clips, in
    RUN/protocols, and both results are shown. This takes as long as `crnet train`, or K times as long for K folds. If
    it is interrupted, run the same command again to continue.
    """

    resumes = True

    run: RunFolder
    store: Store
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
        """Evaluate the run, by another protocol too if one is given."""
        from crnet.bundle.load import read_training_config
        from crnet.data.splits import SplitProtocol

        protocol = None if self.protocol is None else SplitProtocol.parse(self.protocol)
        if protocol is None or protocol == read_training_config(self.run)[1]:
            return self._evaluate()
        return self._compare_protocols(protocol)

    def _evaluate(self) -> int:
        with progress_display(self.quiet) as progress:
            evaluation, folder = self._evaluate_run(progress)
            page = _write_report(self.run, self.store, evaluation, folder, progress)
        if self.json:
            print_json(evaluation.to_dict())
        else:
            _print_evaluation(evaluation, folder, page)
        return EXIT_DONE

    def _compare_protocols(self, protocol: SplitProtocol) -> int:
        from crnet.cli.evaluation_tables import comparison
        from crnet.evaluation.cross_validation import evaluate_protocol

        with progress_display(self.quiet) as progress:
            own, _ = self._evaluate_run(progress)
            other, runs = evaluate_protocol(
                self.run,
                self.store,
                protocol,
                split=self.split,
                allow_missing=self.allow_missing,
                device=self.device,
                progress=progress,
            )
            pages = [_write_report(run.run_dir, self.store, run.evaluation, run.folder, progress) for run in runs]
        if self.json:
            print_json({"own": own.to_dict(), "protocol": other.evaluation.to_dict()})
            return EXIT_DONE
        _print_evaluation(other.evaluation, other.folder, pages[0] if len(pages) == 1 else None)
        console().print(comparison(own, other.evaluation))
        return EXIT_DONE

    def _evaluate_run(self, progress: Progress) -> tuple[Evaluation, Path]:
        from crnet.evaluation.evaluate import evaluate_run

        return evaluate_run(
            self.run,
            self.store,
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
