"""Paint neck, shoulders, clothes and hands. Unit: head height; (0, 0) between the eyes of an upright head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crnet.simulate.canvas import (
    Canvas,
    Colour,
    Point,
    ellipse,
    mirror,
    mix,
    rgb_from_hsv,
    ribbon,
    shade,
    spline,
)
from crnet.simulate.head import highlight_colour, shadow_colour
from crnet.simulate.people import Look

BOTTOM = 3.2  # below the edge of any frame
NECK_Y = 0.62  # where the collar meets the neck
SLUMP_TILT = 0.075  # lean of a slumped body in radians


def dress_colour(look: Look, saturation: float) -> Colour:
    """Return the colour of the clothes."""
    return rgb_from_hsv(look.dress_hue, saturation, look.dress_value)


def paint_body(canvas: Canvas, look: Look, saturation: float, posture: float) -> None:
    """Paint neck, torso and clothes.

    Args:
        canvas: To paint on.
        look: The person.
        saturation: Saturation of the clothes, in [0, 1].
        posture: 0 = slumped (hanging shoulders, leaning body), 1 = upright.
    """
    cloth = dress_colour(look, saturation)
    dark = shade(cloth, 0.55)
    torso = _torso(look, posture)
    canvas.fill(torso, mix(cloth, (255.0, 250.0, 240.0), 0.06), to=shade(cloth, 0.72))
    side = look.light_side
    far = torso.copy()
    far[:, 0] = far[:, 0] * 0.45 - side * 0.75
    canvas.fill(far, dark, opacity=0.45, blur=0.14, inside=True)
    canvas.fill(
        ellipse(side * 0.55, 0.92, 0.30, 0.07, side * 0.25),
        shade(cloth, 1.25),
        opacity=0.40,
        blur=0.06,
        inside=True,
    )
    for arm in (-1.0, 1.0):
        x = arm * _shoulder_width(look, posture)
        fold: list[Point] = [(x * 0.66, 1.15), (x * 0.70, 1.45), (x * 0.64, 2.2)]
        canvas.fill(ribbon(fold, (0.01, 0.05, 0.05)), dark, opacity=0.60, blur=0.022, inside=True)
        crease: list[Point] = [(x * 0.62, 1.16), (x * 0.45, 1.24), (x * 0.30, 1.28)]
        canvas.fill(ribbon(crease, (0.03, 0.02, 0.004)), dark, opacity=0.35, blur=0.016, inside=True)
    _paint_neck(canvas, look)
    {"t-shirt": _round_collar, "v-neck": _v_neck, "shirt": _shirt, "hoodie": _hoodie, "blazer": _blazer}[look.clothes](
        canvas, look, cloth
    )


def _shoulder_width(look: Look, posture: float) -> float:
    return (0.86 if look.gender == "female" else 0.99) * (0.84 + 0.16 * posture)


def _torso(look: Look, posture: float) -> NDArray[np.float64]:
    wide = _shoulder_width(look, posture)
    drop = 0.20 * (1.0 - posture)  # of the tips of the shoulders
    right: list[Point] = [
        (0.0, 0.66), (0.20, 0.65), (0.36, 0.715 + 0.2 * drop), (wide * 0.70, 0.80 + 0.6 * drop),
        (wide * 0.93, 0.92 + drop),
        (wide * 1.02, 1.16 + drop), (wide * 1.06, 1.7), (wide * 1.08, BOTTOM), (0.0, BOTTOM),
    ]  # fmt: skip
    return spline(mirror(right))


def _paint_neck(canvas: Canvas, look: Look) -> None:
    skin: Colour = look.skin
    shadow = shadow_colour(skin)
    n = 0.185 if look.gender == "male" else 0.155
    neck = spline(mirror([(0.0, 0.20), (n, 0.22), (n - 0.005, 0.50), (n + 0.03, 0.63), (n + 0.09, 0.70), (0.0, 0.80)]))
    canvas.fill(neck, mix(skin, shadow, 0.15), to=mix(skin, shadow, 0.05))
    # The shadow of the chin, and the hollow between the collar bones.
    canvas.fill(
        ellipse(-look.light_side * 0.03, 0.47, 0.26, 0.115),
        shadow_colour(shadow),
        opacity=0.75,
        blur=0.035,
        inside=True,
    )
    canvas.fill(ellipse(0.0, 0.72, 0.035, 0.03), shadow, opacity=0.45, blur=0.02, inside=True)


def _collar_edge(canvas: Canvas, points: list[Point], colour: Colour, width: float) -> None:
    canvas.fill(
        ribbon([(x, y + 0.012) for x, y in points], (width * 1.3,) * len(points)),
        shade(colour, 0.45),
        opacity=0.45,
        blur=0.012,
    )
    canvas.fill(ribbon(points, (width,) * len(points)), colour)


def _round_collar(canvas: Canvas, look: Look, cloth: Colour) -> None:
    line: list[Point] = [(-0.265, 0.655), (-0.17, 0.755), (0.0, 0.795), (0.17, 0.755), (0.265, 0.655)]
    canvas.fill(
        np.concatenate([spline(line, closed=False), np.array([(0.4, 0.74), (0.3, 1.0), (-0.3, 1.0), (-0.4, 0.74)])]),
        cloth,
    )
    _collar_edge(canvas, line, shade(cloth, 0.86), 0.042)


def _v_neck(canvas: Canvas, look: Look, cloth: Colour) -> None:
    skin = mix(look.skin, shadow_colour(look.skin), 0.12)
    canvas.fill(
        spline([(-0.25, 0.655), (-0.11, 0.84), (0.0, 0.985), (0.11, 0.84), (0.25, 0.655), (0.0, 0.62)]),
        skin,
        to=look.skin,
    )
    canvas.fill(
        ellipse(0.0, 0.47, 0.25, 0.115), shadow_colour(shadow_colour(look.skin)), opacity=0.55, blur=0.035, inside=True
    )
    for side in (-1.0, 1.0):
        _collar_edge(canvas, [(side * 0.265, 0.645), (side * 0.13, 0.83), (0.0, 1.0)], shade(cloth, 0.82), 0.036)


def _shirt(canvas: Canvas, look: Look, cloth: Colour) -> None:
    light = mix(cloth, (255.0, 255.0, 255.0), 0.14)
    canvas.fill(
        np.array([(-0.02, 0.84), (0.02, 0.84), (0.035, BOTTOM), (-0.035, BOTTOM)]),
        shade(cloth, 0.80),
        opacity=0.8,
        blur=0.006,
    )
    for y in (0.98, 1.26, 1.54):
        canvas.fill(ellipse(0.0, y, 0.016, 0.016, steps=12), mix(light, (255.0, 255.0, 255.0), 0.5))
    for side in (-1.0, 1.0):
        flap = np.array([(side * 0.255, 0.60), (side * 0.005, 0.835), (side * 0.125, 0.945), (side * 0.335, 0.70)])
        canvas.fill(flap + np.array([0.0, 0.018]), shade(cloth, 0.4), opacity=0.5, blur=0.015, inside=True)
        canvas.fill(flap, light, to=shade(cloth, 0.92))


def _hoodie(canvas: Canvas, look: Look, cloth: Colour) -> None:
    _round_collar(canvas, look, cloth)
    for side in (-1.0, 1.0):
        hood: list[Point] = [
            (side * 0.20, 0.56),
            (side * 0.37, 0.66),
            (side * 0.30, 0.83),
            (side * 0.10, 0.93),
            (side * 0.05, 0.86),
            (side * 0.19, 0.74),
        ]
        canvas.fill(spline(hood) + np.array([0.0, 0.02]), shade(cloth, 0.4), opacity=0.5, blur=0.02, inside=True)
        canvas.fill(spline(hood), mix(cloth, (255.0, 255.0, 255.0), 0.07), to=shade(cloth, 0.78))
        canvas.fill(
            ribbon([(side * 0.11, 0.90), (side * 0.13, 1.05), (side * 0.12, 1.22)], (0.016, 0.016, 0.018)),
            (236.0, 232.0, 224.0),
        )


def _blazer(canvas: Canvas, look: Look, cloth: Colour) -> None:
    white: Colour = (240.0, 237.0, 230.0)
    canvas.fill(
        np.array([(-0.25, 0.66), (0.25, 0.66), (0.10, 1.55), (0.0, 1.75), (-0.10, 1.55)]),
        white,
        to=shade(white, 0.82),
    )
    canvas.fill(
        spline([(-0.19, 0.66), (0.0, 0.93), (0.19, 0.66), (0.0, 0.60)]), mix(look.skin, shadow_colour(look.skin), 0.2)
    )
    canvas.fill(
        ellipse(0.0, 0.47, 0.25, 0.115), shadow_colour(shadow_colour(look.skin)), opacity=0.5, blur=0.035, inside=True
    )
    for side in (-1.0, 1.0):
        lapel = np.array(
            [
                (side * 0.235, 0.60),
                (side * 0.04, 1.62),
                (side * 0.33, 1.22),
                (side * 0.42, 1.12),
                (side * 0.36, 1.06),
                (side * 0.39, 0.74),
            ]
        )
        canvas.fill(lapel + np.array([side * 0.012, 0.012]), shade(cloth, 0.35), opacity=0.6, blur=0.015, inside=True)
        canvas.fill(lapel, shade(cloth, 0.90), to=shade(cloth, 0.70))


def paint_hand(canvas: Canvas, look: Look, saturation: float) -> None:
    """Paint a raised hand with its sleeve, on the left of the frame; (0, 0) is the middle of the palm, fingers up."""
    skin: Colour = look.skin
    shadow = shadow_colour(skin)
    cloth = dress_colour(look, saturation)
    canvas.fill(ribbon([(0.0, 0.16), (-0.02, 0.5), (-0.04, 1.6)], (0.15, 0.19, 0.24)), skin, to=shadow)
    sleeve: list[Point] = [(-0.012, 0.40), (-0.03, 0.7), (-0.05, 1.7)]
    canvas.fill(ribbon(sleeve, (0.27, 0.29, 0.32)), cloth, to=shade(cloth, 0.6))
    canvas.fill(ribbon([(-0.15, 0.41), (0.125, 0.41)], (0.045, 0.045)), shade(cloth, 0.7))
    _paint_fingers(canvas, skin)
    _paint_palm(canvas, skin)


def _paint_fingers(canvas: Canvas, skin: Colour) -> None:
    """Paint four fingers and the thumb."""
    shadow, light = shadow_colour(skin), highlight_colour(skin)
    fingers = (
        (-0.085, 0.19, -0.20, 0.046),
        (-0.032, 0.235, -0.07, 0.050),
        (0.026, 0.225, 0.06, 0.049),
        (0.080, 0.175, 0.22, 0.043),
    )
    for x, length, lean, width in fingers:
        tip: Point = (x + lean * length, -0.09 - length)
        line: list[Point] = [(x, 0.0), (x + lean * length * 0.4, -0.09 - length * 0.5), tip]
        canvas.fill(ribbon(line, (width * 1.1, width, width * 0.9)), mix(skin, shadow, 0.12))
        canvas.fill(ellipse(*tip, width * 0.45, width * 0.45, steps=14), mix(skin, shadow, 0.05))
        highlight = ribbon([(px - width * 0.15, py) for px, py in line], (width * 0.3,) * 3)
        canvas.fill(highlight, light, opacity=0.35, blur=0.008, inside=True)
    thumb: list[Point] = [(0.06, 0.12), (0.145, 0.03), (0.19, -0.07)]
    canvas.fill(ribbon(thumb, (0.09, 0.062, 0.048)), mix(skin, shadow, 0.10))
    canvas.fill(ellipse(0.19, -0.07, 0.024, 0.024, steps=14), mix(skin, shadow, 0.10))


def _paint_palm(canvas: Canvas, skin: Colour) -> None:
    """Paint the palm and its two lines."""
    shadow = shadow_colour(skin)
    palm: list[Point] = [
        (-0.112, -0.10), (0.0, -0.125), (0.105, -0.09), (0.115, 0.06), (0.075, 0.20), (-0.07, 0.20), (-0.115, 0.06),
    ]  # fmt: skip
    canvas.fill(spline(palm), skin, to=mix(skin, shadow, 0.35))
    for line, widths in (
        ([(0.05, 0.13), (0.005, 0.04), (0.03, -0.05)], (0.006, 0.012, 0.004)),
        ([(-0.09, 0.0), (-0.02, 0.01), (0.06, -0.035)], (0.004, 0.010, 0.004)),
    ):
        canvas.fill(ribbon(line, widths), shadow, opacity=0.6, blur=0.006, inside=True)
