"""Write the files beside the clips: annotations as in the official release, and the simulator's true values."""

from __future__ import annotations

import csv
import io
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crnet.data.sources.release_names import (
    DEMOGRAPHICS_COLUMNS,
    DEMOGRAPHICS_SPLITS,
    ETHNICITY_CODES,
    GENDER_CODES,
    PERSONS_COLUMNS,
    PERSONS_NAME,
    annotation_name,
    demographics_name,
    transcription_name,
)
from crnet.simulate.cues import CUES
from crnet.simulate.planning import ClipPlan
from crnet.types import SPLITS, TARGETS
from crnet.utils.files import atomic_write, write_bytes, write_text

OFFICIAL_KEYS = ("extraversion", "neuroticism", "agreeableness", "conscientiousness", "interview", "openness")
PICKLE_PROTOCOL = 2


def write_labels(out: Path, plans: Sequence[ClipPlan]) -> None:
    """Write annotations, transcripts, groups and persons into `out`."""
    for split in SPLITS:
        split_plans = [plan for plan in plans if plan.split == split]
        write_bytes(out / annotation_name(split), _pickled(_annotation(split_plans)))
        transcripts = {plan.name: plan.transcript for plan in split_plans}
        write_bytes(out / transcription_name(split), _pickled(transcripts))
    for part, splits in DEMOGRAPHICS_SPLITS.items():
        rows = [
            (p.name, p.video_id, ETHNICITY_CODES[p.look.ethnicity.lower()], GENDER_CODES[p.look.gender])
            for p in plans
            if p.split in splits
        ]
        write_text(out / demographics_name(part), _table(DEMOGRAPHICS_COLUMNS, rows))
    write_text(out / PERSONS_NAME, _table(PERSONS_COLUMNS, [(p.name, f"{p.person:05d}") for p in plans]))


def write_truth(out: Path, plans: Sequence[ClipPlan]) -> None:
    """Write truth.parquet into `out`."""
    with atomic_write(out / "truth.parquet") as temporary:
        pq.write_table(truth_table(plans), temporary)


def truth_table(plans: Sequence[ClipPlan]) -> pa.Table:
    """Return everything that decided each clip: `score_*` (the labels), `unbiased_*`, `latent_*`, `cue_*`, `look_*`.

    If some clips are uninformative, the column `uninformative` marks them.
    """
    marks_uninformative = any(plan.uninformative for plan in plans)
    rows = [
        {
            "clip": plan.name,
            "split": plan.split,
            "person": f"{plan.person:05d}",
            **({"uninformative": plan.uninformative} if marks_uninformative else {}),
            **{f"score_{target}": score for target, score in zip(TARGETS, plan.scores, strict=True)},
            **{f"unbiased_{target}": score for target, score in zip(TARGETS, plan.unbiased, strict=True)},
            **{f"latent_{cue.name}": latent for cue, latent in zip(CUES, plan.latents, strict=True)},
            **{f"cue_{name}": value for name, value in plan.cues.items()},
            **{f"look_{name}": value for name, value in asdict(plan.look).items()},
        }
        for plan in plans
    ]
    return pa.Table.from_pylist(rows)


def _annotation(plans: Sequence[ClipPlan]) -> dict[str, dict[str, float]]:
    """Return `{target: {clip: score}}` in the release's order of keys; its interview scores are NumPy numbers."""
    table: dict[str, dict[str, float]] = {}
    for key in OFFICIAL_KEYS:
        column = TARGETS.index(key)
        kind = np.float64 if key == "interview" else float
        table[key] = {plan.name: kind(plan.scores[column]) for plan in plans}
    return table


def _pickled(document: object) -> bytes:
    return pickle.dumps(document, protocol=PICKLE_PROTOCOL)


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()
