"""Memory that is free, but that the C library keeps."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable


def _find_trim() -> Callable[[int], int] | None:
    """malloc_trim of glibc (man 3 malloc_trim); None elsewhere."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


_trim = _find_trim()


def give_memory_back() -> None:
    """Give free memory back to the system, which glibc does by itself only where nothing that is in use lies behind it.

    Work that keeps small results between large pieces that it frees grows without it.
    """
    if _trim is not None:
        _trim(0)
