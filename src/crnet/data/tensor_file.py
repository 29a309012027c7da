"""Reading safetensors files array by array."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MAX_HEADER_BYTES = 1 << 20  # ours name eleven arrays, and have a few lines of text
LENGTH_BYTES = 8  # of the number before the header


class TensorFile:
    """A safetensors file, open; what is asked for is read, and nothing else.

    The safetensors package maps a file into memory. That suits networks, not thousands of clips of which a few
    kilobytes are wanted: opening a clip takes 0.07 ms here, and took twice as long with it.

    Attributes:
        texts: The header's texts, by name.

    Raises:
        OSError: The file cannot be opened.
        ValueError, TypeError, KeyError, AttributeError, RecursionError: Another kind of file, or a damaged one; also
            later, when a part is read.
    """

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDONLY)
        self._size = os.fstat(self._file).st_size
        self._start = LENGTH_BYTES + int.from_bytes(self.read(0, LENGTH_BYTES), "little")
        if not LENGTH_BYTES < self._start <= min(self._size, LENGTH_BYTES + MAX_HEADER_BYTES):
            raise ValueError("its header is cut short")
        self._header: dict[str, Any] = json.loads(self.read(LENGTH_BYTES, self._start))
        self.texts: dict[str, str] = self._header.pop("__metadata__", {})
        if self._size != max(self.place(name)[1] for name in self._header):
            raise ValueError("it is longer than its header says")

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, start: int, end: int) -> bytes:
        """The bytes of the file from `start` to before `end`."""
        return os.pread(self._file, end - start, start)

    def place(self, name: str) -> tuple[int, int]:
        """Where an array begins and ends in the file."""
        start, end = (self._start + offset for offset in self._header[name]["data_offsets"])
        if not self._start <= start <= end <= self._size:
            raise ValueError(f"{name} does not lie within it")
        return start, end

    def array(self, name: str, kind: tuple[str, DTypeLike], shape: tuple[int | None, ...] | None) -> NDArray[Any]:
        """Read an array.

        Args:
            name: Which.
            kind: The type that it must have: safetensors' name of it, and what it is to NumPy.
            shape: The lengths that it must have, None where any will do.
        """
        about, (start, end) = self._header[name], self.place(name)
        found: list[int] = about["shape"]
        fits = shape is None or (
            len(found) == len(shape) and all(wanted in (None, n) for wanted, n in zip(shape, found, strict=True))
        )
        if about["dtype"] != kind[0] or not fits:
            raise ValueError(f"{name} is {about['dtype']}{found}")
        if math.prod(found) * np.dtype(kind[1]).itemsize != end - start:
            raise ValueError(f"{name} has not the length of its shape")
        content = bytearray(end - start)
        if os.preadv(self._file, [content], start) != len(content):
            raise ValueError(f"{name} is cut short")
        return np.frombuffer(content, kind[1]).reshape(found)
