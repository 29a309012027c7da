"""Read and write safetensors files, array by array.

Reading: the safetensors package maps a whole file into memory. That suits networks, but not thousands of clips of which
a few kilobytes are needed: opening a clip takes 0.07 ms here and twice as long with the package.

Writing: the package writes metadata entries in random order, so equal clips would give different bytes. One entry that
holds all metadata as JSON would avoid that, but the entries of a clip file are documented one by one for other readers,
and a new file format would change the settings fingerprint of every store, so that no existing store could be resumed.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from crnet.data.byte_source import open_bytes
from crnet.utils.files import atomic_write

MAX_HEADER_BYTES = 1 << 20  # a clip's header names eleven arrays and has a few lines of metadata
MAX_FILE_BYTES = 2 << 30  # an hour of clip with every frame has about 1.2 GB
MAX_MAPPED_BYTES = 64 << 30  # a thousand trees of each target, grown on 6,000 clips, have 0.7 GB
LENGTH_BYTES = 8  # of the number before the header
HEADER_ALIGNMENT_BYTES = 8
KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1"}
"""Names of types in safetensors and in NumPy."""


class TensorFile:
    """An open safetensors file; only what is requested is read.

    Args:
        path: The file.
        max_bytes: Size of the largest file to open.

    Attributes:
        metadata: The metadata of the header.

    Raises:
        OSError: The file cannot be opened.
        ValueError, TypeError, KeyError, AttributeError, RecursionError: The file is of another kind or damaged; also
            raised later, when a part is read.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._path = path
        self._source = open_bytes(path)
        self._size = self._source.size
        if self._size > max_bytes:
            raise ValueError(f"it has {self._size} bytes, the limit is {max_bytes}")
        self._start = LENGTH_BYTES + int.from_bytes(self.read(0, LENGTH_BYTES), "little")
        if not LENGTH_BYTES < self._start <= min(self._size, LENGTH_BYTES + MAX_HEADER_BYTES):
            raise ValueError("its header is cut short")
        self._header: dict[str, Any] = json.loads(self.read(LENGTH_BYTES, self._start))
        self.metadata: dict[str, str] = self._header.pop("__metadata__", {})
        if self._size != max((self.byte_range(name)[1] for name in self._header), default=self._start):
            raise ValueError("it is longer than its header says")

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes of the file from `start` to before `end`."""
        return self._source.read(start, end)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts of the file; object storage fetches them together."""
        return self._source.read_ranges(ranges)

    def byte_range(self, name: str) -> tuple[int, int]:
        """Return where an array begins and ends in the file."""
        start, end = (self._start + offset for offset in self._header[name]["data_offsets"])
        if not self._start <= start <= end <= self._size:
            raise ValueError(f"{name} does not lie within it")
        return start, end

    def array(self, name: str, kind: tuple[str, DTypeLike], shape: tuple[int | None, ...] | None) -> NDArray[Any]:
        """Read an array.

        Args:
            name: Name of the array.
            kind: The required type, as safetensors and as NumPy name it.
            shape: The required shape, with None for any length; None: any shape.
        """
        entry, (start, end) = self._header[name], self.byte_range(name)
        stored_shape: list[int] = entry["shape"]
        fits = shape is None or (
            len(stored_shape) == len(shape)
            and all(required in (None, stored) for required, stored in zip(shape, stored_shape, strict=True))
        )
        if entry["dtype"] != kind[0] or not fits:
            raise ValueError(f"{name} is {entry['dtype']}{stored_shape}")
        if math.prod(stored_shape) * np.dtype(kind[1]).itemsize != end - start:
            raise ValueError(f"the size of {name} does not match its shape")
        content = bytearray(self.read(start, end))  # arrays of it can be written
        if len(content) != end - start:
            raise ValueError(f"{name} is cut short")
        return np.frombuffer(content, kind[1]).reshape(stored_shape)

    def map(self) -> dict[str, NDArray[Any]]:
        """Return all arrays of a local file, read-only, in mapped memory: only the parts that are used are read."""
        with self._path.open("rb") as file:
            memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        arrays = {}
        for name, entry in self._header.items():
            (start, end), kind = self.byte_range(name), np.dtype(KINDS[entry["dtype"]])
            count = math.prod(entry["shape"])
            if count * kind.itemsize != end - start:
                raise ValueError(f"the size of {name} does not match its shape")
            arrays[name] = np.frombuffer(memory, kind, count, start).reshape(entry["shape"])
        return arrays


def write_tensor_file(
    path: Path, arrays: Mapping[str, NDArray[Any]], kinds: Mapping[str, str], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file in one step. Equal arguments, in the same order, give equal bytes.

    Args:
        path: The file; missing folders are created.
        arrays: Contiguous little-endian arrays, those with the largest items first.
        kinds: safetensors' name of each array's type.
        metadata: Entries of the header.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": kinds[name], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % HEADER_ALIGNMENT_BYTES)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH_BYTES, "little"))
        file.write(text)
        for array in arrays.values():
            file.write(array.data)
