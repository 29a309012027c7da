"""Format numbers: metrics as papers print them (.9188, +.0031), and scores for general readers (0.61, +0.012)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

DIGITS = 4
METRIC_NAMES = {
    "accuracy": "1 - MAE",
    "mae": "MAE",
    "r2": "R2",
    "pearson": "r",
    "ccc": "CCC",
    "floor_accuracy": "floor",
    "error_removed": "error removed",
    "spread": "spread",
}
"""The name of each metric of `crnet.metrics` in tables."""


def counted(count: int, noun: str) -> str:
    """Format a number of things: "1 clip", "64 clips"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def size_text(size_bytes: float) -> str:
    """Format a size: "11 MB", "1.7 GB", "3.2 TB", in powers of ten as disks are sold."""
    for unit, unit_bytes in (("TB", 1e12), ("GB", 1e9)):
        if size_bytes >= unit_bytes:
            return f"{size_bytes / unit_bytes:.1f} {unit}"
    return f"{size_bytes / 1e6:.0f} MB"


def decimal(value: float | None, sd: float | None = None, digits: int = DIGITS) -> str:
    """Format a metric between 0 and 1: ".9188", ".9188 ±.0012"; "–" for None."""
    if value is None:
        return "–"
    return _short(f"{value:.{digits}f}") + ("" if sd is None else f" ±{_short(f'{sd:.{digits}f}')}")


def difference(value: float, sd: float | None = None) -> str:
    """Format a difference with its sign: "+.0031", "−.0004 ±.0010"."""
    text = _short(f"{abs(value):.{DIGITS}f}")
    return ("−" if round(value, DIGITS) < 0 else "+") + text + ("" if sd is None else f" ±{_short(f'{sd:.{DIGITS}f}')}")


def percent(value: float | None, digits: int = 1) -> str:
    """Format a share: "29.6%"; "–" for None."""
    return "–" if value is None else f"{100 * value:.{digits}f}%".replace("-", "−")


def p_text(p: float | None) -> str:
    """Format a p-value: ".034"; "<.001"; "–" for None."""
    if p is None:
        return "–"
    return "<.001" if p < 0.001 else ">.999" if p > 0.999 else _short(f"{p:.3f}")


def interval_text(interval: Sequence[float] | None) -> str:
    """Format an interval of a metric: ".912–.931", "−.118 to .040" with a negative end; "" for None."""
    if interval is None:
        return ""
    return (" to " if interval[0] < 0 else "–").join(decimal(end, digits=3) for end in interval)


def range_text(interval: Sequence[float] | None) -> str:
    """Format an interval of a difference: "−.0012 to +.0031"; "" for None."""
    return "" if interval is None else f"{difference(interval[0])} to {difference(interval[1])}"


def error_removed_text(metrics: Mapping[str, Any]) -> str:
    """Format the share of the floor's error that is removed, with its interval if there is one: "54% (47 to 59)"."""
    interval = metrics["ci95"]["error_removed"]
    bounds = "" if interval is None else f" ({100 * interval[0]:.0f} to {100 * interval[1]:.0f})"
    return f"{percent(metrics['error_removed'], 0)}{bounds}"


def score_text(score: float, interval: Sequence[float] | None = None, level: float | None = None) -> str:
    """Format a predicted score: "0.61", or with its interval "0.61 (0.48 to 0.74, 90%)"."""
    if interval is None:
        return f"{score:.2f}"
    share = "" if level is None else f", {percent(level, 0)}"
    return f"{score:.2f} ({interval[0]:.2f} to {interval[1]:.2f}{share})"


def effect_text(effect: float, digits: int = 3) -> str:
    """Format a contribution to a predicted score, or a difference of two, with its sign: "+0.012", "−0.003"."""
    return f"{effect:+.{digits}f}".replace("-", "−")


def _short(text: str) -> str:
    return text.replace("0.", ".", 1) if text.startswith("0.") else text.replace("-0.", "−.", 1).replace("-", "−", 1)
