"""A known bias in the labels: raters who judge one group otherwise than another, for testing audits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from crnet.errors import ConfigError
from crnet.simulate.people import ETHNICITY_SHARE, GENDER_SHARE, Look
from crnet.simulate.scores import on_steps
from crnet.types import TARGETS

GROUPS: dict[str, tuple[str, ...]] = {"gender": tuple(GENDER_SHARE), "ethnicity": tuple(ETHNICITY_SHARE)}
"""What a look can be grouped by, and the groups."""

FORM = "write GROUPING=GROUP:TARGET:SHIFT, such as gender=female:interview:-0.05"


@dataclass(frozen=True)
class LabelBias:
    """One target's scores of one group are shifted.

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
        """Read `gender=female:interview:-0.05`; upper and lower case are alike.

        Raises:
            ConfigError: Not of this form, or an unknown group or target.
        """
        who, _, rest = text.strip().lower().partition(":")
        grouping, _, wanted = who.partition("=")
        target, _, number = rest.partition(":")
        group = next((g for g in GROUPS.get(grouping, ()) if g.lower() == wanted), None)
        if group is None:
            known = ", ".join(f"{name}={g.lower()}" for name, groups in GROUPS.items() for g in groups)
            raise ConfigError(f"label bias {text!r}: no group {who!r}; known: {known}", remedy=FORM)
        if target not in TARGETS:
            raise ConfigError(f"label bias {text!r}: no target {target!r}", remedy=FORM)
        try:
            shift = float(number)
        except ValueError:
            shift = math.nan
        if not -1.0 < shift < 1.0:
            raise ConfigError(f"label bias {text!r}: {number!r} is no shift between -1 and 1", remedy=FORM)
        return cls(grouping, group, target, shift)


def biased(
    scores: Float64[np.ndarray, "count 6"], looks: Sequence[Look], biases: Sequence[LabelBias]
) -> Float64[np.ndarray, "count 6"]:
    """The scores that biased raters give.

    Args:
        scores: Without bias, in [0, 1].
        looks: Who is seen, one look a row.
        biases: Shifts that add up; the sum is clipped to [0, 1] and laid on the release's steps.
    """
    shifted = scores.copy()
    for bias in biases:
        members = np.array([getattr(look, bias.grouping) == bias.group for look in looks])
        shifted[members, TARGETS.index(bias.target)] += bias.shift
    return on_steps(shifted)
