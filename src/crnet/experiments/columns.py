"""Columns of a results table: the five traits, their average and the interview score."""

from __future__ import annotations

from collections.abc import Mapping

from crnet.metrics import AVERAGE
from crnet.types import TRAITS

COLUMNS = (*TRAITS, AVERAGE, "interview")
"""The columns in the order of the paper's tables."""

PublishedScores = Mapping[str, float]
"""A published row, `{target or "average": 1 - MAE}`, without the numbers that the paper leaves out."""
