"""Ranks of systems and the best value of each column, as in the paper's Table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from crnet.experiments.columns import COLUMNS
from crnet.experiments.rendering.rendered_table import RenderedRow
from crnet.metrics import AVERAGE
from crnet.utils.number_format import DIGITS

ScoredRow = tuple[RenderedRow, Mapping[str, float | None]]
"""A row of a table and its scores by column; empty for a row that takes no part in the ranking."""


def with_ranks(rows: Sequence[ScoredRow], place: int) -> list[RenderedRow]:
    """Return the rows with a cell for the rank, and with the best values in bold.

    Rows of one kind (measured, printed) are ranked by their average, as rounded for the table, so rows that show the
    same average share a rank. A printed system that several rows repeat counts once.

    Args:
        rows: The rows with their scores. The cells of `COLUMNS` begin at `place`.
        place: Place of the new cell.
    """
    shown = [_as_shown(scores) for _, scores in rows]
    systems: dict[str, list[dict[str, float]]] = {}
    for (row, _), scores in zip(rows, shown, strict=True):
        of_kind = systems.setdefault(row.kind, [])
        if AVERAGE in scores and not (row.kind == "paper" and scores in of_kind):
            of_kind.append(scores)
    return [_ranked(row, scores, systems[row.kind], place) for (row, _), scores in zip(rows, shown, strict=True)]


def _as_shown(scores: Mapping[str, float | None]) -> dict[str, float]:
    """Return the scores that a row shows, rounded as it shows them."""
    return {name: round(value, DIGITS) for name in COLUMNS if (value := scores.get(name)) is not None}


def _ranked(
    row: RenderedRow, scores: Mapping[str, float], systems: Sequence[Mapping[str, float]], place: int
) -> RenderedRow:
    rank = ""
    if AVERAGE in scores:
        rank = str(1 + sum(system[AVERAGE] > scores[AVERAGE] for system in systems))
    best = {
        name for name, value in scores.items() if all(system[name] <= value for system in systems if name in system)
    }
    bold = frozenset(place + 1 + COLUMNS.index(name) for name in best)
    return replace(row, cells=(*row.cells[:place], rank, *row.cells[place:]), bold=bold)
