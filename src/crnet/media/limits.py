"""How much one file may take of the machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from crnet.errors import ConfigError
from crnet.utils.job_limits import BYTES_PER_MB, JobLimits
from crnet.utils.storage import RemotePath

Job = TypeVar("Job")

SECONDS_PER_MB = 3.0
"""Added to the longest time for each MB. An hour of video has at least 100 MB."""


@dataclass(frozen=True)
class FileLimits:
    """Limits on reading one file in a worker process. The names are those of the commands' options.

    `container.MAX_PIXELS` and `timeline.MAX_PACKETS` bound the size and the number of frames, in any process.

    Attributes:
        max_time_s: Longest time in seconds, to which each MB of the file adds `SECONDS_PER_MB`.
        max_memory_mb: Most memory of the process, in units of 2^20 bytes. It holds the libraries (some 260 MB). Two
            seconds of 4K video in 10 bits took 560 MB, one of 8K 1,100 MB.

    Raises:
        ConfigError: A value is out of range.
    """

    max_time_s: float = 300.0
    max_memory_mb: int = 1024

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not 1 <= value <= 1_000_000:
                raise ConfigError(f"{name} is {value}", remedy="choose 1 to a million")

    def time_s(self, size_bytes: int) -> float:
        """Return the longest time for a file of this size."""
        return self.max_time_s + SECONDS_PER_MB * size_bytes / BYTES_PER_MB

    def of_jobs(self, size_bytes: Callable[[Job], int], *, limit_memory: bool = True) -> JobLimits[Job]:
        """Return the limits of jobs that read one file each.

        Args:
            size_bytes: Returns the size of a job's file.
            limit_memory: Whether the limit on memory holds.
        """
        return JobLimits(lambda job: self.time_s(size_bytes(job)), self.max_memory_mb if limit_memory else None)


def file_size(path: Path) -> int:
    """Return the size of a file in bytes; 0 if there is none, which reading it will report."""
    if isinstance(path, RemotePath):
        return path.listed_bytes or 0
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
