"""Columns of a results table: the five traits, their average and the interview score."""

from __future__ import annotations

from collections.abc import Mapping

from crnet.metrics import AVERAGE
from crnet.types import TARGETS, TRAITS

COLUMNS = (*TRAITS, AVERAGE, "interview")
"""The columns in the order of the paper's tables."""

PublishedScores = Mapping[str, float]
"""A published row, `{target or "average": 1 - MAE}`, without the numbers that the paper leaves out."""

FIV2_FLOOR: PublishedScores = {
    **dict(zip(TARGETS, (0.8806, 0.8790, 0.8994, 0.8740, 0.8844, 0.8832), strict=True)),
    AVERAGE: 0.8835,
}
"""1 - MAE of the training median for everyone on the FIv2 validation split. Not from the paper; see docs/paper.md."""
