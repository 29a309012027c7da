"""Memory of this process: what is free but kept by the C library, and the most it has had."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # man 5 proc


def _find_trim() -> Callable[[int], int] | None:
    """malloc_trim of glibc (man 3 malloc_trim); None elsewhere."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


_trim = _find_trim()


def release_free_memory() -> None:
    """Give free memory back to the system, which glibc does by itself only where nothing that is in use lies behind it.

    Work that keeps small results between large pieces that it frees grows without it: preparing a minute of a drawn
    clip takes 376 MiB instead of 450.
    """
    if _trim is not None:
        _trim(0)


def peak_mib() -> float:
    """The most memory that this process has had, MiB (2^20 bytes); pages shared with others count in full."""
    if STATUS.is_file():  # getrusage would also count the moment between fork and exec, when a child is its parent
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def reset_peak() -> bool:
    """Let `peak_mib` count from now on, with what is in use; False where the system cannot."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True
