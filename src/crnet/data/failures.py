"""`failures.csv`: which clips of a data set could not be prepared."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from crnet.data.manifest import Manifest
from crnet.errors import FormatError
from crnet.types import Split

FAILURES_NAME = "failures.csv"


def missing_clips(manifest: Manifest, splits: Collection[Split], store: Path) -> tuple[str, ...]:
    """Annotated clips of these splits of the data set that are not in the store.

    Raises:
        FormatError: The list of failures is damaged.
    """
    path = store / FAILURES_NAME
    if not path.is_file():
        return ()
    prepared = {row.clip_id for row in manifest.clips}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            failed = [row["clip"] for row in csv.DictReader(file) if row["split"] in splits]
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise FormatError(f"cannot be read as a list of failures: {error}", path=path) from error
    return tuple(sorted(set(failed) - prepared - {""}))
