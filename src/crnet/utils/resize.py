"""Antialiased bilinear resizing of 8-bit pictures, in integers: the bits are those of PyTorch, on every processor.

PyTorch resizes columns before rows and rounds after each of the two. The library does it the other way round, so it is
called once for the columns and once for the rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer

if TYPE_CHECKING:
    from jaxtyping import UInt8

BILINEAR = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear), use_alpha=False)

_resizer = Resizer()


def resize(pictures: UInt8[np.ndarray, "T h w 3"], height: int, width: int) -> UInt8[np.ndarray, "T height width 3"]:
    """Resize RGB pictures of one size; shrinking averages over all the pixels that a new pixel covers."""
    count, old_height, old_width, _ = pictures.shape
    columns = _resize(pictures.reshape(count * old_height, old_width, 3), count * old_height, width)
    columns = columns.reshape(count, old_height, width, 3)
    return np.stack([_resize(picture, height, width) for picture in columns])


def _resize(picture: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    source = ImageData(picture.shape[1], picture.shape[0], PixelType.U8x3, picture.tobytes())
    resized = ImageData(width, height, PixelType.U8x3)
    _resizer.resize(source, resized, BILINEAR)
    return np.frombuffer(resized.get_buffer(), dtype=np.uint8).reshape(height, width, 3)
