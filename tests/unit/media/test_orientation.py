"""Display matrices: the eight orientations, from the matrix to the displayed picture."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
from video_maker import quadrants

from crnet.media.orientation import Orientation
from crnet.media.video import decode, probe

ALL = [Orientation(*values) for values in itertools.product((False, True), repeat=3)]
MATRICES = {  # a b c d of (x, y) -> (a x + c y, b x + d y), y downwards
    (1, 0, 0, 1): Orientation(),
    (0, 1, -1, 0): Orientation(transposed=True, mirrored_x=True),  # a quarter turn clockwise
    (-1, 0, 0, -1): Orientation(mirrored_x=True, mirrored_y=True),
    (0, -1, 1, 0): Orientation(transposed=True, mirrored_y=True),
    (-1, 0, 0, 1): Orientation(mirrored_x=True),
    (1, 0, 0, -1): Orientation(mirrored_y=True),
    (0, 1, 1, 0): Orientation(transposed=True),
    (0, -1, -1, 0): Orientation(transposed=True, mirrored_x=True, mirrored_y=True),
}


def write_stored(path: Path, displayed: np.ndarray, matrix: tuple[int, ...], codec: str = "libx264") -> Path:
    """Write a video whose matrix turns the stored frames into `displayed`."""
    a, b, c, d = matrix
    height, width = displayed.shape[:2]
    stored_size = (width, height) if b or c else (height, width)
    ys, xs = np.indices(stored_size)
    x, y = a * xs + c * ys, b * xs + d * ys
    stored = displayed[y - y.min(), x - x.min()]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = *stored_size, "yuv420p"
        stream.set_display_matrix([a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30])
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(stored), "rgb24")))
        container.mux(stream.encode(None))
    return path


def test_the_matrices_name_all_orientations() -> None:
    assert set(MATRICES.values()) == set(ALL)


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_orientation_of_a_matrix(matrix: tuple[int, ...]) -> None:
    assert Orientation.from_matrix(*matrix) == MATRICES[matrix]
    assert Orientation.from_matrix(*(0.4 * value for value in matrix)) == MATRICES[matrix]  # it may also scale
    assert Orientation.from_matrix(*(value + 0.01 for value in matrix)) == MATRICES[matrix]  # or be rounded


@pytest.mark.parametrize("matrix", [(0, 0, 0, 0), (1, 0, 0, 1), (0.8, 0.6, -0.6, 0.8)])
def test_other_matrices_are_upright(matrix: tuple[float, ...]) -> None:
    assert Orientation.from_matrix(*matrix).is_upright


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("matrix", MATRICES)
def test_frames_are_displayed_by_the_matrix_of_the_container(
    tmp_path: Path, matrix: tuple[int, ...], suffix: str
) -> None:
    displayed = quadrants(48, 64)
    info = probe(write_stored(tmp_path / f"a.{suffix}", displayed, matrix))
    assert info.orientation == MATRICES[matrix] and (info.width, info.height) == (64, 48)
    frame = next(decode(info.path, info))
    assert frame.stored_size == (64, 48)
    assert np.abs(frame.rgb(64, 48).astype(int) - displayed).mean() < 6
    full = frame.rgb_full()
    assert full.shape == (48, 64, 3) and np.abs(full.astype(int) - displayed).mean() < 6


@pytest.mark.parametrize("matrix", MATRICES)
def test_a_part_is_cut_from_the_displayed_picture(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    info = probe(write_stored(tmp_path / "a.mp4", image, matrix))
    frame = next(decode(info.path, info))
    part, (x, y) = frame.rgb_part(np.array([21, 9, 40, 30], np.float32))
    assert 18 <= x <= 21 and 6 <= y <= 9 and x + part.shape[1] >= 40 and y + part.shape[0] >= 30
    assert part.shape[0] < 30 and part.shape[1] < 30
    assert (part == frame.rgb_full()[y : y + part.shape[0], x : x + part.shape[1]]).all()


@pytest.mark.parametrize("orientation", ALL)
def test_boxes_move_with_the_picture(orientation: Orientation) -> None:
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[5:12, 20:33] = 255
    displayed = orientation.apply(stored)
    width, height = orientation.size(60, 40)
    assert displayed.shape[:2] == (height, width)
    x0, y0, x1, y1 = orientation.displayed_box((20, 5, 33, 12), width, height)
    assert displayed[y0:y1, x0:x1].all() and displayed.sum() == 255 * 3 * (y1 - y0) * (x1 - x0)
    box = np.array([x0, y0, x1, y1], np.float32)
    assert orientation.stored_box(box, width, height).tolist() == [20, 5, 33, 12]
