"""The MTCNN face detector (Zhang et al. 2016): three small networks, each refining the results of the last.

Coordinates are continuous: pixel (i, j) covers [j, j + 1] x [i, i + 1].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crnet.media.boxes import nms, square_boxes
from crnet.utils.resize import resize

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt8

PNET_CELL, PNET_STRIDE = 12, 2  # P-Net judges 12x12 windows, two pixels apart
RNET_PIXELS, ONET_PIXELS = 24, 48
MEAN_LEVEL, LEVEL_RANGE = 127.5, 128.0  # the networks see (level - mean) / range
PYRAMID_FACTOR = 0.709  # each level has half the area of the last
PNET_THRESHOLD, RNET_THRESHOLD, ONET_THRESHOLD = 0.6, 0.7, 0.7
NMS_WITHIN_LEVEL, NMS_BETWEEN_LEVELS, NMS_AFTER_REFINING = 0.5, 0.5, 0.7


@dataclass(frozen=True, eq=False)
class Detections:
    """The n faces of one image, in order of falling confidence.

    Attributes:
        boxes: float32 [n, 4], x0 y0 x1 y1 in pixels; may reach beyond the image.
        scores: float32 [n], confidence in [0, 1].
        landmarks: float32 [n, 5, 2], x y of eyes (left of the picture first), nose and mouth corners, in pixels.
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    landmarks: Float32[np.ndarray, "n 5 2"]

    def __len__(self) -> int:
        return len(self.boxes)


class Mtcnn:
    """The three networks with their weights.

    Raises:
        MissingDependencyError: OpenVINO or the package with the weights is not installed.
        FormatError: Its weights are not those of mtcnn 1.0.0.
    """

    def __init__(self) -> None:
        # OpenVINO takes longer to import than everything else that reads a video, and not every caller detects faces.
        from crnet.media.mtcnn_networks import load_networks

        self._networks = load_networks()

    def detect(self, image: UInt8[np.ndarray, "H W 3"], min_face_pixels: float) -> Detections:
        """Detect all faces of an RGB image.

        Args:
            image: The image.
            min_face_pixels: Side of the smallest face to detect; the cost grows with 1 / side squared.
        """
        boxes = self._propose(image, min_face_pixels)
        if len(boxes):
            framed = _framed(image)
            boxes = self._refine(_patches(framed, boxes, RNET_PIXELS), boxes)
            return _confident(self._judge(_patches(framed, boxes, ONET_PIXELS), boxes))
        return _confident(self._judge(np.zeros((0, ONET_PIXELS, ONET_PIXELS, 3), np.float32), boxes))

    def judge(self, patches: UInt8[np.ndarray, "n 48 48 3"], boxes: Float32[np.ndarray, "n 4"]) -> Detections:
        """Run O-Net alone: return its confidence, landmarks and corrected box of each patch, in the given order.

        Args:
            patches: The content of the squared boxes, RGB.
            boxes: Where the patches were cropped.
        """
        return self._judge(_normalised(patches), boxes)

    def follow(self, patches: UInt8[np.ndarray, "n 48 48 3"], boxes: Float32[np.ndarray, "n 4"]) -> Detections:
        """Follow faces that were at `boxes` a moment ago: return those that O-Net alone still detects.

        Args:
            patches: The content of the squared boxes now, RGB.
            boxes: Where the patches were cropped.
        """
        return _confident(self.judge(patches, boxes))

    def _propose(self, image: UInt8[np.ndarray, "H W 3"], min_face_pixels: float) -> Float32[np.ndarray, "n 4"]:
        """Run P-Net over an image pyramid: return the squared boxes of the proposals."""
        boxes, scores = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.float32)]
        height, width = image.shape[:2]
        scale = PNET_CELL / min_face_pixels
        while min(height, width) * scale >= PNET_CELL:
            level = resize(image, round(height * scale), round(width * scale))
            box, score = self._windows(level, (width / level.shape[1], height / level.shape[0]))
            keep = nms(box, score, NMS_WITHIN_LEVEL)
            boxes.append(box[keep])
            scores.append(score[keep])
            scale *= PYRAMID_FACTOR
        box, score = np.concatenate(boxes), np.concatenate(scores)
        return square_boxes(box[nms(box, score, NMS_BETWEEN_LEVELS)])

    def _windows(
        self, level: UInt8[np.ndarray, "h w 3"], pixels_per_cell: tuple[float, float]
    ) -> tuple[Float32[np.ndarray, "n 4"], Float32[np.ndarray, " n"]]:
        """Return box and confidence of the windows of one pyramid level in which P-Net detects a face.

        Boxes are in pixels of the whole image.
        """
        offsets, probabilities = self._networks.pnet(level[None])
        face = probabilities[0, 1]  # [h', w']
        row, column = np.nonzero(face > PNET_THRESHOLD)
        corner = np.stack([column, row, column, row], axis=1).astype(np.float32) * PNET_STRIDE
        corner[:, 2:] += PNET_CELL
        box = corner + offsets[0, :, row, column] * PNET_CELL  # [n, 4]
        return box * np.array(pixels_per_cell * 2, dtype=np.float32), face[row, column]

    def _refine(
        self, patches: Float32[np.ndarray, "n 24 24 3"], boxes: Float32[np.ndarray, "n 4"]
    ) -> Float32[np.ndarray, "m 4"]:
        """Run R-Net: return fewer and better boxes, squared."""
        offsets, probabilities = self._networks.rnet(patches)
        boxes, score = _corrected(boxes, offsets), probabilities[:, 1]
        confident = np.flatnonzero(score > RNET_THRESHOLD)
        return square_boxes(boxes[confident[nms(boxes[confident], score[confident], NMS_AFTER_REFINING)]])

    def _judge(self, patches: Float32[np.ndarray, "n 48 48 3"], boxes: Float32[np.ndarray, "n 4"]) -> Detections:
        if not len(boxes):
            return Detections(boxes, np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))
        offsets, points, probabilities = self._networks.onet(patches)
        side = boxes[:, 2:] - boxes[:, :2]  # [n, 2]
        relative = points.reshape(-1, 2, 5).transpose(0, 2, 1)  # [n, 5, 2]
        landmarks = boxes[:, None, :2] + relative * side[:, None]
        return Detections(_corrected(boxes, offsets), probabilities[:, 1], landmarks)


