"""Paint the room behind the person. Unit: frame height; (0, 0) is the middle of the upper edge."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from crnet.simulate.canvas import Canvas, Colour, Point, ellipse, mix, rgb_from_hsv, ribbon, shade, spline
from crnet.simulate.people import Look

CLUTTER = 30  # items in the least tidy room
BLUR = 0.004  # blur of the lens, in frame heights


def light_gain(brightness: float, warmth: float) -> Colour:
    """Return the factors by which the light of the room multiplies colours."""
    return brightness * (1.0 + 0.14 * warmth), brightness * (1.0 + 0.01 * warmth), brightness * (1.0 - 0.22 * warmth)


def paint_background(
    width: int, height: int, look: Look, tidiness: float, brightness: float, warmth: float
) -> NDArray[np.uint8]:
    """Paint the room as uint8 RGB [height, width, 3].

    Args:
        width, height: Frame size in pixels.
        look: The person in the room; decides colours and furniture.
        tidiness: 0 = cluttered, 1 = bare.
        brightness: Share of full light.
        warmth: -1 = cold light, 1 = warm light.
    """
    rng = np.random.default_rng(look.room_seed)
    canvas = Canvas(width, height, float(height), (width / 2, 0.0))
    half = width / height / 2
    # The wall is darker than the fairest skin, so that faces stand out in full light.
    wall = rgb_from_hsv(look.wall_hue, rng.uniform(0.10, 0.26), rng.uniform(0.62, 0.76))
    window_side = look.light_side
    canvas.fill(_box(-half, 0.0, half, 1.0), mix(wall, (255.0, 255.0, 255.0), 0.15), to=shade(wall, 0.80))
    _wallpaper(canvas, half, wall, int(rng.integers(4)))
    canvas.fill(ellipse(window_side * half, 0.3, half * 1.1, 0.6), (255.0, 250.0, 238.0), opacity=0.40, blur=0.16)
    canvas.fill(ellipse(-window_side * half * 1.1, 0.7, half * 0.7, 0.6), shade(wall, 0.5), opacity=0.40, blur=0.16)
    x = window_side * half * 0.70
    {0: _window, 1: _window_with_curtains}[int(rng.integers(2))](canvas, x, brightness, wall)
    _shelf(canvas, -window_side * half * 0.66, tidiness, rng)
    _picture(canvas, window_side * half * 0.12 - window_side * 0.05, rng)
    _sofa(canvas, half, rgb_from_hsv(look.sofa_hue, 0.38, 0.62))
    if rng.random() < 0.7:
        _plant(canvas, -window_side * half * 0.93, rng)
    _clutter(canvas, half, tidiness, window_side, np.random.default_rng(look.room_seed + 1))
    canvas.tint(light_gain(brightness, warmth))
    if rng.random() < 0.6:  # painted after the tint, because a lamp is a light source
        _lamp(canvas, window_side * half * 0.33, brightness)
    picture = canvas.pixels()[..., :3]
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(0.4, BLUR * height)))


def _box(x0: float, y0: float, x1: float, y1: float, lean: float = 0.0) -> NDArray[np.float64]:
    """Return the corners of a rectangle, turned by `lean` radians about its foot."""
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    foot = np.array([(x0 + x1) / 2, y1])
    turn = np.array([[np.cos(lean), -np.sin(lean)], [np.sin(lean), np.cos(lean)]])
    return (corners - foot) @ turn.T + foot


def _wallpaper(canvas: Canvas, half: float, wall: Colour, pattern: int) -> None:
    """Paint a pattern: none, stripes, panels or bricks."""
    line = shade(wall, 0.90)
    if pattern == 1:
        for x in np.arange(-half, half, 0.12):
            canvas.fill(_box(x, 0.0, x + 0.06, 1.0), mix(wall, (255.0, 255.0, 255.0), 0.25), opacity=0.45)
    elif pattern == 2:
        for x in np.arange(-half + 0.03, half, 0.30):
            canvas.fill(_box(x, 0.655, x + 0.26, 0.74), shade(wall, 0.82), opacity=0.5, blur=0.004)
            canvas.fill(_box(x + 0.008, 0.663, x + 0.252, 0.74), mix(wall, (255.0, 255.0, 255.0), 0.12))
        canvas.fill(_box(-half, 0.625, half, 0.645), mix(wall, (255.0, 255.0, 255.0), 0.45), to=shade(wall, 0.85))
    elif pattern == 3:
        for row, y in enumerate(np.arange(0.0, 0.75, 0.05)):
            canvas.fill(_box(-half, y, half, y + 0.005), line, opacity=0.75)
            for x in np.arange(-half + (0.06 if row % 2 else 0.0), half, 0.12):
                canvas.fill(_box(x, y, x + 0.005, y + 0.05), line, opacity=0.75)


def _window(canvas: Canvas, x: float, brightness: float, wall: Colour) -> None:
    day = float(np.clip((brightness - 0.3) / 0.6, 0.0, 1.0))
    sky = mix((70.0, 84.0, 140.0), (186.0, 222.0, 250.0), day)
    ground = mix((70.0, 80.0, 90.0), (196.0, 222.0, 176.0), day)
    canvas.fill(_box(x - 0.235, 0.045, x + 0.235, 0.605), shade(wall, 0.5), opacity=0.5, blur=0.02)
    canvas.fill(_box(x - 0.225, 0.05, x + 0.225, 0.59), (250.0, 247.0, 240.0))
    canvas.fill(_box(x - 0.20, 0.075, x + 0.20, 0.565), sky, to=mix(sky, (255.0, 250.0, 235.0), 0.6))
    for i, tree in enumerate((-0.15, -0.02, 0.11)):
        canvas.fill(
            ellipse(x + tree, 0.565 - 0.02 * (i % 2), 0.085, 0.11),
            mix(ground, (70.0, 120.0, 70.0), 0.35),
            blur=0.006,
            inside=True,
        )
    canvas.fill(_box(x - 0.20, 0.52, x + 0.20, 0.566), ground)
    for bar in (_box(x - 0.010, 0.07, x + 0.010, 0.57), _box(x - 0.205, 0.30, x + 0.205, 0.318)):
        canvas.fill(bar, (246.0, 243.0, 236.0))
    canvas.fill(_box(x - 0.25, 0.585, x + 0.25, 0.612), (236.0, 230.0, 220.0), to=(205.0, 198.0, 188.0))


def _window_with_curtains(canvas: Canvas, x: float, brightness: float, wall: Colour) -> None:
    _window(canvas, x, brightness, wall)
    cloth = mix(wall, (214.0, 150.0, 110.0), 0.35)
    for side in (-1.0, 1.0):
        outer, inner = x + side * 0.30, x + side * 0.15
        canvas.fill(
            spline(
                [
                    (outer, 0.02),
                    (inner, 0.02),
                    (x + side * 0.17, 0.35),
                    (x + side * 0.21, 0.70),
                    (outer + side * 0.01, 0.70),
                ]
            ),
            cloth,
            to=shade(cloth, 0.8),
        )
        for fold in np.linspace(0.18, 0.29, 4):
            canvas.fill(
                ribbon([(x + side * fold, 0.03), (x + side * (fold + 0.01), 0.68)], (0.012, 0.016)),
                shade(cloth, 0.72),
                opacity=0.5,
                blur=0.006,
            )


def _shelf(canvas: Canvas, x: float, tidiness: float, rng: np.random.Generator) -> None:
    """Paint two boards with books: in rows if tidy, leaning and with gaps if not."""
    wood: Colour = (150.0, 108.0, 72.0)
    base_hue = rng.random()
    for y in (0.27, 0.52):
        canvas.fill(_box(x - 0.25, y, x + 0.25, y + 0.05), (40.0, 30.0, 24.0), opacity=0.35, blur=0.016)
        left = x - 0.23
        while left < x + 0.19:
            width, tall = rng.uniform(0.022, 0.042), rng.uniform(0.11, 0.165)
            messy = rng.random() > tidiness
            hue = rng.random() if messy else base_hue + rng.uniform(-0.05, 0.05)
            lean = rng.uniform(-0.35, 0.35) if messy else 0.0
            colour = rgb_from_hsv(hue, 0.55 if messy else 0.30, rng.uniform(0.50, 0.85))
            if not (tidiness > 0.5 and rng.random() < tidiness * 0.45):  # a tidy shelf has free space
                canvas.fill(
                    _box(left, y - tall, left + width, y, lean),
                    mix(colour, (255.0, 255.0, 255.0), 0.08),
                    to=shade(colour, 0.75),
                )
                canvas.fill(
                    _box(left + width * 0.2, y - tall * 0.8, left + width * 0.8, y - tall * 0.7, lean),
                    (240.0, 228.0, 200.0),
                    opacity=0.6,
                )
            left += width * (1.15 if not messy else 1.5)
        canvas.fill(_box(x - 0.26, y, x + 0.26, y + 0.022), mix(wood, (255.0, 255.0, 255.0), 0.15), to=shade(wood, 0.8))


def _picture(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    hue = rng.random()
    canvas.fill(_box(x - 0.125, 0.06, x + 0.125, 0.335), (30.0, 26.0, 24.0), opacity=0.30, blur=0.014)
    canvas.fill(_box(x - 0.12, 0.05, x + 0.12, 0.32), (88.0, 68.0, 54.0))
    canvas.fill(
        _box(x - 0.105, 0.065, x + 0.105, 0.305), rgb_from_hsv(hue, 0.18, 0.94), to=rgb_from_hsv(hue + 0.08, 0.32, 0.80)
    )
    canvas.fill(ellipse(x + 0.04, 0.13, 0.03, 0.03), rgb_from_hsv(hue + 0.4, 0.35, 0.95))
    hill: list[Point] = [(x - 0.105, 0.24), (x - 0.04, 0.19), (x + 0.03, 0.25), (x + 0.105, 0.21)]
    canvas.fill(
        np.concatenate([spline(hill, closed=False), [(x + 0.105, 0.305), (x - 0.105, 0.305)]]),
        rgb_from_hsv(hue + 0.3, 0.35, 0.55),
    )


def _sofa(canvas: Canvas, half: float, colour: Colour) -> None:
    canvas.fill(_box(-half * 0.98, 0.74, half * 0.98, 1.1), (30.0, 24.0, 24.0), opacity=0.35, blur=0.03)
    back = spline(
        [
            (-half * 0.92, 0.79),
            (-half * 0.5, 0.745),
            (0.0, 0.74),
            (half * 0.5, 0.745),
            (half * 0.92, 0.79),
            (half * 0.97, 1.3),
            (-half * 0.97, 1.3),
        ]
    )
    canvas.fill(back, mix(colour, (255.0, 255.0, 255.0), 0.12), to=shade(colour, 0.6))
    for seam in (-0.33, 0.33):
        canvas.fill(
            ribbon([(half * seam, 0.76), (half * seam * 1.02, 1.05)], (0.01, 0.014)),
            shade(colour, 0.5),
            opacity=0.6,
            blur=0.005,
        )


def _plant(canvas: Canvas, x: float, rng: np.random.Generator) -> None:
    for angle in np.linspace(-1.15, 1.15, 9):
        length = rng.uniform(0.20, 0.30)
        tip: Point = (x + length * np.sin(angle), 0.72 - length * np.cos(angle))
        middle: Point = (x + 0.5 * length * np.sin(angle * 0.6), 0.72 - 0.62 * length)
        green = rgb_from_hsv(rng.uniform(0.27, 0.38), 0.48, rng.uniform(0.38, 0.62))
        canvas.fill(ribbon([(x, 0.74), middle, tip], (0.012, 0.052, 0.004)), green)
        canvas.fill(ribbon([(x, 0.74), middle, tip], (0.003, 0.005, 0.002)), shade(green, 1.35), opacity=0.6)
    canvas.fill(
        np.array([(x - 0.085, 0.72), (x + 0.085, 0.72), (x + 0.062, 0.90), (x - 0.062, 0.90)]),
        (196.0, 112.0, 78.0),
        to=(140.0, 74.0, 52.0),
    )


def _lamp(canvas: Canvas, x: float, brightness: float) -> None:
    canvas.fill(ribbon([(x, 0.50), (x, 0.78)], (0.012, 0.012)), shade((92.0, 78.0, 66.0), brightness))
    canvas.fill(ellipse(x, 0.44, 0.24, 0.22), (255.0, 214.0, 150.0), opacity=0.28, blur=0.08)
    glow = 1.0 - 0.08 * brightness
    canvas.fill(
        np.array([(x - 0.055, 0.36), (x + 0.055, 0.36), (x + 0.095, 0.51), (x - 0.095, 0.51)]),
        shade((255.0, 240.0, 205.0), glow),
        to=(250.0, 208.0, 140.0),
    )


def _clutter(canvas: Canvas, half: float, tidiness: float, window_side: float, rng: np.random.Generator) -> None:
    """Paint notes on the wall, boxes and heaps of clothes; a tidier room leaves out the last ones."""
    for item in range(round(CLUTTER * (1.0 - tidiness))):
        side = -1.0 if item % 2 else 1.0
        x = side * half * rng.uniform(0.28, 0.97)
        colour = rgb_from_hsv(rng.random(), rng.uniform(0.35, 0.75), rng.uniform(0.45, 0.95))
        top, lean, size = rng.uniform(0.06, 0.60), rng.uniform(-0.4, 0.4), rng.uniform(0.045, 0.085)
        if item % 3 == 0:
            if side == window_side:  # beside the window, not on it
                x = side * half * (0.27 + 0.17 * abs(x) / half)
            _note(canvas, x, top, size, lean, colour)
        elif item % 3 == 1:
            _cardboard_box(canvas, x, 0.80 + 0.14 * rng.random(), size, lean, colour)
        else:
            _heap_of_clothes(canvas, x, 0.70 + 0.20 * rng.random(), size, colour)


def _note(canvas: Canvas, x: float, top: float, size: float, lean: float, colour: Colour) -> None:
    shadow = _box(x - size + 0.006, top + 0.008, x + size + 0.006, top + 1.5 * size + 0.008, lean)
    canvas.fill(shadow, (20.0, 18.0, 18.0), opacity=0.35, blur=0.008)
    canvas.fill(_box(x - size, top, x + size, top + 1.5 * size, lean), mix(colour, (255.0, 255.0, 245.0), 0.45))
    for line in (0.3, 0.55, 0.8):
        y = top + line * 1.5 * size
        canvas.fill(_box(x - size * 0.7, y, x + size * 0.6, y + 0.006, lean), shade(colour, 0.5), opacity=0.7)


def _cardboard_box(canvas: Canvas, x: float, foot: float, size: float, lean: float, colour: Colour) -> None:
    left, right = x - 1.5 * size, x + 1.5 * size
    canvas.fill(_box(left, foot - 1.8 * size, right, foot, lean * 0.3), colour, to=shade(colour, 0.6))
    tape = _box(left, foot - 1.4 * size, right, foot - 1.2 * size, lean * 0.3)
    canvas.fill(tape, shade(colour, 1.3), opacity=0.8)


def _heap_of_clothes(canvas: Canvas, x: float, foot: float, size: float, colour: Colour) -> None:
    heap: list[Point] = [
        (x - 1.9 * size, foot), (x - size, foot - size), (x, foot - 0.6 * size), (x + size, foot - 1.3 * size),
        (x + 1.9 * size, foot + 0.02), (x, foot + 0.6 * size),
    ]  # fmt: skip
    canvas.fill(spline(heap), colour, to=shade(colour, 0.6))
    fold: list[Point] = [(x - size, foot - 0.5 * size), (x, foot), (x + size, foot - 0.4 * size)]
    canvas.fill(ribbon(fold, (0.004, 0.014, 0.004)), shade(colour, 0.5), opacity=0.6, blur=0.004)
