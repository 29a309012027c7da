"""Tables of verdicts, which say which claims hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from crnet.experiments.claims import REVERSED, SIGNIFICANCE_LEVEL, TOO_FEW, UNDECIDED, YES, Verdict
from crnet.experiments.rendering.csv_text import csv_text
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable, write_table
from crnet.utils.number_format import difference, p_text
from crnet.utils.text_format import join_words

HEADER = ("claim", "source", "paper", "ours", "seeds", "p", "holds?")
HOW_TO_READ = (
    "Differences are in 1 - MAE, or in the share that a claim names. p is from a one-sided paired bootstrap over the "
    "test clips with errors averaged over the seeds; it covers the sampling of clips, not the randomness of training. "
    f"A claim holds if p is below {SIGNIFICANCE_LEVEL} and every seed agrees; its reverse holds if p is above "
    f"{1 - SIGNIFICANCE_LEVEL} and no seed agrees. Among many claims, some pass either way by chance."
)
_SUMMARY_WORDS = {  # for one claim, and for several
    YES: ("holds", "hold"),
    UNDECIDED: ("is undecided", "are undecided"),
    REVERSED: ("is reversed", "are reversed"),
    TOO_FEW: ("has too few clips", "have too few clips"),
}


def claims_section(folder: Path, name: str, verdicts: Sequence[Verdict]) -> tuple[str, list[Path]]:
    """Write `NAME-claims`; return the Markdown that ends a section, and the files. Without claims, both are empty."""
    if not verdicts:
        return "", []
    table, files = write_claims(folder, f"{name}-claims", verdicts)
    return f"\n### {table.title}\n\n{table.to_markdown()}", files


def write_claims(
    folder: Path, name: str, verdicts: Sequence[Verdict], sections: Sequence[str] = ()
) -> tuple[RenderedTable, list[Path]]:
    """Write verdicts as Markdown, LaTeX and CSV; `sections` as in `claims_csv`."""
    table = claims_table(verdicts)
    return table, write_table(folder, name, table, claims_csv(verdicts, sections))


def claims_table(verdicts: Sequence[Verdict]) -> RenderedTable:
    """Return a table of verdicts."""
    rows = tuple(
        RenderedRow(
            (
                verdict.claim,
                verdict.source,
                "" if verdict.paper is None else difference(verdict.paper),
                difference(verdict.ours, verdict.sd),
                f"{verdict.agreeing} of {verdict.seeds}",
                p_text(verdict.p),
                verdict.outcome,
            )
        )
        for verdict in verdicts
    )
    notes = (claims_summary(verdicts), HOW_TO_READ)
    return RenderedTable("Do the claims hold?", HEADER, rows, text_columns=2, notes=notes)


def claims_csv(verdicts: Sequence[Verdict], sections: Sequence[str] = ()) -> str:
    """Return verdicts as CSV with unrounded numbers.

    Args:
        verdicts: One per line.
        sections: Section of each verdict, for a first column; empty: no such column.
    """
    header = [*(part.name for part in fields(Verdict)), "outcome"]
    rows = [list(verdict.to_dict().values()) for verdict in verdicts]
    if sections:
        header = ["section", *header]
        rows = [[section, *row] for section, row in zip(sections, rows, strict=True)]
    return csv_text(header, rows)


def claims_summary(verdicts: Sequence[Verdict]) -> str:
    """Return a sentence that counts the outcomes."""
    if len(verdicts) == 1:
        return f"The claim {_SUMMARY_WORDS[verdicts[0].outcome][0]}."
    counts = Counter(verdict.outcome for verdict in verdicts)
    parts = [f"{counts[word]} {words[counts[word] > 1]}" for word, words in _SUMMARY_WORDS.items() if counts[word]]
    return f"Of {len(verdicts)} claims, {join_words(parts)}."
