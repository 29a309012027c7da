"""`crnet audit`: compare a system's scores between groups of people."""

from __future__ import annotations

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
    Resamples,
    SplitOption,
    check_resamples,
    option,
)
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console, print_json
from crnet.errors import UsageError

if TYPE_CHECKING:
    from crnet.audit import audit as audit_module
    from crnet.audit.clips import AuditClips

USAGE = "usage: crnet audit RUN STORE, or crnet audit --predictions P.csv --labels L.csv --groups G.csv"


@dataclass(frozen=True)
class Audit(Command):
    """Compare a system's scores between groups of people.

    Audits a trained run on a clip store whose manifest names groups, or any system from tables: its predictions, the
    labels, and the groups of the clips. Labels and scores stand side by side, because the raters' own gap is in the
    labels. For each grouping and each pair of groupings, the audit gives metrics, impact ratios as New York City's
    Local Law 144 defines them for scores, and differences with intervals that are corrected for the number of
    comparisons. It also says which differences would have been missed. It writes audit.json, audit.csv and
    report.html. docs/trust.md says what an audit can show.
    """

    run: OptionalRun = None
    store: OptionalStore = None
    predictions: PredictionsTable = None
    labels: LabelsTable = None
    groups: Annotated[
        tuple[Path, ...],
        option(
            "Groups of the people: CSVs with the columns clip, group_... and optionally person, or the release's "
            "eth_gender_annotations_*.csv. Several tables are joined. With RUN and STORE, they replace the groups of "
            "the store.",
            "G.csv ...",
        ),
    ] = ()
    out: Annotated[
        Path | None,
        option("Folder for the results. By default RUN/audit/SPLIT, or audit in the folder of P.csv.", "FOLDER"),
    ] = None
    split: SplitOption = "test"
    resamples: Resamples = 2000
    allow_missing: AllowMissing = False
    device: DeviceOption = "auto"
    json: Json = False

    def __call__(self) -> int:
        """Audit the run or the tables, and write the results."""
        from crnet.audit import AUDIT_FOLDER
        from crnet.audit.audit import audit, write_audit
        from crnet.report.audit_page import write_audit_page

        check_resamples(self.resamples)
        if self.predictions is None and self.labels is None and self.run is not None and self.store is not None:
            folder = self._results_folder(self.run / AUDIT_FOLDER / self.split)
            clips = self._clips_of_run(self.run, self.store)
        elif self.predictions is not None and self.labels is not None and self.groups and self.run is None:
            from crnet.audit.clips import clips_of_tables

            folder = self._results_folder(self.predictions.parent / AUDIT_FOLDER)
            clips = clips_of_tables(self.predictions, self.labels, self.groups)
        else:
            raise UsageError("crnet audit needs a run with a store, or three tables", remedy=USAGE)
        result = audit(clips, resamples=self.resamples)
        write_audit(result, folder)
        page = write_audit_page(result, folder)
        if self.json:
            print_json(result.to_dict())
        else:
            _print_audit(result, folder, page)
        return EXIT_DONE

    def _results_folder(self, default: Path) -> Path:
        """Return the folder of the results.

        Raises:
            UsageError: The results would overwrite a table of groups, labels or predictions.
        """
        from crnet.audit import AUDIT_FILE
        from crnet.audit.audit import TABLE_FILE
        from crnet.utils.path_checks import refuse_overwriting

        folder = self.out or default
        refuse_overwriting((self.predictions, self.labels, *self.groups), folder, (AUDIT_FILE, TABLE_FILE))
        return folder

    def _clips_of_run(self, run: Path, store: Path) -> AuditClips:
        from crnet.audit.clips import clips_of_run

        with progress_display(self.quiet) as progress:
            return clips_of_run(
                run,
                store,
                self.split,
                self.groups,
                allow_missing=self.allow_missing,
                device=self.device,
                progress=progress,
            )


def _print_audit(result: audit_module.Audit, folder: Path, page: Path) -> None:
    from crnet.cli.audit_tables import difference_table, ratio_tables
    from crnet.report.audit_page import headline

    screen = console()
    for warning in result.clips.warnings:
        screen.print(f"warning: {warning}", style="yellow", highlight=False, markup=False)
    for table in ratio_tables(result):
        screen.print(table)
    if result.differences.found:
        screen.print(difference_table(result))
    screen.print(headline(result), highlight=False, markup=False)
    screen.print(f"all figures: {folder}; report: {page}", highlight=False, markup=False)
