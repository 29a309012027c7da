"""`failures.csv`: the clips of a dataset that could not be prepared."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path

from crnet.data.manifest import Manifest
from crnet.data.sources.dataset import Failure, LabelledClip
from crnet.errors import FormatError
from crnet.types import Split
from crnet.utils.files import write_text

FAILURES_NAME = "failures.csv"


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
        writer.writerow((failure.clip, failure.path, failure.reason, failure.remedy, split or ""))
    write_text(store / FAILURES_NAME, text.getvalue())


def missing_clips(manifest: Manifest, splits: Collection[Split], store: Path | str) -> tuple[str, ...]:
    """Return the annotated clips of these splits of the dataset that are missing from the store.

    Raises:
        FormatError: The list of failures is damaged.
    """
    path = Path(store) / FAILURES_NAME
    if not path.is_file():
        return ()
    prepared = {row.clip_id for row in manifest.clips}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            failed = [row["clip"] for row in csv.DictReader(file) if row["split"] in splits]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise FormatError(f"cannot be read as a list of failures: {error}", path=path) from error
    return tuple(sorted(set(failed) - prepared - {""}))
