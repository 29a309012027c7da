"""Geometry of boxes, by hand."""

from __future__ import annotations

import numpy as np

from crnet.media.boxes import boxes_of_new_faces, nms, pixel_squares, square_boxes


def test_square_boxes() -> None:
    boxes = np.array([[0, 0, 10, 20], [10, 10, 50, 30]], np.float32)
    assert square_boxes(boxes).tolist() == [[-5, 0, 15, 20], [10, 0, 50, 40]]


def test_pixel_squares() -> None:
    boxes = np.array([[0.2, 0, 10, 20.8], [10, 10, 50, 30]], np.float32)  # the centre of the first is (5.1, 10.4)
    assert pixel_squares(boxes).tolist() == [[-5, 0, 16, 21], [10, 0, 50, 40]]


def test_boxes_of_new_faces() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [1, 1, 9, 9]], np.float32)
    new_faces = boxes_of_new_faces(boxes, boxes[:1] + 1)
    assert new_faces.tolist() == [[20, 0, 30, 10]]  # 81 / 100 of the first box are known
    new_faces = boxes_of_new_faces(boxes, boxes[:1] + 2)
    assert new_faces.tolist() == boxes[:2].tolist()  # 64 / 100 of the first box are known, and 49 / 64 of the last
    assert boxes_of_new_faces(boxes, boxes[:0]).tolist() == boxes.tolist()
    assert boxes_of_new_faces(boxes[:0], boxes).shape == (0, 4)


def test_non_maximum_suppression() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 8], [20, 0, 30, 10], [0, 0, 5, 5]], np.float32)
    scores = np.array([0.7, 0.9, 0.8, 0.6], np.float32)  # overlap of the first two: 80 / 100
    assert nms(boxes, scores, 0.79).tolist() == [1, 2, 3]
    assert nms(boxes, scores, 0.81).tolist() == [1, 2, 0, 3]
    assert nms(boxes, scores, 0.81, over_smaller=True).tolist() == [1, 2]  # 25 / 25 of the last


def test_a_suppressed_box_suppresses_nothing() -> None:
    boxes = np.array([[0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10]], np.float32)  # neighbours share 6 / 14
    assert nms(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.4).tolist() == [0, 2]
