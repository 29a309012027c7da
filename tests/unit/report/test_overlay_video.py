"""The overlay video: heat maps between the frames that the network saw."""

from __future__ import annotations

import numpy as np

from crnet.report.overlay_video import Heat


def test_heat_is_interpolated_between_frames() -> None:
    heat = Heat(np.array([1.0, 2.0]), np.stack([np.zeros((2, 2)), np.ones((2, 2))]).astype(np.float32))
    assert heat.at(1.25)[0][0, 0] == 0.25
    assert heat.at(0.0)[0][0, 0] == 0 and heat.at(9.0)[0][0, 0] == 1
    single = Heat(np.array([1.0]), np.ones((1, 2, 2), np.float32), np.ones((1, 4), np.float32))
    assert single.at(3.0)[0].shape == (2, 2) and single.at(3.0)[1].tolist() == [1, 1, 1, 1]
