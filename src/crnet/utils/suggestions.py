"""Suggest what a mistyped name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """Return "did you mean X?" for the choice closest to a mistyped word; None if none is close."""
    matches = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.7)
    return f"did you mean {matches[0]}?" if matches else None
