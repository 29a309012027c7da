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


def resize(picture: UInt8[np.ndarray, "h w 3"], height: int, width: int) -> UInt8[np.ndarray, "height width 3"]:
    """Resize an RGB picture; shrinking averages over all the pixels that a new pixel covers."""
    old_height, old_width = picture.shape[:2]
    image = ImageData(old_width, old_height, PixelType.U8x3, picture.tobytes())
    for size in ((width, old_height), (width, height)):
        resized = ImageData(*size, PixelType.U8x3)
        Resizer().resize(image, resized, BILINEAR)
        image = resized
    return np.frombuffer(image.get_buffer(), dtype=np.uint8).reshape(height, width, 3)


def resize_all(
    pictures: UInt8[np.ndarray, "T h w 3"], height: int, width: int
) -> UInt8[np.ndarray, "T height width 3"]:
    """Resize RGB pictures of one size; see `resize`."""
    return np.stack([resize(picture, height, width) for picture in pictures])
