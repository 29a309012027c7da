"""Render a person in a room: background, body, head and hands, composited frame by frame."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from crnet.simulate.body import NECK_Y, SLUMP_TILT, paint_body, paint_hand
from crnet.simulate.canvas import Canvas, Colour, Pixels, composite_warped, mix
from crnet.simulate.face_features import Expression, FeaturePainter
from crnet.simulate.hair import paint_hair, paint_hair_behind
from crnet.simulate.head import MOUTH_Y, paint_head, paint_inner
from crnet.simulate.motion import Motion
from crnet.simulate.people import Look
from crnet.simulate.scenery import light_gain, paint_background

EYE_LINE = 0.415  # share of the frame height
SLUMP_DROP = 0.15  # head heights by which the head sinks between the shoulders
HEAD_BOX = (
    0.76,
    0.86,
    0.76,
    1.10,
)  # extent of the head's layer from the eyes: left, above, right, below, in head heights
HAND_BOX = (0.36, 0.42, 0.36, 1.75)
HAND_X = 0.84  # head heights from the middle
HAND_TOP_Y = 0.52  # height of a hand at gesture 1
# Measured: the box that MTCNN finds, in head heights left, top, right, bottom of the eyes; how far a turn moves it.
FACE_BOX = (-0.335, -0.370, 0.340, 0.525)
FACE_TURN = 0.6
EYES_Y, NOSE_TIP, MOUTH_CORNER = -0.013, 0.022, 1.1  # landmarks; the corner is in half widths of the mouth
FACE_LIGHT = 0.58  # share of the light on the person that does not come from the room


class PersonRenderer:
    """Renders one person in one room at any moment of a clip.

    Background, body, head and hands are painted once. Each frame moves these layers and draws eyes, brows and mouth.

    Args:
        look: The person.
        cues: Value of every cue by name.
        width, height: Frame size in pixels.
    """

    def __init__(self, look: Look, cues: Mapping[str, float], width: int, height: int) -> None:
        self.look, self.cues = look, cues
        self.size = (width, height)
        self.head_px = cues["closeness"] * height
        self.slump = 1.0 - cues["posture"]
        self.detail = 2.0 if height <= 400 else 1.3  # pixels of the head's layer per pixel of the frame
        gain = person_gain(cues)
        self.background = paint_background(
            width, height, look, cues["tidiness"], cues["room_brightness"], cues["room_warmth"]
        )
        self._paint_body(gain)
        self._paint_head(gain)
        self._paint_hands(gain)

    def _canvas(self, box: tuple[float, float, float, float], detail: float) -> Canvas:
        left, above, right, below = box
        scale = self.head_px * detail
        size = (int((left + right) * scale) + 2, int((above + below) * scale) + 2)
        return Canvas(*size, scale, (left * scale, above * scale))

    def _paint_body(self, gain: Colour) -> None:
        height = self.size[1]
        below = min(3.0, height / self.head_px)
        canvas = self._canvas((1.3, -0.15, 1.3, below), 1.0)
        paint_body(canvas, self.look, self.cues["dress_saturation"], self.cues["posture"])
        canvas.tint(gain)
        self.body, self.body_origin = canvas.pixels(), canvas.origin

    def _paint_head(self, gain: Colour) -> None:
        behind = self._canvas(HEAD_BOX, 1.0)
        paint_hair_behind(behind, self.look)
        behind.tint(gain)
        self.behind = behind.pixels() if behind.rgba[..., 3].any() else None
        self.behind_origin = behind.origin
        skull = self._canvas(HEAD_BOX, self.detail)
        paint_head(skull, self.look, self.cues["smile"])
        inner = self._canvas(HEAD_BOX, self.detail)
        paint_inner(inner, self.look)
        paint_hair(skull, self.look)
        for canvas in (skull, inner):
            canvas.tint(gain)
        self.head, self.inner, self.head_origin = skull.pixels(), inner.pixels(), skull.origin
        self.features = FeaturePainter(self.look, skull.scale, (skull.origin[0], skull.origin[1]), gain)

    def _paint_hands(self, gain: Colour) -> None:
        canvas = self._canvas(HAND_BOX, 1.0)
        paint_hand(canvas, self.look, self.cues["dress_saturation"])
        canvas.tint(gain)
        self.hand, self.hand_origin = canvas.pixels(), canvas.origin

    def render(self, motion: Motion, index: int) -> Pixels:
        """Return the frame at one moment, uint8 RGB [height, width, 3]."""
        picture = self.background.copy()
        middle = self._middle()
        body = middle + np.array([motion.body_x[index], motion.body_y[index]]) * self.head_px
        head, roll = self._head(motion, index)
        head_matrix = _placement(head, self.head_origin, roll, 1.0 / self.detail, (0.0, NECK_Y * self.head_px))
        if self.behind is not None:
            composite_warped(
                picture, self.behind, _placement(head, self.behind_origin, roll, 1.0, (0.0, NECK_Y * self.head_px))
            )
        lean = SLUMP_TILT * self.slump * -self.look.light_side
        composite_warped(picture, self.body, _placement(body, self.body_origin, lean, 1.0, (0.0, 0.8 * self.head_px)))
        composite_warped(picture, self._animated_head(motion, index), head_matrix)
        self._composite_hands(picture, middle, motion, index)
        return picture

    def locate_face(self, motion: Motion, index: int) -> tuple[Float32[np.ndarray, " 4"], Float32[np.ndarray, "5 2"]]:
        """Return the box that a detector finds, x0 y0 x1 y1, and the five landmarks, in pixels."""
        head, roll = self._head(motion, index)
        turn = np.array([motion.turn_x[index], motion.turn_y[index]])
        mouth_x = self.look.mouth_width * MOUTH_CORNER
        eye_x = self.look.eye_distance
        landmarks = turn + np.array(
            [
                (-eye_x, EYES_Y),
                (eye_x, EYES_Y),
                (0.0, self.look.nose_length - NOSE_TIP),
                (-mouth_x, MOUTH_Y),
                (mouth_x, MOUTH_Y),
            ]
        )
        corners = np.array(FACE_BOX).reshape(2, 2)
        centre, half = corners.mean(axis=0) + FACE_TURN * turn, (corners[1] - corners[0]) / 2
        matrix = _placement(head, np.zeros(2), roll, self.head_px, (0.0, NECK_Y * self.head_px))
        points = np.concatenate([centre[None], landmarks]) @ matrix[:, :2].T + matrix[:, 2]
        box = np.concatenate([points[0] - half * self.head_px, points[0] + half * self.head_px])
        return box.astype(np.float32), points[1:].astype(np.float32)

    def _middle(self) -> NDArray[np.float64]:
        """Return the point between the eyes of an upright person at rest, in pixels."""
        width, height = self.size
        return np.array([width * (0.5 + self.look.camera_x), height * EYE_LINE])

    def _head(self, motion: Motion, index: int) -> tuple[NDArray[np.float64], float]:
        """Return the point between the eyes before the head tilts about the neck (pixels), and the tilt (radians)."""
        offset = (
            motion.head_x[index] + 0.7 * motion.body_x[index],
            motion.head_y[index] + motion.body_y[index] + SLUMP_DROP * self.slump,
        )
        roll = float(motion.roll[index]) + SLUMP_TILT * self.slump * self.look.light_side
        return self._middle() + self.head_px * np.array(offset), roll

    def _animated_head(self, motion: Motion, index: int) -> Pixels:
        turn = (float(motion.turn_x[index]), float(motion.turn_y[index]))
        picture = self.head.copy()
        shift = np.rint(np.array(turn) * self.head_px * self.detail).astype(int)
        _composite_inside(picture, self.inner, int(shift[0]), int(shift[1]))
        expression = Expression(
            eye_opening=float(self.cues["eye_opening"] * motion.lid[index]),
            gaze=(float(motion.gaze_x[index]), float(motion.gaze_y[index])),
            brow=float(np.clip(self.cues["brow"] + motion.brow[index], -1.2, 1.2)),
            smile=float(np.clip(self.cues["smile"] + motion.smile[index], -1.0, 1.0)),
            mouth_opening=float(motion.mouth[index]),
            turn=turn,
        )
        self.features.draw(picture, expression)
        return picture

    def _composite_hands(self, picture: Pixels, middle: NDArray[np.float64], motion: Motion, index: int) -> None:
        height = self.size[1]
        hidden_y = (1.0 - EYE_LINE) * height / self.head_px + 0.45
        for side, raised in ((-1.0, motion.hand_left[index]), (1.0, motion.hand_right[index])):
            y = hidden_y + (HAND_TOP_Y - hidden_y) * raised
            if y > hidden_y - 0.02:
                continue
            position = middle + self.head_px * np.array([side * HAND_X, y])
            matrix = _placement(
                position, self.hand_origin, side * (0.22 + float(motion.hand_angle[index])), 1.0, (0.0, 0.0)
            )
            if side > 0:
                matrix[:, 2] += matrix[:, 0] * 2 * self.hand_origin[0]
                matrix[:, 0] *= -1.0
            composite_warped(picture, self.hand, matrix)


def person_gain(cues: Mapping[str, float]) -> Colour:
    """Return the light on the person, which multiplies colours: partly the room's, partly the camera's own."""
    return mix((1.0, 1.0, 1.0), light_gain(cues["room_brightness"], cues["room_warmth"]), 1.0 - FACE_LIGHT)


def _placement(
    position: NDArray[np.float64], origin: NDArray[np.float64], angle: float, scale: float, pivot: tuple[float, float]
) -> NDArray[np.float64]:
    """Return the affine matrix that puts a layer's origin at a position, turned about `pivot` (relative to it)."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.array([[c, -s], [s, c]])
    fixed = np.array(pivot)
    offset = position + fixed - turn @ (fixed + origin * scale)
    return np.concatenate([turn * scale, offset[:, None]], axis=1)


def _composite_inside(picture: Pixels, layer: Pixels, x: int, y: int) -> None:
    """Composite a premultiplied RGBA layer, shifted, on the opaque parts of a picture of the same size, in place."""
    height, width = picture.shape[:2]
    x0, x1, y0, y1 = max(0, x), min(width, width + x), max(0, y), min(height, height + y)
    top = layer[y0 - y : y1 - y, x0 - x : x1 - x]
    under = picture[y0:y1, x0:x1]
    through = cv2.merge([255 - top[..., 3]] * 4)
    under[:] = cv2.add(cv2.multiply(under, through, scale=1.0 / 255.0), top)
