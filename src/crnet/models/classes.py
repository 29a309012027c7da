"""The classes of scores (Secs. 4.2.2 and 5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from crnet.errors import ConfigError, LabelError

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64

EDGES: dict[int, tuple[float, ...]] = {
    4: (0.5, 0.6, 0.7),  # Sec. 4.2.2
    7: (0.3556, 0.4383, 0.5003, 0.5575, 0.6143, 0.6849),  # Sec. 5.4
    10: (0.3220, 0.3962, 0.4466, 0.4903, 0.5307, 0.5708, 0.6078, 0.6528, 0.7102),  # Sec. 5.4
}
"""The paper's edges between neighbouring classes, by number of classes. An edge belongs to the upper class."""


def class_edges(classes: int, edges: Sequence[float] | None = None) -> tuple[float, ...]:
    """Return the edges between `classes` classes: the given ones, or the paper's.

    Args:
        classes: n. Without `edges`: 4, 7 or 10.
        edges: n - 1 increasing numbers between 0 and 1.

    Raises:
        ConfigError: The paper gives no edges for this number of classes, or the given edges do not divide [0, 1]
            into that many classes.
    """
    if edges is None:
        if classes not in EDGES:
            raise ConfigError(
                f"the paper gives no edges for {classes} classes",
                remedy=f"choose {', '.join(map(str, EDGES))} classes, or give the edges",
            )
        return EDGES[classes]
    bounds = np.array([0.0, *edges, 1.0])
    if len(edges) != classes - 1 or not np.all(np.diff(bounds) > 0):
        raise ConfigError(f"edges {list(edges)} are not {classes - 1} increasing numbers between 0 and 1")
    return tuple(edges)


def class_indices(
    scores: Float64[np.ndarray, "*shape"], classes: int = 4, *, edges: Sequence[float] | None = None
) -> Int64[np.ndarray, "*shape"]:
    """Return the class of each score; class 0 holds the lowest scores.

    Args:
        scores: In [0, 1], float64. In float32 a label of 63/90 = 0.7 would fall below its edge.
        classes: 4, 7 or 10; any number if `edges` are given.
        edges: See `class_edges`.

    Raises:
        ConfigError: See `class_edges`.
        LabelError: The scores are not float64, are NaN, or lie outside [0, 1].
    """
    edges = class_edges(classes, edges)
    if scores.dtype != np.float64:
        raise LabelError(
            f"the scores are {scores.dtype}, and rounding may have moved some across a class edge",
            remedy="compute the classes from the float64 scores",
        )
    if not np.all((scores >= 0) & (scores <= 1)):
        raise LabelError("a score is not a number in [0, 1]")
    return np.searchsorted(edges, scores, side="right").astype(np.int64)
