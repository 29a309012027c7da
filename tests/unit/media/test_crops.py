"""JPEG buffers and JPEG files."""

from __future__ import annotations

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from crnet.media.crops import JpegBuffer, encode_jpeg


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8), st.integers(0, 8))
def test_a_jpeg_buffer_returns_its_files(files: list[bytes], first: int) -> None:
    buffer = JpegBuffer(files[:first])
    for file in files[first:]:
        buffer.add(file)
    assert [buffer[i] for i in range(len(buffer))] == files
    content, offsets = buffer.arrays()
    assert content.tobytes() == b"".join(files)
    assert offsets.tolist() == np.cumsum([0, *map(len, files)]).tolist()


@pytest.mark.parametrize("quality", [1, 90, 100])
def test_a_jpeg_has_the_size_and_colour_of_its_image(quality: int) -> None:
    image = np.full((10, 20, 3), (200, 100, 50), np.uint8)
    decoded = simplejpeg.decode_jpeg(encode_jpeg(image[:, ::-1], quality), "RGB")
    assert decoded.shape == (10, 20, 3)
    assert np.abs(decoded.astype(int) - image).max() <= (40 if quality == 1 else 6)
