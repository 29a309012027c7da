from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from crnet.media.crops import JpegBuffer, encode_jpeg


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8), st.integers(0, 8))
def test_a_pile_gives_its_files_back(files: list[bytes], at_first: int) -> None:
    pile = JpegBuffer(files[:at_first])
    for file in files[at_first:]:
        pile.add(file)
    assert [pile[i] for i in range(len(pile))] == files
    content, offsets = pile.arrays()
    assert content.tobytes() == b"".join(files)
    assert offsets.tolist() == np.cumsum([0, *map(len, files)]).tolist()


@pytest.mark.parametrize("quality", [1, 90, 100])
def test_an_image_becomes_a_jpeg_of_its_size(quality: int) -> None:
    image = np.full((10, 20, 3), (200, 100, 50), np.uint8)
    decoded = simplejpeg.decode_jpeg(encode_jpeg(image[:, ::-1], quality), "RGB")
    assert decoded.shape == (10, 20, 3)
    assert np.abs(decoded.astype(int) - image).max() <= (40 if quality == 1 else 6)
