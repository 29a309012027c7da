"""Pictures under heat maps, contact sheets and strips of them, and their image files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from crnet.report.figure_style import DOTS_PER_INCH, FEATURE_COLOURS, GREY, INK, LOWERS_RGB, RAISES_RGB
from crnet.utils.resize import resize

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB, ITU-R BT.601

COLUMNS = 8
TILE_PX = 120
GAP_PX = 8
TIME_PX = 18  # the line above a tile with its time
TITLE_PX = 30
FEATURE_OPACITY = 0.5
SIGNED_OPACITY = 0.8  # at the strongest places; 0 where nothing is attributed

Picture = UInt8[np.ndarray, "h w 3"]
HeatMap = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class TileRow:
    """A titled series of tiles of a contact sheet, broken into lines.

    Attributes:
        title: Heading above the tiles.
        tiles: The pictures.
        times_s: The time of each picture.
    """

    title: str
    tiles: Sequence[Picture]
    times_s: Sequence[float]


@dataclass(frozen=True)
class Label:
    """Text on a canvas, with its lower left corner in pixels."""

    x: float
    y: float
    text: str
    size: float
    colour: str = GREY
    weight: str = "normal"


def colour_map(values: HeatMap, colours: str) -> UInt8[np.ndarray, "h w 3"]:
    """Turn values in [0, 1] into the colours of a matplotlib colour map."""
    table = (colormaps[colours](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    return np.asarray(table[np.clip(values * 255, 0, 255).astype(np.uint8)])


def with_feature_map(picture: Picture, heat: HeatMap) -> Picture:
    """Blend a picture with its feature map in [0, 1]."""
    return _blend(picture, colour_map(heat, FEATURE_COLOURS), np.full_like(heat, FEATURE_OPACITY))


def with_gradcam(picture: Picture, heat: HeatMap) -> Picture:
    """Blend a grey picture with its Grad-CAM: red raises the score, blue lowers it; a magnitude of 1 is full colour."""
    grey = np.repeat((picture @ LUMA).round().astype(np.uint8)[..., None], 3, axis=2)
    colours = np.where(heat[..., None] > 0, np.array(RAISES_RGB, np.uint8), np.array(LOWERS_RGB, np.uint8))
    return _blend(grey, colours, SIGNED_OPACITY * np.abs(heat).clip(max=1))


def _blend(picture: Picture, colours: Picture, opacity: HeatMap) -> Picture:
    share = opacity[..., None]
    return np.asarray((picture * (1 - share) + colours * share).round().astype(np.uint8))


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a map [h, w] or a picture [h, w, 3] bilinearly."""
    if values.ndim == 3:
        return resize(np.asarray(values), height, width)
    rows, columns = (_bilinear(old, new) for old, new in zip(values.shape, (height, width), strict=True))
    return rows @ values @ columns.T


@lru_cache(maxsize=64)
def _bilinear(old: int, new: int) -> Float32[np.ndarray, "new old"]:
    """Return the weight of each old value in each new one; shrinking averages over all that a new one covers."""
    reach = max(old / new, 1.0)
    centres = (np.arange(new)[:, None] + 0.5) * old / new
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centres) / reach)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def contact_sheet(title: str, note: str, rows: Sequence[TileRow], columns: int = COLUMNS) -> Picture:
    """Draw rows of tiles with their times.

    Args:
        title: Title of the sheet.
        note: How to read it, one line.
        rows: The tiles.
        columns: Tiles in one line.
    """
    lines = [(row, start) for row in rows for start in range(0, len(row.tiles), columns)]
    heights = [TIME_PX + TILE_PX + GAP_PX + (TITLE_PX if start == 0 else 0) for _, start in lines]
    width, height = columns * (TILE_PX + GAP_PX) + GAP_PX, sum(heights) + 2 * TITLE_PX + GAP_PX
    canvas = np.full((height, width, 3), 255, np.uint8)
    labels = [Label(GAP_PX, 20, title, 11, INK, "bold"), Label(GAP_PX, 44, note, 8)]
    y = 2 * TITLE_PX
    for (row, start), line_height in zip(lines, heights, strict=True):
        if start == 0:
            labels.append(Label(GAP_PX, y + 21, row.title, 10, INK))
            y, line_height = y + TITLE_PX, line_height - TITLE_PX
        for column, tile in enumerate(row.tiles[start : start + columns]):
            x = GAP_PX + column * (TILE_PX + GAP_PX)
            canvas[y + TIME_PX : y + TIME_PX + TILE_PX, x : x + TILE_PX] = resized(tile, TILE_PX, TILE_PX)
            labels.append(Label(x, y + 14, f"{row.times_s[start + column]:.1f} s", 7))
        y += line_height
    return _with_labels(canvas, labels)


def strip(tiles: Sequence[Picture]) -> Picture:
    """Place tiles side by side, without text."""
    canvas = np.full((TILE_PX, len(tiles) * (TILE_PX + GAP_PX) - GAP_PX, 3), 255, np.uint8)
    for column, tile in enumerate(tiles):
        x = column * (TILE_PX + GAP_PX)
        canvas[:, x : x + TILE_PX] = resized(tile, TILE_PX, TILE_PX)
    return canvas


def png_bytes(picture: Picture) -> bytes:
    """Return a picture as the bytes of a PNG file."""
    target = io.BytesIO()
    imsave(target, picture, format="png", metadata={"Software": None})  # type: ignore[dict-item]
    return target.getvalue()


def _with_labels(canvas: Picture, labels: Sequence[Label]) -> Picture:
    """Write text on a canvas, whose pixels stay as they are elsewhere."""
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_axis_off()
    for label in labels:
        style = {"size": label.size, "color": label.colour, "weight": label.weight}
        axes.text(label.x, label.y, label.text, parse_math=False, **style)  # type: ignore[arg-type]
    agg = FigureCanvasAgg(figure)
    agg.draw()  # type: ignore[no-untyped-call]
    return np.asarray(agg.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
