"""Draw the moving features of a face in every frame: eyes, brows, mouth. Units are those of head.py."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from crnet.simulate.canvas import SUBPIXEL_BITS, Colour, Pixels, Point, ellipse, fill_polygon, mix, ribbon, shade
from crnet.simulate.head import BROW_Y, MOUTH_Y, shadow_colour
from crnet.simulate.people import Look

IRIS_RADIUS = 0.037
UPPER_LID, LOWER_LID = 0.039, 0.021  # a relaxed eye's opening above and below the line of its corners
LID_X = np.linspace(-1.0, 1.0, 13)
LIP_X = np.linspace(-1.0, 1.0, 21)
LIP_ARC = 1.0 - LIP_X**2
CUPIDS_BOW = LIP_ARC**0.6 * (1.0 - 0.28 * np.exp(-((LIP_X / 0.14) ** 2)))
LARGEST_OPENING = 0.075


@dataclass(frozen=True)
class Expression:
    """The expression of a face at one moment.

    Attributes:
        eye_opening: Opening of the eyes, 1 = relaxed, 0 = shut.
        gaze: Gaze direction in iris radii right and down of the camera.
        brow: Position of the brows, -1 = knit and low, 1 = raised.
        smile: Curve of the mouth, -1 to 1.
        mouth_opening: Opening of the mouth, 0 = closed, 1 = wide open.
        turn: Shift of the features on the head (right, down) when it turns and nods.
    """

    eye_opening: float = 1.0
    gaze: Point = (0.0, 0.0)
    brow: float = 0.0
    smile: float = 0.0
    mouth_opening: float = 0.0
    turn: Point = (0.0, 0.0)


class FeaturePainter:
    """Draws the features of one person.

    Args:
        look: The person.
        scale: Pixels per head height.
        origin: Pixel between the eyes.
        gain: Light on the face, which multiplies the colours.
    """

    def __init__(self, look: Look, scale: float, origin: Point, gain: Colour) -> None:
        self.look, self.scale = look, scale
        self.origin = np.array(origin)
        skin: Colour = look.skin
        dark = shadow_colour(shadow_colour(skin))
        lash = mix((28.0, 20.0, 20.0), look.hair, 0.25)
        brow = mix(shade(look.hair, 0.72), dark, 0.30)
        if sum(look.hair) > 480:  # fair or grey hair goes with darker brows
            brow = mix(shade(look.hair, 0.55), dark, 0.4)
        colours: dict[str, Colour] = {
            "white": mix((246.0, 242.0, 238.0), skin, 0.06),
            "white_shade": mix((196.0, 186.0, 184.0), skin, 0.15),
            "iris": look.iris,
            "iris_rim": shade(look.iris, 0.45),
            "iris_light": mix(shade(look.iris, 1.5), (230.0, 200.0, 150.0), 0.2),
            "pupil": (14.0, 11.0, 12.0),
            "glint": (255.0, 255.0, 255.0),
            "lid": mix(skin, shadow_colour(skin), 0.55),
            "crease": mix(shadow_colour(skin), dark, 0.35),
            "lash": lash,
            "lower_lash": mix(shadow_colour(skin), lash, 0.30),
            "brow": brow,
            "corner": mix(skin, (214.0, 120.0, 112.0), 0.5),
            "upper_lip": shade(look.lip, 0.84),
            "lower_lip": look.lip,
            "lip_light": mix(look.lip, (255.0, 226.0, 220.0), 0.40),
            "lip_line": shade(look.lip, 0.45),
            "mouth": (62.0, 20.0, 24.0),
            "tongue": (168.0, 74.0, 76.0),
            "teeth": (244.0, 240.0, 232.0),
            "glasses": mix((62.0, 46.0, 42.0), skin, 0.18),
        }
        self.colours = {
            name: (*(min(255, int(c * g)) for c, g in zip(colour, gain, strict=True)), 255)
            for name, colour in colours.items()
        }

    def draw(self, picture: Pixels, face: Expression) -> None:
        """Draw on a premultiplied RGBA picture of the head, in place."""
        shift = np.array(face.turn)
        for side in (-1.0, 1.0):
            middle = shift + np.array([side * self.look.eye_distance, 0.0])
            self._eye(picture, middle, side, face)
            self._brow(picture, middle, side, face.brow)
        self._mouth(picture, shift * 1.05 + np.array([0.0, MOUTH_Y]), face)
        if self.look.glasses:
            self._glasses(picture, shift)

    def _fill(self, picture: Pixels, points: NDArray[np.float64], colour: str) -> None:
        fill_polygon(picture, points * self.scale + self.origin, self.colours[colour])

    def _eye(self, picture: Pixels, middle: NDArray[np.float64], side: float, face: Expression) -> None:
        half = self.look.eye_size / 2
        x = side * LID_X * half
        # The tilt raises the outer corner; the upper lid peaks slightly outside the middle.
        corner = -self.look.eye_tilt * LID_X
        upper = corner - UPPER_LID * face.eye_opening * np.clip(1 - np.abs(LID_X - 0.08 * (1 - LID_X**2)) ** 2.3, 0, 1)
        lower = corner + LOWER_LID * min(1.0, 0.35 + 0.65 * face.eye_opening) * (1 - LID_X**2) ** 0.8
        upper = np.minimum(upper, lower)
        top, bottom = np.stack([x, upper], 1) + middle, np.stack([x, lower], 1) + middle
        lid = np.stack([x, corner - (UPPER_LID + 0.016) * np.clip(1 - LID_X**2, 0, 1) ** 0.7 - 0.004], 1) + middle
        self._fill(picture, np.concatenate([lid, top[::-1]]), "lid")
        if face.eye_opening > 0.08:
            self._eyeball(picture, np.concatenate([top, bottom[::-1]]), middle, side, face)
        thickness = 0.010 if self.look.gender == "male" else 0.014
        lash = top - np.stack(
            [-side * 0.010 * np.clip(LID_X, 0, 1) ** 3, thickness * (0.45 + 0.55 * (LID_X + 1) / 2) * (1 - LID_X**8)], 1
        )
        flick = np.array([[side * (half + 0.012), corner[-1] - 0.010 * face.eye_opening]]) + middle
        self._fill(picture, np.concatenate([lash, flick, top[::-1] + np.array([0.0, 0.004])]), "lash")
        self._line(picture, bottom[2:], "lower_lash", 0.004)
        self._line(picture, lid[2:-1], "crease", 0.006)

    def _eyeball(
        self, picture: Pixels, opening: NDArray[np.float64], middle: NDArray[np.float64], side: float, face: Expression
    ) -> None:
        """Draw white, iris, pupil and glint on a small patch, visible through the opening of the lids."""
        corners = opening * self.scale + self.origin
        x0, y0 = np.floor(corners.min(0)).astype(int) - 1
        x1, y1 = np.ceil(corners.max(0)).astype(int) + 2
        under = picture[y0:y1, x0:x1]
        patch = np.empty_like(under)
        patch[:] = self.colours["white"]
        offset = self.origin - (x0, y0)

        def draw(points: NDArray[np.float64], colour: str) -> None:
            fill_polygon(patch, points * self.scale + offset, self.colours[colour])

        x, y = middle
        inner = ellipse(x - side * self.look.eye_size * 0.52, y + 0.004, 0.018, 0.014, steps=12)
        draw(inner, "corner")
        ix, iy = x + face.gaze[0] * IRIS_RADIUS, y - 0.006 + face.gaze[1] * IRIS_RADIUS
        draw(ellipse(ix, iy, IRIS_RADIUS, IRIS_RADIUS, steps=24), "iris_rim")
        draw(ellipse(ix, iy, IRIS_RADIUS * 0.84, IRIS_RADIUS * 0.84, steps=24), "iris")
        draw(ellipse(ix, iy + IRIS_RADIUS * 0.36, IRIS_RADIUS * 0.55, IRIS_RADIUS * 0.36, steps=16), "iris_light")
        draw(ellipse(ix, iy, IRIS_RADIUS * 0.46, IRIS_RADIUS * 0.46, steps=16), "pupil")
        # The upper lid casts a shadow on the eyeball.
        rows = ((np.arange(y0, y1) - self.origin[1]) / self.scale - y + UPPER_LID * face.eye_opening) / 0.022
        lid_shadow = (1.0 - 0.32 * np.clip(1.0 - rows, 0.0, 1.0)).astype(np.float32)[:, None, None]
        patch[..., :3] = patch[..., :3] * lid_shadow  # rounded down
        glint = self.look.light_side * IRIS_RADIUS * 0.34
        draw(ellipse(ix + glint, iy - IRIS_RADIUS * 0.36, IRIS_RADIUS * 0.24, IRIS_RADIUS * 0.24, steps=12), "glint")
        mask = np.zeros(under.shape[:2], np.uint8)
        fill_polygon(mask, corners - (x0, y0), 255)
        _blend(under, patch, mask)

    def _brow(self, picture: Pixels, middle: NDArray[np.float64], side: float, brow: float) -> None:
        knit, raised = max(0.0, -brow), max(0.0, brow)
        weight = self.look.brow_weight
        y = BROW_Y - 0.046 * raised + 0.018 * knit
        line: list[Point] = [
            (-side * (0.082 + 0.018 * knit), y + 0.012 + 0.034 * knit),
            (-side * 0.030, y - 0.004 + 0.014 * knit),
            (side * 0.035, y - 0.016 - 0.006 * raised),
            (side * 0.098, y + 0.010 + 0.004 * raised),
        ]
        self._fill(picture, ribbon(line, (weight * 0.75, weight, weight * 0.85, weight * 0.22)) + middle, "brow")

    def _mouth(self, picture: Pixels, middle: NDArray[np.float64], face: Expression) -> None:
        smile = face.smile
        width = self.look.mouth_width * (1.0 + 0.20 * smile - 0.12 * face.mouth_opening)
        opening = LARGEST_OPENING * face.mouth_opening + 0.030 * max(0.0, smile - 0.35)
        x = LIP_X * width
        corner, centre = -0.040 * smile, 0.016 * smile - 0.010 * face.mouth_opening
        line = corner + (centre - corner) * LIP_ARC
        fullness = 0.021 if self.look.gender == "male" else 0.027
        top = line - fullness * (1.0 - 0.3 * max(0.0, smile)) * CUPIDS_BOW
        inner = line + opening * LIP_ARC**0.65
        bottom = inner + (fullness * 1.25) * LIP_ARC**0.8

        def curve(y: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.stack([x, y], 1) + middle

        def between(upper: NDArray[np.float64], lower: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.concatenate([curve(upper), curve(lower)[::-1]])

        self._fill(picture, between(top, line + 0.002), "upper_lip")
        self._fill(picture, between(inner - 0.002, bottom), "lower_lip")
        glow = np.abs(LIP_X) < 0.55
        shine = np.concatenate(
            [curve(inner + (bottom - inner) * 0.38)[glow], curve(inner + (bottom - inner) * 0.60)[glow][::-1]]
        )
        self._fill(picture, shine, "lip_light")
        if opening > 0.006:
            self._fill(picture, between(line, inner), "mouth")
            if opening > 0.03:
                self._fill(picture, between(line + (inner - line) * 0.72, inner), "tongue")
            teeth = np.minimum(line + 0.020 * LIP_ARC**0.4, line + (inner - line) * 0.85)
            self._fill(picture, between(line, teeth), "teeth")
        self._line(picture, curve(line), "lip_line", 0.007)

    def _glasses(self, picture: Pixels, shift: NDArray[np.float64]) -> None:
        y = 0.010
        for side in (-1.0, 1.0):
            x = side * (self.look.eye_distance + 0.004)
            if self.look.glasses == 1:
                rim = ellipse(x, y, 0.100, 0.094)
            else:
                turn = np.linspace(0.0, 2 * np.pi, 40, endpoint=False)
                c, s = np.cos(turn), np.sin(turn)
                rim = np.stack(
                    [x + 0.100 * np.sign(c) * np.abs(c) ** 0.45, y + 0.072 * np.sign(s) * np.abs(s) ** 0.45], 1
                )
            self._line(picture, rim + shift, "glasses", 0.008, closed=True)
            arm = np.array([(x + side * 0.100, y - 0.02), (side * (self.look.face_width + 0.01), y - 0.028)])
            self._line(picture, arm + shift * np.array([0.6, 1.0]), "glasses", 0.008)
        bridge = np.array([(-0.062, y - 0.012), (0.0, y - 0.026), (0.062, y - 0.012)])
        self._line(picture, bridge + shift, "glasses", 0.008)

    def _line(
        self, picture: Pixels, points: Float64[np.ndarray, "n 2"], colour: str, width: float, *, closed: bool = False
    ) -> None:
        fixed = np.rint((points * self.scale + self.origin) * (1 << SUBPIXEL_BITS)).astype(np.int32)
        thickness = max(1, round(width * self.scale))
        cv2.polylines(picture, [fixed], closed, self.colours[colour], thickness, cv2.LINE_AA, SUBPIXEL_BITS)


def _blend(under: Pixels, over: Pixels, mask: NDArray[np.uint8]) -> None:
    """Blend `over` into `under` in place, with the weight mask / 255."""
    through = cv2.merge([mask] * under.shape[2])
    remainder = cv2.multiply(under, 255 - through, scale=1.0 / 255.0)
    under[:] = cv2.add(remainder, cv2.multiply(over, through, scale=1.0 / 255.0))
