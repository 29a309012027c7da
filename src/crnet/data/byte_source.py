"""The bytes of a clip file, wherever they are: a file, an object of object storage, or part of a shard in either.

A clip in a shard is named `SHARD.tar#START+SIZE`: the clip file is those bytes of the tar file (see
`crnet.data.shards`). It is read in place and never unpacked.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from crnet.utils.files import open_for_parts, read_part, require_regular_file
from crnet.utils.storage import RemotePath

HEAD_BYTES = 64 << 10  # the header of a clip file, its times, boxes and text have about 40 kB
_PART = re.compile(r"(.+\.tar)#(\d{1,15})\+(\d{1,15})")


class ByteSource(Protocol):
    """Bytes that are read in parts.

    Attributes:
        size: Number of bytes.
    """

    size: int

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to before `end`; fewer if the file was cut short."""

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return several parts, with as few requests as object storage needs."""


def open_bytes(path: Path) -> ByteSource:
    """Open a file, an object, or a part of a shard.

    Raises:
        OSError: It cannot be opened, or the part is not inside the shard.
    """
    match = _PART.fullmatch(path.name)
    if match is None:
        return _RemoteBytes(path) if isinstance(path, RemotePath) else _LocalBytes(path)
    shard = path.with_name(match[1])
    start, size = int(match[2]), int(match[3])
    if isinstance(shard, RemotePath):
        return _RemoteBytes(shard, start, size)
    whole = _LocalBytes(shard)
    return _Window(whole, start, size)


def part_name(shard: str, start: int, size: int) -> str:
    """Return the name of a part of a shard."""
    return f"{shard}#{start}+{size}"


class _LocalBytes:
    """A file on a disk."""

    def __init__(self, path: Path) -> None:
        require_regular_file(path)
        self._file = open_for_parts(path)
        self.size = os.fstat(self._file).st_size

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def read(self, start: int, end: int) -> bytes:
        return read_part(self._file, start, end - start)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.read(start, end) for start, end in ranges]


class _Window:
    """Part of a file on a disk."""

    def __init__(self, whole: ByteSource, start: int, size: int) -> None:
        if start + size > whole.size:
            raise OSError(f"the shard has {whole.size} bytes, and the clip would end at {start + size}")
        self.size, self._whole, self._start = size, whole, start

    def read(self, start: int, end: int) -> bytes:
        return self._whole.read(self._start + start, self._start + min(end, self.size))

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [self.read(start, end) for start, end in ranges]


class _RemoteBytes:
    """An object, or part of one. Its first bytes are fetched at once, because every reader of a clip needs them."""

    def __init__(self, path: RemotePath, start: int = 0, size: int | None = None) -> None:
        self._path, self._start = path, start
        self.size: int = path.stat().st_size if size is None else size
        self._head = self._fetch([(0, min(HEAD_BYTES, self.size))])[0]

    def read(self, start: int, end: int) -> bytes:
        return self.read_ranges([(start, end)])[0]

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        within = [(min(start, self.size), min(end, self.size)) for start, end in ranges]
        missing = [(start, end) for start, end in within if end > len(self._head)]
        fetched = dict(zip(missing, self._fetch(missing), strict=True)) if missing else {}
        return [fetched[part] if part in fetched else self._head[part[0] : part[1]] for part in within]

    def _fetch(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return self._path.read_ranges([(self._start + start, self._start + end) for start, end in ranges])
