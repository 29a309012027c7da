"""Memory of this process: free memory that the C library keeps, and the peak."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from pathlib import Path

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # man 5 proc


def _find_trim() -> Callable[[int], int] | None:
    """Return glibc's malloc_trim (man 3 malloc_trim); None on other systems."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


_trim = _find_trim()


def release_free_memory() -> None:
    """Return free memory to the system. By itself, glibc returns only what lies above all memory in use.

    Without this, a process grows if it keeps small results between large buffers that it frees: preparing a minute of
    synthetic video takes 450 MiB instead of 376 MiB.
    """
    if _trim is not None:
        _trim(0)


def peak_mib() -> float:
    """Return the peak memory of this process in MiB (2^20 bytes). Pages shared with other processes count in full."""
    if STATUS.is_file():  # getrusage would also count the moment between fork and exec, when a child equals its parent
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    import resource  # does not exist on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20) if sys.platform == "darwin" else peak / 1024


def reset_peak() -> bool:
    """Reset `peak_mib` to the memory in use now. Return False if the system cannot do that."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True
