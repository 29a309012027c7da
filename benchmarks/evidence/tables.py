"""Tables of the pre-registration and of the verdicts, in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.evidence.registration import OUTCOMES, RegisteredClaim
from benchmarks.evidence.registrations import Registration
from benchmarks.evidence.verdicts import Effect
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable
from crnet.utils.number_format import decimal, difference

CONTROL, NULL, OTHER = "positive control", "null control", "neither"


@dataclass(frozen=True)
class JudgedClaim:
    """A claim in one world.

    Attributes:
        claim: The claim.
        world: The world.
        effect: The effect there.
    """

    claim: RegisteredClaim
    world: str
    effect: Effect

    @property
    def role(self) -> str:
        """What the world is for this claim."""
        return {self.claim.control: CONTROL, self.claim.null: NULL}.get(self.world, OTHER)

    @property
    def verdict_text(self) -> str:
        """The verdict, with the sign of an effect that is smaller than the one of interest."""
        verdict = self.effect.verdict(self.claim.smallest)
        if verdict != "absent":
            return verdict
        sign = ", below 0" if self.effect.high < 0 else ", above 0 but smaller" if self.effect.low > 0 else ""
        return f"absent{sign}"


def registration_tables(registration: Registration) -> str:
    """Return the claims of a registration as Markdown, with a table for each experiment."""
    parts = []
    for experiment, seeds in registration.seeds.items():
        rows = tuple(
            RenderedRow(
                (
                    claim.name, claim.text, claim.source, claim.outcome, f"{claim.better} against {claim.worse}",
                    claim.control or "none known", claim.null or "none", "; ".join(claim.others),
                    f"{difference(claim.smallest)} ({claim.reason})",
                )
            )
            for claim in registration.claims_of(experiment)
        )  # fmt: skip
        header = (
            "", "claim", "source", "outcome", "systems", "positive control", "null control", "other worlds",
            "smallest effect of interest",
        )  # fmt: skip
        table = RenderedTable(experiment, header, rows, text_columns=len(header))
        parts.append(f"### {experiment.capitalize()}, {len(seeds)} seeds\n\n{table.to_markdown()}")
    return "\n".join(parts)


def verdict_table(judged: Sequence[JudgedClaim]) -> str:
    """Return effects and verdicts as Markdown."""
    rows = tuple(
        RenderedRow(
            (
                item.claim.name,
                f"{item.claim.text} ({item.claim.source})",
                item.claim.outcome,
                item.world if item.role == OTHER else f"{item.world}: {item.role}",
                difference(item.effect.mean),
                f"{difference(item.effect.low)} to {difference(item.effect.high)}",
                difference(item.claim.smallest),
                item.verdict_text,
            )
        )
        for item in judged
    )
    header = ("", "claim", "outcome", "world", "effect", "interval", "of interest", "verdict")
    return RenderedTable("verdicts", header, rows, text_columns=4).to_markdown()


def systems_table(records: Sequence[dict[str, Any]]) -> str:
    """Return the mean outcomes of every system in every world of an experiment as Markdown."""
    rows = []
    for world in dict.fromkeys(record["world"] for record in records):
        of_world = [record["systems"] for record in records if record["world"] == world]
        for system in of_world[0]:
            means = {name: float(np.mean([systems[system][name] for systems in of_world])) for name in OUTCOMES}
            rows.append(RenderedRow((world, system, *(decimal(means[name]) for name in OUTCOMES))))
    return RenderedTable("systems", ("world", "system", *OUTCOMES), tuple(rows), text_columns=2).to_markdown()
