"""Paint smooth shapes, soft shadows and gradients on a transparent canvas, and composite layers on a picture."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float32, Float64
from numpy.typing import NDArray

Point = tuple[float, float]
Colour = tuple[float, float, float]
Pixels = NDArray[np.uint8]

SUBPIXEL_BITS = 4
SPLINE_STEPS = 8


def spline(points: Sequence[Point], *, closed: bool = True) -> Float64[np.ndarray, "n 2"]:
    """Return a smooth curve through points (Catmull-Rom)."""
    knots = np.asarray(points, dtype=np.float64)
    if closed:
        before, after, beyond = np.roll(knots, 1, 0), np.roll(knots, -1, 0), np.roll(knots, -2, 0)
        start = knots
    else:
        padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
        before, start, after, beyond = padded[:-3], padded[1:-2], padded[2:-1], padded[3:]
    t = (np.arange(SPLINE_STEPS) / SPLINE_STEPS)[None, :, None]
    b, s, a, y = (part[:, None, :] for part in (before, start, after, beyond))
    curve = 0.5 * (2 * s + (a - b) * t + (2 * b - 5 * s + 4 * a - y) * t**2 + (3 * s - b - 3 * a + y) * t**3)
    return curve.reshape(-1, 2) if closed else np.concatenate([curve.reshape(-1, 2), knots[-1:]])


def mirror(right: Sequence[Point]) -> list[Point]:
    """Return a symmetric outline from its right half, which runs from the top of the middle line to its bottom."""
    return [*right, *((-x, y) for x, y in reversed(right) if x != 0.0)]


def ellipse(
    x: float, y: float, rx: float, ry: float, angle: float = 0.0, steps: int = 40
) -> Float64[np.ndarray, "n 2"]:
    """Return the points of an ellipse; `angle` is in radians."""
    turn = np.linspace(0.0, 2 * np.pi, steps, endpoint=False)
    px, py = rx * np.cos(turn), ry * np.sin(turn)
    return np.stack([x + px * np.cos(angle) - py * np.sin(angle), y + px * np.sin(angle) + py * np.cos(angle)], axis=1)


def ribbon(points: Sequence[Point], widths: Sequence[float]) -> Float64[np.ndarray, "n 2"]:
    """Return the outline of a smooth stroke whose width changes from point to point."""
    line = spline(points, closed=False)
    width = np.interp(np.linspace(0, 1, len(line)), np.linspace(0, 1, len(widths)), widths)[:, None] / 2
    along = np.gradient(line, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / np.maximum(1e-9, np.hypot(along[:, :1], along[:, 1:]))
    return np.concatenate([line + across * width, (line - across * width)[::-1]])


def rgb_from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour from hue, saturation and value in [0, 1], as RGB up to 255."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return red * 255.0, green * 255.0, blue * 255.0


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return the colour that is `share` of the way from the first to the second."""
    red, green, blue = (a + (b - a) * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """Return the colour times a factor, at most 255 per channel."""
    red, green, blue = (min(255.0, channel * factor) for channel in colour)
    return red, green, blue


class Canvas:
    """A transparent picture to paint on, in any unit of length.

    Args:
        width, height: Size in pixels.
        scale: Pixels per unit.
        origin: Position of the point (0, 0), in pixels.
    """

    def __init__(self, width: int, height: int, scale: float, origin: Point) -> None:
        self.scale = scale
        self.origin = np.array(origin, dtype=np.float64)
        self.rgba: Float32[np.ndarray, "h w 4"] = np.zeros(
            (height, width, 4), np.float32
        )  # colours are multiplied by alpha

    def fill(
        self,
        points: NDArray[np.float64],
        colour: Colour,
        *,
        to: Colour | None = None,
        opacity: float = 1.0,
        blur: float = 0.0,
        inside: bool = False,
    ) -> None:
        """Fill an outline.

        Args:
            points: Corners [n, 2] in units.
            colour: RGB up to 255.
            to: Colour at the lowest point, for a vertical gradient.
            opacity: Opacity in [0, 1].
            blur: Softness of the edge, in units.
            inside: Paint only where the canvas is already painted.
        """
        sigma = blur * self.scale
        corners = points * self.scale + self.origin
        margin = 2 + int(np.ceil(2.5 * sigma))
        height, width = self.rgba.shape[:2]
        x0, y0 = np.maximum(np.floor(corners.min(0)).astype(int) - margin, 0)
        x1, y1 = np.minimum(np.ceil(corners.max(0)).astype(int) + margin, (width, height))
        if x1 <= x0 or y1 <= y0:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        fill_polygon(mask, corners - (x0, y0), 255)
        soft = blur_mask(mask.astype(np.float32) * np.float32(opacity / 255.0), sigma)
        self._blend(slice(y0, y1), slice(x0, x1), soft[..., None], self._paint(colour, to, y0, y1, corners), inside)

    def _paint(
        self, colour: Colour, to: Colour | None, y0: int, y1: int, corners: NDArray[np.float64]
    ) -> Float32[np.ndarray, "h 1 4"]:
        paint = np.full((y1 - y0, 1, 4), 255.0, np.float32)
        paint[..., :3] = colour
        if to is not None:
            top, bottom = corners[:, 1].min(), corners[:, 1].max()
            share = np.clip((np.arange(y0, y1) - top) / max(1.0, bottom - top), 0.0, 1.0)[:, None, None]
            paint[..., :3] += share * (np.array(to) - np.array(colour))
        return paint

    def _blend(
        self, rows: slice, columns: slice, mask: NDArray[np.float32], paint: NDArray[np.float32], inside: bool
    ) -> None:
        under = self.rgba[rows, columns]
        if inside:
            paint = np.multiply(paint, under[..., 3:] / np.float32(255.0), dtype=np.float32)
        under += mask * (paint - under)

    def composite(self, other: Canvas) -> None:
        """Composite another canvas of the same size on top."""
        self.rgba *= 1.0 - other.rgba[..., 3:] / np.float32(255.0)
        self.rgba += other.rgba

    def tint(self, gain: Colour) -> None:
        """Multiply the colours, like coloured light."""
        light = np.array([*gain, 1.0])  # OpenCV takes one factor per channel
        cv2.multiply(self.rgba, light, dst=self.rgba)

    def pixels(self) -> Pixels:
        """Return the picture as uint8 [h, w, 4], with colours multiplied by alpha."""
        return np.asarray(cv2.convertScaleAbs(self.rgba))  # rounds and saturates


def blur_mask(mask: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """Return the mask with soft edges; `sigma` is in pixels, and below 0.3 the mask stays as it is."""
    return mask if sigma < 0.3 else np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)


def fill_polygon(picture: Pixels, corners: NDArray[np.float64], colour: int | tuple[int, ...]) -> None:
    """Fill a polygon with smooth edges; the corners are in fractional pixels."""
    fixed = np.rint(corners * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(picture, [fixed], colour, cv2.LINE_AA, SUBPIXEL_BITS)


def composite(picture: Pixels, layer: Pixels, x: int, y: int) -> None:
    """Composite premultiplied RGBA on an RGB picture in place, its corner at (x, y); parts outside are cut off."""
    height, width = picture.shape[:2]
    x0, y0 = max(0, x), max(0, y)
    x1, y1 = min(width, x + layer.shape[1]), min(height, y + layer.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part = np.ascontiguousarray(layer[y0 - y : y1 - y, x0 - x : x1 - x])
    under = picture[y0:y1, x0:x1]
    colour = cv2.cvtColor(part, cv2.COLOR_RGBA2RGB)
    through = cv2.cvtColor(255 - part[..., 3], cv2.COLOR_GRAY2RGB)
    cv2.add(cv2.multiply(under, through, scale=1.0 / 255.0), colour, dst=colour)
    under[:] = colour


def composite_warped(picture: Pixels, layer: Pixels, matrix: NDArray[np.float64]) -> None:
    """Composite premultiplied RGBA on an RGB picture in place, warped by a 2x3 affine matrix (layer -> picture)."""
    height, width = layer.shape[:2]
    corners = matrix[:, :2] @ np.array([[0, width, 0, width], [0, 0, height, height]], float) + matrix[:, 2:]
    x0, y0 = np.maximum(np.floor(corners.min(1)).astype(int), 0)
    x1, y1 = np.minimum(np.ceil(corners.max(1)).astype(int), (picture.shape[1], picture.shape[0]))
    if x1 <= x0 or y1 <= y0:
        return
    shifted = matrix.copy()
    shifted[:, 2] -= (x0, y0)
    moved = cv2.warpAffine(layer, shifted, (int(x1 - x0), int(y1 - y0)), flags=cv2.INTER_LINEAR)
    composite(picture, np.asarray(moved, np.uint8), int(x0), int(y0))
