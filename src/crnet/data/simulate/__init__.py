"""Simulated people: drawn presenters whose scores and cues are known.

`simulate` writes a data set in the layout of the official release; `draw_sheet` shows the people and the cues.
"""

from __future__ import annotations

from crnet.data.simulate.sheet import draw_sheet
from crnet.data.simulate.writing import simulate

__all__ = ["draw_sheet", "simulate"]
