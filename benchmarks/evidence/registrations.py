"""The registrations: each was committed before any of its own runs, and none changed after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.evidence.registration import CLAIMS, FAMILY_ERROR, SEEDS, RegisteredClaim, error_share
from benchmarks.evidence.second_registration import SECOND_CLAIMS, SECOND_SEEDS
from benchmarks.evidence.third_registration import THIRD_CLAIMS, THIRD_SEEDS


@dataclass(frozen=True)
class Registration:
    """Claims that were registered together.

    Attributes:
        claims: The claims.
        seeds: Seeds of each of their experiments.
        error_share: Chance that a single interval misses its effect; the intervals registered together share
            `FAMILY_ERROR`.
    """

    claims: tuple[RegisteredClaim, ...]
    seeds: Mapping[str, range]
    error_share: float

    def claims_of(self, experiment: str) -> list[RegisteredClaim]:
        """Return the claims that an experiment tests."""
        return [claim for claim in self.claims if claim.experiment == experiment]


FIRST = Registration(CLAIMS, {experiment: range(count) for experiment, count in SEEDS.items()}, error_share())
SECOND = Registration(SECOND_CLAIMS, SECOND_SEEDS, FAMILY_ERROR / sum(len(claim.worlds) for claim in SECOND_CLAIMS))
THIRD = Registration(THIRD_CLAIMS, THIRD_SEEDS, FAMILY_ERROR / sum(len(claim.worlds) for claim in THIRD_CLAIMS))
REGISTRATIONS = (FIRST, SECOND, THIRD)
EXPERIMENTS = tuple(experiment for registration in REGISTRATIONS for experiment in registration.seeds)


def registration_of(experiment: str) -> Registration:
    """Return the registration that an experiment belongs to."""
    return next(registration for registration in REGISTRATIONS if experiment in registration.seeds)
