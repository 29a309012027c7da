"""Contact sheets and the overlay film: what `crnet.explain.heat_maps` found, laid over the frames."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
import torch
from jaxtyping import Float32, UInt8
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave
from torch.nn import functional

from crnet.report.style import DOTS_PER_INCH, GREY, INK

FEATURE_COLOURS = "jet"  # Sec. 5.6
RAISES, LOWERS = (224, 52, 30), (30, 96, 224)  # a score
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of RGB, ITU-R BT.601

COLUMNS = 8
TILE_PX = 120
GAP_PX = 8
TIME_PX = 18  # the line above a tile that says when
TITLE_PX = 30
FEATURE_OPACITY = 0.5
JPEG_QUALITY = 85
SIGNED_OPACITY = 0.8  # of the strongest places; none where nothing is attributed

Picture = UInt8[np.ndarray, "h w 3"]
Heat = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, eq=False)
class Row:
    """A titled series of tiles of a contact sheet, broken into as many lines as it takes.

    Attributes:
        title: What it shows.
        tiles: The pictures.
        times_s: When each was taken.
    """

    title: str
    tiles: Sequence[Picture]
    times_s: Sequence[float]


def coloured(values: Heat, colours: str) -> UInt8[np.ndarray, "h w 3"]:
    """Values in [0, 1] as colours."""
    table = (colormaps[colours](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8)
    return np.asarray(table[np.clip(values * 255, 0, 255).astype(np.uint8)])


def with_feature_map(picture: Picture, heat: Heat) -> Picture:
    """A picture under its feature map, which is in [0, 1]."""
    return _blend(picture, coloured(heat, FEATURE_COLOURS), np.full_like(heat, FEATURE_OPACITY))


def with_gradcam(picture: Picture, heat: Heat) -> Picture:
    """A picture, its own colours taken out, under its Grad-CAM: red raises the score, blue lowers it; 1 is full."""
    grey = np.repeat((picture @ LUMA).round().astype(np.uint8)[..., None], 3, axis=2)
    colours = np.where(heat[..., None] > 0, np.array(RAISES, np.uint8), np.array(LOWERS, np.uint8))
    return _blend(grey, colours, SIGNED_OPACITY * np.abs(heat).clip(max=1))


def _blend(picture: Picture, colours: Picture, opacity: Heat) -> Picture:
    part = opacity[..., None]
    return np.asarray((picture * (1 - part) + colours * part).round().astype(np.uint8))


def resized(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """A map [h, w] or a picture [h, w, 3] at another size, bilinear."""
    planes = torch.from_numpy(np.ascontiguousarray(values)).float()
    planes = planes[None, None] if values.ndim == 2 else planes.permute(2, 0, 1)[None]
    scaled = functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)[0]
    array = scaled[0].numpy() if values.ndim == 2 else scaled.permute(1, 2, 0).numpy()
    return array if values.dtype.kind == "f" else array.round().clip(0, 255).astype(values.dtype)


def contact_sheet(title: str, note: str, rows: Sequence[Row], columns: int = COLUMNS) -> Picture:
    """Rows of tiles with their times.

    Args:
        title: Head of the sheet.
        note: How to read it, one line.
        rows: What to show.
        columns: Tiles beside each other.
    """
    lines = [(row, start) for row in rows for start in range(0, len(row.tiles), columns)]
    heights = [TIME_PX + TILE_PX + GAP_PX + (TITLE_PX if start == 0 else 0) for _, start in lines]
    width, height = columns * (TILE_PX + GAP_PX) + GAP_PX, sum(heights) + 2 * TITLE_PX + GAP_PX
    canvas = np.full((height, width, 3), 255, np.uint8)
    words: list[tuple[float, float, str, dict[str, object]]] = [
        (GAP_PX, 20, title, {"size": 11, "weight": "bold", "color": INK}),
        (GAP_PX, 44, note, {"size": 8, "color": GREY}),
    ]
    y = 2 * TITLE_PX
    for (row, start), line_height in zip(lines, heights, strict=True):
        if start == 0:
            words.append((GAP_PX, y + 21, row.title, {"size": 10, "color": INK}))
            y, line_height = y + TITLE_PX, line_height - TITLE_PX
        for place, tile in enumerate(row.tiles[start : start + columns]):
            x = GAP_PX + place * (TILE_PX + GAP_PX)
            canvas[y + TIME_PX : y + TIME_PX + TILE_PX, x : x + TILE_PX] = resized(tile, TILE_PX, TILE_PX)
            words.append((x, y + 14, f"{row.times_s[start + place]:.1f} s", {"size": 7, "color": GREY}))
        y += line_height
    return _drawn(canvas, words)


def strip(tiles: Sequence[Picture]) -> Picture:
    """Tiles side by side, without words."""
    canvas = np.full((TILE_PX, len(tiles) * (TILE_PX + GAP_PX) - GAP_PX, 3), 255, np.uint8)
    for place, tile in enumerate(tiles):
        x = place * (TILE_PX + GAP_PX)
        canvas[:, x : x + TILE_PX] = resized(tile, TILE_PX, TILE_PX)
    return canvas


def png_of(picture: Picture) -> bytes:
    """A picture as the bytes of a PNG file."""
    target = io.BytesIO()
    imsave(target, picture, format="png", metadata={"Software": None})  # type: ignore[dict-item]
    return target.getvalue()


def jpeg_of(picture: Picture) -> bytes:
    """A picture as the bytes of a JPEG file, a tenth of the size."""
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(picture), JPEG_QUALITY, "RGB", "420"))


def _drawn(canvas: Picture, words: Sequence[tuple[float, float, str, dict[str, object]]]) -> Picture:
    """A canvas pixel for pixel, with words at places in pixels."""
    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / DOTS_PER_INCH, height / DOTS_PER_INCH), dpi=DOTS_PER_INCH)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(canvas, extent=(0, width, height, 0), interpolation="nearest")
    axes.set_axis_off()
    for x, y, text, style in words:
        axes.text(x, y, text, parse_math=False, **style)  # type: ignore[arg-type]
    agg = FigureCanvasAgg(figure)
    agg.draw()  # type: ignore[no-untyped-call]
    return np.asarray(agg.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
