"""`crnet compare`: measure systems on the same clips and test their differences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, Json, LabelsTable, SplitOption, TrainLabels, check_resamples, option
from crnet.cli.terminal import console, print_json
from crnet.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crnet.evaluation.compared_systems import SystemTables
    from crnet.evaluation.comparison import Comparison


@dataclass(frozen=True)
class Compare(Command):
    """Compare systems on the same clips.

    A system is a run that `crnet evaluate` has measured, or a CSV of any system's predictions. Clips are joined by
    name, with or without .mp4 and folders, and every system is measured on the clips that all of them score; the
    command says what did not match. It prints every metric with its 95% interval from a bootstrap of source videos (of
    persons if they are known), the floor beside it, and the differences of all pairs of systems from the same resamples
    (a paired bootstrap) with p-values. Intervals of the scores are calibrated on each half of the clips for the other
    half, and their coverage is measured. It writes comparison.json, predictions.csv and report.html.
    """

    systems: Annotated[
        Positional[tuple[Path, ...]],
        option("Evaluated runs and CSVs of predictions, the reference first.", "SYSTEM ..."),
    ] = ()
    labels: LabelsTable = None
    train_labels: TrainLabels = None
    out: Annotated[Path, option("Folder for the results.", "FOLDER")] = Path("comparison")
    split: SplitOption = "test"
    resamples: Annotated[
        int | None,
        option("Number of bootstrap resamples. By default 1000; more if many pairs of systems need them.", "N"),
    ] = None
    json: Json = False

    def __call__(self) -> int:
        """Compare the systems and write the results."""
        from crnet.evaluation.compared_systems import join_systems, read_systems
        from crnet.evaluation.comparison import COMPARISON_FILE, compare
        from crnet.evaluation.paired_bootstrap import enough_resamples

        if self.resamples is not None:
            check_resamples(self.resamples)
        if len(self.systems) < 2:
            raise UsageError(
                "crnet compare needs two systems or more",
                remedy="usage: crnet compare SYSTEM SYSTEM ...; crnet evaluate measures a single one",
            )
        systems = read_systems(self.systems, self.split)
        check_results_folder(self.out, COMPARISON_FILE, systems, self.labels, self.train_labels)
        clips = join_systems(systems, self.labels, self.train_labels, allow_missing=True)
        split = self.split if any(system.labels for system in systems) else None
        comparison = compare(clips, split=split, resamples=enough_resamples(len(systems), self.resamples))
        return report_comparison(comparison, self.out, COMPARISON_FILE, as_json=self.json)


def check_results_folder(folder: Path, name: str, systems: Sequence[SystemTables], *labels: Path | None) -> None:
    """Refuse a folder in which `report_comparison` would overwrite the predictions of a system, or labels.

    Raises:
        UsageError: It would.
    """
    from crnet.evaluation.evaluation import PREDICTIONS_FILE
    from crnet.report.comparison_page import TABLES
    from crnet.utils.path_checks import refuse_overwriting

    read = [*(system.predictions.path for system in systems), *labels]
    refuse_overwriting(read, folder, (name, PREDICTIONS_FILE, *TABLES))


def report_comparison(comparison: Comparison, folder: Path, name: str, *, as_json: bool) -> int:
    """Write a comparison into a folder, with its numbers in the file `name`, and print it; return the exit code."""
    from crnet.evaluation.comparison import write_comparison
    from crnet.report.comparison_page import write_comparison_page

    write_comparison(comparison, folder, name)
    page = write_comparison_page(comparison, folder, name)
    if as_json:
        print_json(comparison.to_dict())
        return EXIT_DONE
    from crnet.cli.comparison_tables import comparison_tables

    screen = console()
    for warning in comparison.clips.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    for table in comparison_tables(comparison):
        screen.print(table)
    screen.print(f"floor: {comparison.clips.floor}", highlight=False, markup=False)
    screen.print(f"all figures: {folder}; report: {page}", highlight=False, markup=False)
    return EXIT_DONE