def _confident(detections: Detections) -> Detections:
    """Return the faces above O-Net's threshold, each once, in order of falling confidence."""
    confident = np.flatnonzero(detections.scores > ONET_THRESHOLD)
    boxes, scores = detections.boxes[confident], detections.scores[confident]
    keep = confident[nms(boxes, scores, NMS_AFTER_REFINING, over_smaller=True)]
    return Detections(detections.boxes[keep], detections.scores[keep], detections.landmarks[keep])


def _normalised(pixels: UInt8[np.ndarray, "... 3"]) -> Float32[np.ndarray, "... 3"]:
    return (pixels.astype(np.float32) - np.float32(MEAN_LEVEL)) / np.float32(LEVEL_RANGE)


def _framed(image: UInt8[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H_plus_2 W_plus_2 3"]:
    """Normalise an image, and put a frame of mid-grey around it, one pixel wide."""
    height, width = image.shape[:2]
    framed = np.zeros((height + 2, width + 2, 3), np.float32)
    framed[1:-1, 1:-1] = _normalised(image)
    return framed


def _corrected(boxes: Float32[np.ndarray, "n 4"], offsets: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
    side = boxes[:, 2:] - boxes[:, :2]
    return boxes + offsets * np.concatenate([side, side], axis=1)


def _patches(
    framed: Float32[np.ndarray, "H_plus_2 W_plus_2 3"], boxes: Float32[np.ndarray, "n 4"], size: int
) -> Float32[np.ndarray, "n s s 3"]:
    """Crop the boxes at `size` pixels by bilinear sampling; it is mid-grey outside the image.

    Args:
        framed: The image in its frame; see `_framed`.
        boxes: The boxes, in pixels of the image.
        size: Side of a patch.
    """
    height, width = framed.shape[:2]
    column, right = _neighbours(boxes[:, 0], boxes[:, 2], size, width)
    row, below = _neighbours(boxes[:, 1], boxes[:, 3], size, height)
    upper_left = row[:, :, None] * width + column[:, None, :]  # [n, s, s]
    right, below = right[:, None, :, None], below[:, :, None, None]
    pixels = framed.reshape(-1, 3)
    upper, lower = (
        pixels[start] + (pixels[start + 1] - pixels[start]) * right for start in (upper_left, upper_left + width)
    )
    return upper + (lower - upper) * below


def _neighbours(
    start: Float32[np.ndarray, " n"], end: Float32[np.ndarray, " n"], size: int, framed_pixels: int
) -> tuple[Int64[np.ndarray, "n s"], Float32[np.ndarray, "n s"]]:
    """Return the first of the two pixels between which each sample lies, along one side, and the second's weight.

    Pixels are counted from the frame. Samples outside the image lie on the frame.
    """
    step = ((np.arange(size) + 0.5) / size).astype(np.float32)
    centre = start[:, None] + step * (end - start)[:, None] + np.float32(0.5)  # framed pixel i has its centre at i
    position = np.clip(centre, 0, framed_pixels - 1)
    first = np.minimum(position.astype(np.int64), framed_pixels - 2)
    return first, (position - first).astype(np.float32)
