"""Tables of an audit for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crnet.audit.impact_ratios import SOURCES
from crnet.cli.evaluation_tables import titled_table
from crnet.evaluation.evaluation import SHORT_NAMES
from crnet.utils.number_format import decimal, difference, p_text, range_text

if TYPE_CHECKING:
    from rich.table import Table

    from crnet.audit.audit import Audit

MOST_ROWS = 20


def ratio_tables(audit: Audit) -> list[Table]:
    """Return a table of impact ratios for each grouping, of labels and of scores."""
    return [_ratio_table(audit, grouping) for grouping in audit.clips.groupings]


def difference_table(audit: Audit) -> Table:
    """Return the largest differences that chance does not explain."""
    found = audit.differences.found
    more = f"; the largest {MOST_ROWS} of {len(found)}" if len(found) > MOST_ROWS else ""
    table = titled_table(f"differences larger than chance{more}", targets=audit.clips.targets)
    for name in ("comparison", "target", "in"):
        table.add_column(name)
    for name in ("difference", "95% interval", "p", "detectable"):
        table.add_column(name, justify="right")
    for row in found[:MOST_ROWS]:
        cells = (
            difference(row.value),
            range_text((row.low, row.high)),
            p_text(row.p),
            decimal(row.detectable, digits=3),
        )
        table.add_row(f"{row.group} − {row.against}", SHORT_NAMES[row.target], row.quantity, *cells)
    return table


def _ratio_table(audit: Audit, grouping: str) -> Table:
    unknown = audit.unknown[grouping]
    others = f"; {unknown} clips of unknown group" if unknown else ""
    table = titled_table(f"impact ratios by {grouping}{others}", targets=audit.clips.targets)
    table.add_column("group")
    table.add_column("clips", justify="right")
    table.add_column("of")
    for target in audit.clips.targets:
        table.add_column(SHORT_NAMES[target], justify="right")
    for group, targets in audit.ratios[grouping].items():
        clips = max((ratio.clips for ratios in targets.values() for ratio in ratios.values()), default=0)
        for source in SOURCES:
            ratios = [targets.get(target, {}).get(source) for target in audit.clips.targets]
            cells = [decimal(None if ratio is None else ratio.ratio, digits=2) for ratio in ratios]
            is_first = source == SOURCES[0]
            table.add_row(group if is_first else "", str(clips) if is_first else "", source, *cells)
    return table
