"""Names and codes in the files of the First Impressions v2 release. Simulated datasets have the same layout."""

from __future__ import annotations

import re

from crnet.types import Split

SPLIT_NAMES: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}
"""The release's own names of the splits."""
LABELS_PATTERN = re.compile(r"(annotation|transcription)_(training|validation|test)\.pkl$")

DEMOGRAPHICS_PATTERN = re.compile(r"eth_gender_annotations_\w+\.csv$")
DEMOGRAPHICS_SPLITS: dict[str, tuple[Split, ...]] = {"dev": ("train", "val"), "test": ("test",)}
DEMOGRAPHICS_COLUMNS = ("VideoName", "YouTubeID", "Ethnicity", "Gender")
GENDER_CODES = {"male": 1, "female": 2}
ETHNICITY_CODES = {"asian": 1, "caucasian": 2, "african-american": 3}

# Simulated datasets only:
PERSONS_NAME = "persons.csv"
PERSONS_COLUMNS = ("VideoName", "Person")
SIMULATED_MARKER = "simulated.json"
SIMULATED_FORMAT = 1
"""Version of the layout, which the marker records."""


def annotation_name(split: Split) -> str:
    """Return the name of the file with the scores of a split."""
    return f"annotation_{SPLIT_NAMES[split]}.pkl"


def transcription_name(split: Split) -> str:
    """Return the name of the file with the transcripts of a split."""
    return f"transcription_{SPLIT_NAMES[split]}.pkl"


def demographics_name(part: str) -> str:
    """Return the name of the file with the perceived groups of a part of the data: "dev" or "test"."""
    return f"eth_gender_annotations_{part}.csv"
