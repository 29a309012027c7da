"""Paint the still parts of a head: skull, ears, shading, nose, beard. Unit: head height; (0, 0) between the eyes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from crnet.simulate.canvas import Canvas, Colour, Point, ellipse, mirror, mix, ribbon, shade, spline
from crnet.simulate.people import Look

WHITE: Colour = (255.0, 246.0, 236.0)
MOUTH_Y = 0.305
BROW_Y = -0.098
EAR_X = 0.012  # how far an ear overlaps the face


def face_outline(look: Look) -> NDArray[np.float64]:
    """Return the outline of crown, temples, cheeks, jaw and chin."""
    w, jaw, chin = look.face_width, look.jaw_width, look.chin_width
    right: list[Point] = [
        (0.0, -0.500), (0.13, -0.486), (0.25, -0.420), (w - 0.025, -0.27), (w, -0.08), (w - 0.008, 0.08),
        (jaw + 0.040, 0.225), (jaw - 0.010, 0.335), (chin + 0.080, 0.435), (chin, 0.484), (0.0, 0.500),
    ]  # fmt: skip
    return spline(mirror(right))


def shadow_colour(colour: Colour) -> Colour:
    """Return the colour of skin in shadow: darker, and redder rather than greyer."""
    red, green, blue = colour
    return red * 0.74, green * 0.63, blue * 0.60


def highlight_colour(colour: Colour) -> Colour:
    """Return the colour of skin in full light."""
    # Dark skin reflects more light than it scatters.
    return mix(shade(colour, 1.06), WHITE, 0.28 + 0.16 * (1.0 - sum(colour) / 765.0))


def paint_head(canvas: Canvas, look: Look, smile: float) -> None:
    """Paint ears, face and shading, without hair and without moving features."""
    skin: Colour = look.skin
    shadow, light = shadow_colour(skin), highlight_colour(skin)
    outline = face_outline(look)
    for side in (-1.0, 1.0):
        _paint_ear(canvas, look, side, shadow)
    canvas.fill(outline, mix(skin, light, 0.12), to=mix(skin, shadow, 0.10))
    side = look.light_side
    # The side away from the light, the rim of the cheeks and the underside of the jaw are in shadow.
    far = outline.copy()
    far[:, 0] = far[:, 0] * 0.55 - side * 0.34
    canvas.fill(far, shadow, opacity=0.20 + 0.30 * look.light_contrast, blur=0.075, inside=True)
    for edge in (-1.0, 1.0):
        rim: list[Point] = [(edge * (look.face_width + 0.01), -0.25), (edge * (look.face_width + 0.01), 0.06),
                            (edge * (look.jaw_width + 0.045), 0.26),
                            (edge * (look.chin_width + 0.08), 0.45)]  # fmt: skip
        canvas.fill(ribbon(rim, (0.05, 0.06, 0.06, 0.05)), shadow, opacity=0.35, blur=0.025, inside=True)
    canvas.fill(ellipse(0.0, 0.53, 0.24, 0.055), shadow, opacity=0.45, blur=0.03, inside=True)
    canvas.fill(ellipse(side * 0.09, -0.25, 0.17, 0.085), light, opacity=0.55, blur=0.05, inside=True)
    canvas.fill(ellipse(side * 0.205, 0.12, 0.075, 0.06), light, opacity=0.50, blur=0.035, inside=True)
    canvas.fill(ellipse(0.0, 0.435, 0.06, 0.03), light, opacity=0.40, blur=0.02, inside=True)
    _paint_cheeks(canvas, look, smile, shadow)
    if look.beard > 0.0:
        _paint_beard(canvas, look)


def _paint_ear(canvas: Canvas, look: Look, side: float, shadow: Colour) -> None:
    x = side * (look.face_width + EAR_X)
    canvas.fill(ellipse(x, 0.03, 0.045, 0.10, side * 0.16), mix(look.skin, shadow, 0.25))
    canvas.fill(
        ellipse(x + side * 0.006, 0.025, 0.022, 0.062, side * 0.16), shadow, opacity=0.55, blur=0.010, inside=True
    )


def _paint_cheeks(canvas: Canvas, look: Look, smile: float, shadow: Colour) -> None:
    red: Colour = (min(255.0, look.skin[0] * 1.02), look.skin[1] * 0.72, look.skin[2] * 0.70)
    lift = 0.02 * max(0.0, smile)
    for side in (-1.0, 1.0):
        x = side * look.face_width * 0.60
        canvas.fill(
            ellipse(x, 0.165 - lift, 0.075, 0.050), red, opacity=0.30 + 0.15 * max(0.0, smile), blur=0.032, inside=True
        )
        # The fold from the nose to the corner of the mouth deepens with a smile.
        fold: list[Point] = [
            (side * (look.nose_width + 0.025), look.nose_length - 0.02),
            (side * (look.mouth_width + 0.025), MOUTH_Y - 0.05),
            (side * (look.mouth_width + 0.045), MOUTH_Y + 0.0),
        ]
        canvas.fill(
            ribbon(fold, (0.006, 0.016, 0.004)), shadow, opacity=0.18 + 0.45 * max(0.0, smile), blur=0.008, inside=True
        )
        if look.freckles:
            for i in range(9):
                dx, dy = 0.075 * np.cos(2.4 * i) * (0.4 + 0.07 * i), 0.035 * np.sin(2.4 * i) * (0.4 + 0.07 * i)
                canvas.fill(ellipse(x * 0.8 + dx, 0.14 + dy, 0.005, 0.005, steps=8), shadow, opacity=0.55, inside=True)


def _paint_beard(canvas: Canvas, look: Look) -> None:
    full = look.beard >= 1.0
    hair: Colour = mix(look.hair, shadow_colour(look.skin), 0.15 if full else 0.5)
    jaw, chin, w = look.jaw_width, look.chin_width, look.face_width
    right: list[Point] = [
        (0.0, 0.225), (0.085, 0.232), (0.155, 0.285), (0.205, 0.255), (w - 0.045, 0.06), (w + 0.01, 0.05),
        (jaw + 0.05, 0.26), (jaw + 0.01, 0.36), (chin + 0.09, 0.46), (chin, 0.51), (0.0, 0.53),
    ]  # fmt: skip
    canvas.fill(spline(mirror(right)), hair, opacity=0.90 if full else 0.34, blur=0.016, inside=True)
    bare = ellipse(0.0, MOUTH_Y + 0.052, 0.05, 0.018)
    canvas.fill(bare, look.skin, opacity=0.25, blur=0.01, inside=True)


def paint_inner(canvas: Canvas, look: Look) -> None:
    """Paint the parts that shift when the head turns: eye sockets, nose, and the hollows above and below the lips."""
    skin: Colour = look.skin
    shadow, light = shadow_colour(skin), highlight_colour(skin)
    dark = shadow_colour(shadow)
    side, nose, tip = look.light_side, look.nose_width, look.nose_length
    for eye in (-1.0, 1.0):
        x = eye * look.eye_distance
        canvas.fill(ellipse(x, -0.012, look.eye_size * 0.66, 0.064), shadow, opacity=0.42, blur=0.024)
        canvas.fill(ellipse(x - eye * 0.075, -0.010, 0.026, 0.055), shadow, opacity=0.40, blur=0.020)
        canvas.fill(ellipse(x, 0.066, look.eye_size * 0.48, 0.012), shadow, opacity=0.28, blur=0.012)
    bridge: list[Point] = [(-side * 0.034, -0.06), (-side * 0.040, 0.04), (-side * (nose * 0.72), tip - 0.05)]
    canvas.fill(ribbon(bridge, (0.020, 0.030, 0.036)), shadow, opacity=0.50, blur=0.016)
    canvas.fill(
        ribbon([(side * 0.006, -0.05), (side * 0.006, tip - 0.05)], (0.022, 0.026)), light, opacity=0.55, blur=0.012
    )
    canvas.fill(ellipse(0.0, tip + 0.020, nose * 0.95, 0.022), shadow, opacity=0.62, blur=0.013)
    ball = [(-nose, tip - 0.018), (-nose * 0.55, tip - 0.055), (0.0, tip - 0.062), (nose * 0.55, tip - 0.055),
            (nose, tip - 0.018), (nose * 0.55, tip + 0.014), (0.0, tip + 0.024),
            (-nose * 0.55, tip + 0.014)]  # fmt: skip
    canvas.fill(spline(ball), mix(skin, shadow, 0.10), opacity=0.75, blur=0.012)
    canvas.fill(ellipse(side * 0.010, tip - 0.026, 0.020, 0.015), light, opacity=0.75, blur=0.010)
    for nostril in (-1.0, 1.0):
        wing: list[Point] = [
            (nostril * nose * 0.92, tip - 0.032), (nostril * (nose + 0.004), tip - 0.010),
            (nostril * nose * 0.80, tip + 0.010),
        ]  # fmt: skip
        canvas.fill(ribbon(wing, (0.004, 0.011, 0.006)), dark, opacity=0.50, blur=0.004)
        canvas.fill(
            ellipse(nostril * nose * 0.48, tip + 0.008, 0.019, 0.0085, nostril * -0.2), dark, opacity=0.85, blur=0.004
        )
    canvas.fill(ribbon([(0.0, tip + 0.035), (0.0, MOUTH_Y - 0.035)], (0.018, 0.026)), shadow, opacity=0.25, blur=0.010)
    canvas.fill(ellipse(0.0, MOUTH_Y + 0.070, 0.065, 0.013), shadow, opacity=0.40, blur=0.013)
