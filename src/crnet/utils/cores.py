"""The number of cores that this process may use."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # the container's own, inside it


def available_cores() -> int:
    """Return the number of cores this process may use: those of its affinity, or fewer by its container's limit."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, _container_cores() or cores))


def _container_cores() -> int | None:
    """Return the number of cores whose time the container of this process may use; None: all.

    `docker run --cpus` and Kubernetes limit the time and leave the affinity as it is.
    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max); the second form is that of version 1.
    """
    with suppress(OSError, ValueError):
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return math.ceil(int(quota) / int(period))  # no number: no limit
    with suppress(OSError, ValueError):
        quota, period = ((CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return math.ceil(int(quota) / int(period)) if int(quota) > 0 else None  # -1: no limit
    return None
