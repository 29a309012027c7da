"""Paint hair in ten styles, behind the head and over it. Unit and origin are those of head.py."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from crnet.simulate.canvas import Canvas, Colour, Point, blur_mask, ellipse, mirror, mix, ribbon, shade, spline
from crnet.simulate.people import HairStyle, Look


def paint_hair_behind(canvas: Canvas, look: Look) -> None:
    """Paint the hair that falls behind neck and shoulders, if any."""
    w = look.face_width
    shapes: dict[HairStyle, list[Point]] = {
        "bob": [(0.0, -0.57), (0.27, -0.50), (w + 0.075, -0.2), (w + 0.10, 0.15), (w + 0.085, 0.40), (w - 0.06, 0.46),
                (0.0, 0.40)],
        "long": [(0.0, -0.57), (0.27, -0.50), (w + 0.065, -0.2), (w + 0.085, 0.2), (w + 0.12, 0.60),
                 (w + 0.09, 0.98), (0.0, 1.0)],
        "wavy": [(0.0, -0.58), (0.29, -0.51), (w + 0.10, -0.22), (w + 0.11, 0.06), (w + 0.18, 0.24), (w + 0.14, 0.42),
                 (w + 0.20, 0.62), (w + 0.13, 0.82), (0.0, 0.84)],
        "curly": [(0.0, -0.60), (0.30, -0.53), (w + 0.11, -0.25), (w + 0.12, 0.05), (w + 0.06, 0.28), (0.0, 0.30)],
    }  # fmt: skip
    if look.hair_style not in shapes:
        return
    if look.hair_style == "curly" and look.gender == "male":
        return
    dark = shade(look.hair, 0.62)
    outline = spline(mirror(shapes[look.hair_style]))
    canvas.fill(outline, mix(look.hair, dark, 0.4), to=dark)
    for strand in np.linspace(-0.9, 0.9, 15):
        x = strand * (w + 0.07)
        line: list[Point] = [(x * 0.8, -0.3), (x, 0.1), (x * 1.05, 0.5), (x * 1.1, 0.95)]
        tone = shade(look.hair, 0.95 if int(strand * 50) % 2 else 0.55)
        canvas.fill(ribbon(line, (0.004, 0.014, 0.012, 0.004)), tone, opacity=0.45, blur=0.004, inside=True)


def paint_hair(canvas: Canvas, look: Look) -> None:
    """Paint the hair over the head."""
    if look.hair_style == "bald":
        stubble = mix(look.skin, look.hair, 0.35)
        canvas.fill(_cap(look, 0.002, -0.30), stubble, opacity=0.22, blur=0.03, inside=True)
        return
    # First the shadow of the hair on the forehead.
    hair = Canvas(canvas.rgba.shape[1], canvas.rgba.shape[0], canvas.scale, (canvas.origin[0], canvas.origin[1]))
    PAINTERS[look.hair_style](hair, look)
    _shade_hair(hair, look)
    shift = max(1, round(0.018 * canvas.scale))
    cast = np.zeros_like(hair.rgba[..., 3])
    cast[shift:] = hair.rgba[:-shift, :, 3]
    soft = blur_mask(cast, 0.012 * canvas.scale)[..., None] * np.float32(0.42 / 255.0)
    inside = canvas.rgba[..., 3:] / np.float32(255.0)
    dark = np.array((*(channel * 0.45 for channel in look.skin), 255.0), np.float32) * inside
    canvas.rgba += soft * (dark - canvas.rgba)
    canvas.composite(hair)


def _cap(look: Look, volume: float, hairline: float, side_y: float = -0.02) -> NDArray[np.float64]:
    """Return the outline of hair close to the skull, raised by `volume`, down to the hairline and the sideburns."""
    w = look.face_width + 0.6 * volume
    v = volume
    right: list[Point] = [
        (0.0, -0.505 - v), (0.17, -0.49 - v), (0.285 + 0.5 * v, -0.415 - 0.7 * v), (w, -0.26), (w + 0.008, -0.12),
        (w + 0.004, side_y), (look.face_width - 0.035, side_y - 0.01), (look.face_width - 0.045, -0.16),
        (look.face_width - 0.085, hairline + 0.06), (0.19, hairline - 0.005), (0.0, hairline),
    ]  # fmt: skip
    return spline(mirror(right))


def _short(canvas: Canvas, look: Look) -> None:
    canvas.fill(_cap(look, 0.055, -0.285, 0.04), look.hair)
    # A tousled fringe.
    for i, x in enumerate(np.linspace(-0.22, 0.20, 8)):
        drop = 0.035 + 0.02 * ((i * 7) % 3)
        canvas.fill(ribbon([(x - 0.03, -0.40), (x, -0.32), (x + 0.045, -0.27 + drop)], (0.11, 0.09, 0.008)), look.hair)


def _side(canvas: Canvas, look: Look) -> None:
    canvas.fill(_cap(look, 0.045, -0.30, 0.04), look.hair)
    s = look.light_side
    sweep: list[Point] = [
        (s * -0.20, -0.335), (s * -0.05, -0.30), (s * 0.14, -0.275), (s * 0.285, -0.19), (s * 0.335, -0.16),
        (s * 0.365, -0.32), (s * 0.28, -0.50), (s * 0.08, -0.595), (s * -0.12, -0.575), (s * -0.22, -0.47),
    ]  # fmt: skip
    canvas.fill(spline(sweep), look.hair)


def _crop(canvas: Canvas, look: Look) -> None:
    canvas.fill(_cap(look, 0.012, -0.30, 0.0), look.hair, blur=0.004)


def _bun(canvas: Canvas, look: Look) -> None:
    canvas.fill(ellipse(0.0, -0.60, 0.145, 0.125), shade(look.hair, 0.92))
    canvas.fill(_cap(look, 0.025, -0.315, -0.02), look.hair)


def _curtain(length_y: float, volume: float, wave: float) -> Callable[[Canvas, Look], None]:
    """Return a painter of hair that is parted near the middle and frames the face down to `length_y`."""

    def paint(canvas: Canvas, look: Look) -> None:
        w, v = look.face_width, volume
        part = -0.05 * look.light_side
        for side in (-1.0, 1.0):
            down = np.linspace(-0.05, length_y, 6)
            outer = [(side * (w + 0.055 + v + wave * np.sin(9.0 * y)), y) for y in down]
            inner = [
                (side * (w - 0.02 + 0.12 * max(0.0, y - 0.15) + wave * np.sin(9.0 * y + 0.6)), y) for y in down[::-1]
            ]
            lock = [
                (part, -0.535 - v), (side * 0.16 + part, -0.53 - v), (side * (0.30 + v), -0.43),
                (side * (w + 0.045 + v), -0.22), *outer, *inner, (side * (w - 0.04), -0.12),
                (side * (w - 0.10), -0.235),
                (side * 0.13 + part, -0.335), (part, -0.40),
            ]  # fmt: skip
            canvas.fill(spline(lock), look.hair)

    return paint


def _bob(canvas: Canvas, look: Look) -> None:
    _curtain(0.40, 0.02, 0.0)(canvas, look)
    fringe: list[Point] = [
        (-0.29, -0.16), (-0.30, -0.34), (-0.15, -0.50), (0.15, -0.50), (0.30, -0.34), (0.29, -0.16),
        (0.15, -0.185), (0.0, -0.180), (-0.15, -0.185),
    ]  # fmt: skip
    canvas.fill(spline(fringe), look.hair)


def _curls(volume: float, low_y: float, size: float) -> Callable[[Canvas, Look], None]:
    """Return a painter of many round curls around the skull."""

    def paint(canvas: Canvas, look: Look) -> None:
        canvas.fill(_cap(look, volume * 0.8, -0.30, min(low_y, 0.0)), look.hair)
        rng = np.random.default_rng(look.room_seed)
        w = look.face_width
        turns = np.linspace(np.pi * 0.98, np.pi * 2.02, 24)
        for ring in (0.35, 0.7, 1.0):
            for turn in turns:
                x = np.cos(turn) * (w + volume * ring * 0.75)
                y = -0.10 + np.sin(turn) * (0.40 + volume * ring) + (low_y if abs(np.cos(turn)) > 0.93 else 0.0)
                radius = size * rng.uniform(0.8, 1.15)
                tone = shade(look.hair, rng.uniform(0.86, 1.10))
                canvas.fill(ellipse(x, y, radius, radius, steps=16), tone)
        for x in np.linspace(-0.24, 0.24, 8):
            radius = size * rng.uniform(0.7, 1.0)
            canvas.fill(
                ellipse(x, -0.315 + 0.35 * x * x + rng.uniform(-0.015, 0.015), radius, radius, steps=16), look.hair
            )

    return paint


def _shade_hair(canvas: Canvas, look: Look) -> None:
    """Add light from one side, strands along the skull, and darker tips."""
    light: Colour = mix(shade(look.hair, 1.45), (255.0, 235.0, 205.0), 0.20)
    dark = shade(look.hair, 0.55)
    side = look.light_side
    curly = look.hair_style in ("curly", "afro", "crop")
    if not curly:
        for i, spread in enumerate(np.linspace(0.25, 1.08, 11)):
            for arm in (-1.0, 1.0):
                x = arm * (look.face_width + 0.02) * spread
                line: list[Point] = [
                    (0.25 * x, -0.56),
                    (0.8 * x, -0.44),
                    (x, -0.22),
                    (1.02 * x, 0.10),
                    (1.03 * x, 0.40),
                ]
                tone = light if (i + (arm > 0)) % 2 else dark
                canvas.fill(
                    ribbon(line, (0.004, 0.014, 0.012, 0.010, 0.003)), tone, opacity=0.30, blur=0.004, inside=True
                )
    glow = ellipse(side * 0.17, -0.46, 0.15, 0.055, side * 0.55)
    canvas.fill(glow, light, opacity=0.22 if curly else 0.50, blur=0.030, inside=True)
    canvas.fill(ellipse(-side * 0.40, -0.15, 0.12, 0.42), dark, opacity=0.45, blur=0.06, inside=True)


PAINTERS: dict[HairStyle, Callable[[Canvas, Look], None]] = {
    "short": _short,
    "side": _side,
    "crop": _crop,
    "bun": _bun,
    "bob": _bob,
    "long": _curtain(0.72, 0.0, 0.0),
    "wavy": _curtain(0.62, 0.035, 0.022),
    "curly": _curls(0.10, 0.05, 0.055),
    "afro": _curls(0.20, 0.08, 0.055),
}
