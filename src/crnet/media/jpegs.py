"""Pictures as JPEG files, one after the other, as clips hold them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import simplejpeg
from jaxtyping import Int64, UInt8


def encoded(image: UInt8[np.ndarray, "h w 3"], quality: int) -> bytes:
    """An RGB image as a JPEG file of quality 1 to 100."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality, "RGB", "420")


class Pile:
    """JPEG files one after the other, as clips hold them.

    It takes them one by one, so that they lie in memory once.

    Args:
        files: The first ones.
    """

    def __init__(self, files: Iterable[bytes] = ()) -> None:
        self._bytes = bytearray()
        self._ends = [0]
        for file in files:
            self.add(file)

    def add(self, file: bytes) -> None:
        """Put a file at the end."""
        self._bytes += file
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, place: int) -> bytes:
        """The file at a place, from 0."""
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]])

    def arrays(self) -> tuple[UInt8[np.ndarray, " bytes"], Int64[np.ndarray, " k_plus_1"]]:
        """The bytes, not copied, and where each of the k files begins and the last one ends; then it takes no more."""
        return np.frombuffer(self._bytes, dtype=np.uint8), np.array(self._ends, dtype=np.int64)
