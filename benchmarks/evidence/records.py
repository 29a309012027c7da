"""Run the registered experiments, and keep one record for each run, so that a stopped command resumes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.evidence import heads, pictures, regressors, streams
from benchmarks.evidence.registration import OUTCOMES, RegisteredClaim
from benchmarks.evidence.registrations import registration_of
from benchmarks.evidence.verdicts import SeedEffect, outcome_value, seed_effect
from benchmarks.evidence.worlds import Clips, Scores
from crnet.errors import FormatError
from crnet.types import TARGETS, TRAIT_INDICES
from crnet.utils.files import read_json, write_json
from crnet.utils.resumable import as_json, short_fingerprint

Run = Callable[[int], tuple[Clips, Mapping[str, Scores]]]
"""Returns the test clips of a seed, and their scores by each system."""

RUNS_VERSION = 1
"""Increase it if the same seed gives other results than before."""


def experiment_runs(experiment: str, out: Path) -> Mapping[str, Run]:
    """Return the runs of an experiment by the name of the world."""
    if experiment == "losses":
        return {name: partial(heads.run, heads.LOSSES, world) for name, world in heads.LOSS_WORLDS.items()}
    if experiment == "heads":
        groups = ((heads.HEADS, heads.HEAD_WORLDS), (heads.COMPARED_WITH_BELL, heads.BOTH_WORLDS))
        return {name: partial(heads.run, of, world) for of, worlds in groups for name, world in worlds.items()}
    if experiment == "streams":
        return {name: partial(streams.run, setting) for name, setting in streams.SETTINGS.items()}
    if experiment == "regressors":
        return {name: partial(regressors.run, draw) for name, draw in regressors.WORLDS.items()}
    if experiment == "heads-2":
        return heads.second_runs()
    if experiment == "streams-2":
        return {name: partial(streams.run, setting) for name, setting in streams.SECOND_SETTINGS.items()}
    if experiment == "streams-3":
        return {name: partial(streams.run, setting) for name, setting in streams.THIRD_SETTINGS.items()}
    if experiment == "regressors-2":
        return {name: partial(regressors.run, draw) for name, draw in regressors.SECOND_WORLDS.items()}
    return {name: partial(pictures.run, name, folder=out / "pictures") for name in pictures.WORLDS}


def experiment_records(experiment: str, out: Path) -> Iterator[dict[str, Any]]:
    """Run every world of an experiment with every seed, unless its record exists, and yield the records."""
    registration = registration_of(experiment)
    for world, run in experiment_runs(experiment, out).items():
        claims = [claim for claim in registration.claims_of(experiment) if world in claim.worlds]
        for seed in registration.seeds[experiment]:
            yield _record(
                out / "records" / experiment / f"{world.replace(':', '-')}-{seed}.json", world, claims, run, seed
            )


def record_line(record: dict[str, Any]) -> str:
    """Return a record as a line of JSON, with eight decimals; docs/evidence holds those of the published runs."""
    systems = {name: _rounded(outcomes) for name, outcomes in record["systems"].items()}
    effects = {name: _rounded(effect) for name, effect in record["effects"].items()}
    return json.dumps({**record, "systems": systems, "effects": effects}) + "\n"


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 8) for name, value in values.items()}


def _record(path: Path, world: str, claims: list[RegisteredClaim], run: Run, seed: int) -> dict[str, Any]:
    settings = run_settings(world, seed, claims)
    if path.is_file():
        document: dict[str, Any] = read_json(path, "a record of a run")
        if document.get("settings") == settings:
            return document
    test, scores = run(seed)
    record = {"settings": settings, "world": world, "seed": seed, **compare(test, scores, claims)}
    write_json(path, record)
    return record


def run_settings(world: str, seed: int, claims: list[RegisteredClaim]) -> str:
    """Return the fingerprint of what a record depends on; a record of other claims is not used again."""
    return short_fingerprint([RUNS_VERSION, world, seed, [as_json(asdict(claim)) for claim in claims]])


def compare(test: Clips, scores: Mapping[str, Scores], claims: list[RegisteredClaim]) -> dict[str, Any]:
    """Return the outcomes of every system and the effects of the claims, as a record holds them."""
    columns = TRAIT_INDICES if test.scores.shape[1] == len(TARGETS) else slice(None)
    truth = test.scores[:, columns]
    by_system = {name: values[:, columns] for name, values in scores.items()}
    return {
        "systems": {
            name: {outcome: outcome_value(outcome, values, truth) for outcome in OUTCOMES}
            for name, values in by_system.items()
        },
        "effects": {
            claim.name: asdict(
                seed_effect(claim.outcome, by_system[claim.better], by_system[claim.worse], truth, test.people)
            )
            for claim in claims
        },
    }


def effects_of(records: list[dict[str, Any]], claim: RegisteredClaim, world: str) -> list[SeedEffect]:
    """Return the effect of a claim in a world, for each seed.

    Raises:
        FormatError: A record lacks it.
    """
    try:
        return [SeedEffect(**record["effects"][claim.name]) for record in records if record["world"] == world]
    except (KeyError, TypeError) as error:
        raise FormatError(f"a record of the world {world!r} lacks the effect {claim.name}") from error
