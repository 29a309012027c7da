"""`python -m benchmarks evidence`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.evidence.records import effects_of, experiment_records, experiment_runs, record_line
from benchmarks.evidence.registrations import EXPERIMENTS, registration_of
from benchmarks.evidence.tables import JudgedClaim, systems_table, verdict_table
from benchmarks.evidence.verdicts import combine
from benchmarks.measurements import Measurement
from crnet.cli.progress import progress_display
from crnet.utils.files import write_text

PICTURES = "pictures"
DEFAULT = tuple(experiment for experiment in EXPERIMENTS if experiment != PICTURES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder and the experiments."""
    parser.add_argument("out", type=Path, help="folder for the records and the tables")
    parser.add_argument(
        "--experiment",
        choices=EXPERIMENTS,
        action="append",
        help=f"the experiment to run; repeatable (default: {', '.join(DEFAULT)})",
    )


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Run the experiments, write the tables of each, and yield the effect of every claim in every world."""
    for experiment in options.experiment or DEFAULT:
        records = _all_records(experiment, options.out)
        judged = judge(experiment, records)
        text = f"# {experiment.capitalize()}\n\n{verdict_table(judged)}\n{systems_table(records)}"
        write_text(options.out / f"{experiment}.md", text)
        write_text(options.out / f"{experiment}.jsonl", "".join(map(record_line, records)))
        for item in judged:
            effect = item.effect
            detail = {"low": effect.low, "high": effect.high, "seeds": effect.seeds, "verdict": item.verdict_text}
            name = f"evidence: {item.claim.name}, {item.world}"
            yield Measurement(name, effect.mean, "", None, f"{item.claim.smallest:g} ({item.role})", detail=detail)


def _all_records(experiment: str, out: Path) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    total = len(experiment_runs(experiment, out)) * len(registration_of(experiment).seeds[experiment])
    with progress_display() as progress:
        for record in experiment_records(experiment, out):
            records.append(record)
            progress(experiment, len(records), total, f"{record['world']}, seed {record['seed']}")
    return records


def judge(experiment: str, records: list[dict[str, Any]]) -> list[JudgedClaim]:
    """Return the effect of every claim of an experiment in each of its worlds."""
    registration, same_clips = registration_of(experiment), experiment == PICTURES
    return [
        JudgedClaim(
            claim,
            world,
            combine(effects_of(records, claim, world), registration.error_share, same_clips=same_clips),
        )
        for claim in registration.claims_of(experiment)
        for world in claim.worlds
    ]
