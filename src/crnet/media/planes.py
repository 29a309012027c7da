"""Cut a part out of a decoded frame before it is converted to RGB, which saves most of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.media.pyav import av

if TYPE_CHECKING:
    from jaxtyping import Float32
    from numpy.typing import NDArray

Box = tuple[int, int, int, int]
"""x0 y0 x1 y1 in pixels of the stored picture."""

CUT_FORMATS: dict[str, tuple[type[np.unsignedinteger[Any]], int, int]] = {
    "yuv420p": (np.uint8, 2, 2),
    "yuvj420p": (np.uint8, 2, 2),
    "yuv420p10le": (np.uint16, 2, 2),
    "yuv420p12le": (np.uint16, 2, 2),
    "yuv422p10le": (np.uint16, 2, 1),
    "yuv422p12le": (np.uint16, 2, 1),
}
"""The usual formats: the type of a sample, and how many pixels share one colour across and down."""

FILTER_PIXELS = 16
"""Around a part with more than 8 bits: FFmpeg's scaler interpolates its colours from pixels at most so far away."""


def can_cut(picture: Any) -> bool:
    """Whether `cut` knows a frame's format. With odd sizes FFmpeg's scaler takes another path, with other results."""
    return picture.format.name in CUT_FORMATS and not picture.width % 2 and not picture.height % 2


def cut(picture: Any, box: Float32[np.ndarray, " 4"]) -> tuple[Any, Box, Box]:
    """Return a part of a frame (`av.VideoFrame`) that holds a box, as a frame of its own.

    Args:
        picture: The frame, of a format that `can_cut` accepts.
        box: x0 y0 x1 y1 in pixels; what lies outside the frame is ignored.

    Returns:
        The part; where it lies in the frame; and which of its pixels are the same as in the frame once converted to
        RGB, also in pixels of the frame.
    """
    width, height = picture.width, picture.height
    # The part starts and ends at even pixels, because neighbours share their colour.
    x0, y0 = (min(max(int(low) // 2 * 2, 0), size - 2) for low, size in zip(box[:2], (width, height), strict=True))
    x1, y1 = (max(min(-(-int(high + 1) // 2) * 2, size), low + 2)
              for high, size, low in zip(box[2:], (width, height), (x0, y0), strict=True))  # fmt: skip
    sample, step_x, step_y = CUT_FORMATS[picture.format.name]
    around = 0 if sample is np.uint8 else FILTER_PIXELS
    left, top = max(x0 - around, 0), max(y0 - around, 0)
    right, bottom = min(x1 + around, width), min(y1 + around, height)
    part = av.VideoFrame(right - left, bottom - top, picture.format.name)
    for i, (source, target) in enumerate(zip(picture.planes, part.planes, strict=True)):
        x_step, y_step = (step_x, step_y) if i else (1, 1)
        rows = _samples(source, sample)[top // y_step : bottom // y_step, left // x_step : right // x_step]
        _samples(target, sample)[: rows.shape[0], : rows.shape[1]] = rows
    part.colorspace, part.color_range = picture.colorspace, picture.color_range
    part.color_trc, part.color_primaries = picture.color_trc, picture.color_primaries
    return part, (left, top, right, bottom), (x0, y0, x1, y1)


def _samples(plane: Any, sample: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """Return the samples of a plane [rows, samples in a row and unused ones after it], without a copy."""
    samples: NDArray[Any] = np.frombuffer(plane, sample)
    return samples.reshape(-1, plane.line_size // samples.itemsize)
