"""`failures.csv` and `locked.csv`: the labelled clips of a dataset that are missing from its store, and why."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from crnet.data.clip_rows import light_rows
from crnet.data.manifest import Manifest
from crnet.data.sources.dataset import Failure, LabelledClip
from crnet.errors import FormatError
from crnet.types import Split
from crnet.utils.csv_cells import neutral_cell, original_cell
from crnet.utils.files import write_text
from crnet.utils.storage import as_path

FAILURES_NAME = "failures.csv"
LOCKED_NAME = "locked.csv"


def write_failures(store: Path, failures: Collection[Failure], clips: Mapping[str, LabelledClip]) -> None:
    """Write `failures.csv`.

    Args:
        store: The clip store.
        failures: Its rows.
        clips: The clips of the dataset, which say to which split a failed clip belongs.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("clip", "path", "reason", "remedy", "split"))
    for failure in failures:
        split = clips[failure.clip].split if failure.clip in clips else None
        cells = (failure.clip, failure.path, failure.reason, failure.remedy, split or "")
        writer.writerow([neutral_cell(cell) for cell in cells])
    write_text(store / FAILURES_NAME, text.getvalue())


def write_locked(store: Path, clips: Iterable[LabelledClip]) -> None:
    """Write `locked.csv`, the clips that may be in encrypted archives without a key; no file if there are none.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    rows = sorted((clip.clip_id, clip.split or "") for clip in clips)
    if not rows:
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("clip", "split"), *((neutral_cell(clip), split) for clip, split in rows)])
    write_text(store / LOCKED_NAME, text.getvalue())


def missing_clips(manifest: Manifest, splits: Collection[Split], store: Path | str) -> tuple[str, ...]:
    """Return the annotated clips of these splits of the dataset that are missing from the store.

    Raises:
        FormatError: The list of failures or of locked clips is damaged.
    """
    rows = [row for name in (FAILURES_NAME, LOCKED_NAME) for row in _read_rows(as_path(store) / name)]
    missing = {clip for clip, split in rows if split in splits}
    missing -= {""}
    if missing:
        missing.difference_update(row.clip_id for row in light_rows(manifest.clips))
    return tuple(sorted(missing))


def _read_rows(path: Path) -> list[tuple[str, str]]:
    """Return clip and split of each row; no rows if there is no file."""
    if not path.is_file():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [(original_cell(row["clip"]), row["split"]) for row in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise FormatError(f"cannot be read as a list of missing clips: {error}", path=path) from error
