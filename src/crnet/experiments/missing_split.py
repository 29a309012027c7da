"""The error for a clip store without clips in one of the three splits."""

from __future__ import annotations

from pathlib import Path

from crnet.data.manifest import Manifest
from crnet.errors import LabelError
from crnet.types import DataSource, Split

USES: dict[Split, str] = {
    "train": "trains the networks",
    "val": "selects the best epoch of every network",
    "test": "all numbers are measured on",
}
REMEDIES: dict[DataSource, str] = {
    "simulated": "simulate more clips",
    "first-impressions-v2": (
        "add the videos and the annotation of that split to the data set, with the key if their zips are encrypted "
        "(docs/data.md), and prepare it again"
    ),
    "folder": "write {split} into the column split for some clips and prepare them again",
}
"""What gives a store clips of a split, by the kind of its clips."""


def missing_split(manifest: Manifest, split: Split, store: Path) -> LabelError:
    """Return the error for a store that has no clip in a split, with the ways to give it some."""
    remedy = REMEDIES[manifest.source].format(split=split)
    if any(row.scores is not None for row in manifest.clips):
        remedy += ", or give --protocol grouped-kfold:5 to divide the annotated clips anew"
    return LabelError(f"no clip belongs to the {split} split, which {USES[split]}", path=store, remedy=remedy)
