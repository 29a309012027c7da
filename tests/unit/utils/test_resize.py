"""Resizing of pictures gives PyTorch's bits, which systems were trained with, on every processor."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cykooz_resizer import CpuExtensions, Resizer

from crnet.utils import resize as module
from crnet.utils.resize import resize, resize_all


def random_pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


def torch_resize(pictures: np.ndarray, height: int, width: int) -> np.ndarray:
    channels_first = torch.from_numpy(pictures).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(channels_first, (height, width), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).numpy()


def test_halving_averages_triangles() -> None:
    """A new pixel covers two old ones and half of each neighbour: weights 1 3 3 1, and 3 3 1 at the edges."""
    line = np.array([0, 80, 160, 240], np.uint8)
    picture = np.repeat(np.repeat(line[None], 2, axis=0)[..., None], 3, axis=2)
    left, right = (3 * 0 + 3 * 80 + 160) / 7, (80 + 3 * 160 + 3 * 240) / 7
    assert resize(picture, 2, 2)[0, :, 0].tolist() == [round(left), round(right)]


@pytest.mark.parametrize(
    ("old", "new"),
    [((160, 160), (48, 48)), ((443, 443), (112, 112)), ((70, 91), (64, 64)), ((225, 400), (50, 89)),
     ((31, 20), (48, 48)), ((112, 112), (112, 112)), ((90, 50), (90, 30)), ((1, 1), (3, 2)), ((900, 1200), (9, 12))],
)  # fmt: skip
def test_the_bits_are_those_of_torch(old: tuple[int, int], new: tuple[int, int]) -> None:
    pictures = random_pictures(2, *old)
    resized = resize_all(pictures, *new)
    assert resized.shape == (2, *new, 3) and np.array_equal(resized, torch_resize(pictures, *new))


def test_pictures_that_are_views_are_resized_as_they_look() -> None:
    pictures = random_pictures(1, 60, 50)
    cut = pictures[:, 5:45, 10:50][:, ::-1]
    assert np.array_equal(resize_all(cut, 20, 30), torch_resize(cut.copy(), 20, 30))


def test_older_instruction_sets_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = random_pictures(1, 321, 250)
    expected = resize_all(pictures, 48, 48)
    plain = Resizer()
    plain.cpu_extensions = CpuExtensions.none
    monkeypatch.setattr(module, "Resizer", lambda: plain)
    assert np.array_equal(resize_all(pictures, 48, 48), expected)
