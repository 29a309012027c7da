"""Pictures as JPEG files, one after the other, as clips hold them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import simplejpeg
from jaxtyping import Int64, UInt8


def encoded(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """An RGB image as a JPEG file of quality 1 to 100."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")


def joined(files: Sequence[bytes]) -> tuple[UInt8[np.ndarray, " bytes"], Int64[np.ndarray, " k_plus_1"]]:
    """The files one after the other, and where each begins and ends."""
    offsets = np.zeros(len(files) + 1, dtype=np.int64)
    np.cumsum([len(file) for file in files], out=offsets[1:])
    return np.frombuffer(b"".join(files), dtype=np.uint8), offsets
