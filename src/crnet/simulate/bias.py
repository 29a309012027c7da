"""A known bias in the labels, for testing audits: raters who judge one group differently from another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from crnet.errors import ConfigError
from crnet.simulate.people import ETHNICITY_SHARE, GENDER_SHARE, Look
from crnet.simulate.scores import round_to_steps
from crnet.types import TARGETS

GROUPS: dict[str, tuple[str, ...]] = {"gender": tuple(GENDER_SHARE), "ethnicity": tuple(ETHNICITY_SHARE)}
"""Groupings of looks, and their groups."""

FORM = "write GROUPING=GROUP:TARGET:SHIFT, such as gender=female:interview:-0.05"


@dataclass(frozen=True)
class LabelBias:
    """A shift of one group's scores of one target.

    Attributes:
        grouping: One of `GROUPS`.
        group: One of its groups.
        target: One of `TARGETS`.
        shift: Added to the score, in (-1, 1).
    """

    grouping: str
    group: str
    target: str
    shift: float

    @classmethod
    def parse(cls, text: str) -> LabelBias:
        """Parse a bias such as `gender=female:interview:-0.05`; case does not matter.

        Raises:
            ConfigError: The text does not have this form, or the group or target is unknown.
        """
        selector, _, rest = text.strip().lower().partition(":")
        grouping, _, group_name = selector.partition("=")
        target, _, number = rest.partition(":")
        group = next((g for g in GROUPS.get(grouping, ()) if g.lower() == group_name), None)
        if group is None:
            choices = ", ".join(f"{name}={g.lower()}" for name, groups in GROUPS.items() for g in groups)
            raise ConfigError(f"label bias {text!r}: unknown group {selector!r}; use {choices}", remedy=FORM)
        if target not in TARGETS:
            raise ConfigError(f"label bias {text!r}: unknown target {target!r}", remedy=FORM)
        try:
            shift = float(number)
        except ValueError:
            shift = math.nan
        if not -1.0 < shift < 1.0:
            raise ConfigError(f"label bias {text!r}: {number!r} is not a shift between -1 and 1", remedy=FORM)
        return cls(grouping, group, target, shift)


def apply_biases(
    scores: Float64[np.ndarray, "count 6"], looks: Sequence[Look], biases: Sequence[LabelBias]
) -> Float64[np.ndarray, "count 6"]:
    """Return the scores that biased raters give.

    Args:
        scores: Scores without bias, in [0, 1].
        looks: The look of the person in each row.
        biases: Shifts. They add up; the sum is clipped to [0, 1] and rounded to the release's steps.
    """
    shifted = scores.copy()
    for bias in biases:
        members = np.array([getattr(look, bias.grouping) == bias.group for look in looks])
        shifted[members, TARGETS.index(bias.target)] += bias.shift
    return round_to_steps(shifted)
