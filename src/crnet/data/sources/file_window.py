"""A part of a file as a file of its own: an archive stored inside another one is read in place."""

from __future__ import annotations

import io
import os
from typing import IO


class FileWindow(io.RawIOBase):
    """A part of a file as a read-only file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether the position can be set: always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position and return it.

        Raises:
            OSError: It lies before the start of the part.
        """
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the start")  # zipfile expects this error from a file that is too short
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        """Return the position, in bytes from the start of the part."""
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Read into `buffer` and return the number of bytes; 0 at the end of the part."""
        count = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._start + self._at)
        content = self._file.read(count)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
