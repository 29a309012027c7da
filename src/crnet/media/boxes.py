"""Geometry of boxes x0 y0 x1 y1: squares, overlaps and non-maximum suppression."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64

SAME_FACE_OVERLAP = 0.7  # share of the smaller box from which two boxes show the same face
MAX_CANDIDATES = 400  # per call of `nms`; bounds the work that a hostile picture can cause


def square_boxes(boxes: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
    """Return the smallest square around each box, with the same centre."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def pixel_squares(boxes: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
    """Return `square_boxes` in whole pixels, as crops are taken: for a small face, half a pixel matters."""
    return np.rint(square_boxes(boxes))


def overlaps(boxes: Float32[np.ndarray, "n 4"], *, over_smaller: bool) -> Float32[np.ndarray, "n n"]:
    """Return the intersection of every two boxes over their union, or over the smaller of their areas."""
    x0, y0, x1, y1 = np.ascontiguousarray(boxes.T)
    width = np.maximum(np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0), 0)
    height = np.maximum(np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0), 0)
    intersection, area = width * height, (x1 - x0) * (y1 - y0)
    divisor = np.minimum(area[:, None], area) if over_smaller else area[:, None] + area - intersection
    return intersection / np.maximum(divisor, np.finfo(np.float32).tiny)


def boxes_of_new_faces(
    boxes: Float32[np.ndarray, "n 4"], known: Float32[np.ndarray, "k 4"]
) -> Float32[np.ndarray, "m 4"]:
    """Return the boxes that show none of the known faces."""
    covers = overlaps(np.concatenate([known, boxes]), over_smaller=True)[len(known) :, : len(known)]
    return boxes[(covers <= SAME_FACE_OVERLAP).all(axis=1)]


def nms(
    boxes: Float32[np.ndarray, "n 4"],
    scores: Float32[np.ndarray, " n"],
    threshold: float,
    *,
    over_smaller: bool = False,
) -> Int64[np.ndarray, " m"]:
    """Return the indices of the boxes that no better kept box overlaps by more than `threshold`.

    Indices are in order of falling score.
    """
    order = np.argsort(-scores, kind="stable")[:MAX_CANDIDATES]
    covers = overlaps(boxes[order], over_smaller=over_smaller) > threshold
    keep = np.ones(len(order), dtype=bool)
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~covers[i, i + 1 :]
    return order[keep]
