"""Limits on the resources that one video may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

from crnet.errors import ConfigError
from crnet.utils.job_limits import BYTES_PER_MB


@dataclass(frozen=True)
class Limits:
    """Limits that keep one video from taking over the machine. The names are those of the command's options.

    Attributes:
        max_upload_mb: Largest file, in units of 2^20 bytes, as browsers count.
        max_duration_s: Longest video.
        max_time_s: Longest time spent on one video; then its process is killed.
        max_memory_mb: Memory that the process of one video may use beyond that of the loaded system.
        max_waiting: Longest queue; further uploads are rejected.
        keep_minutes: Minutes for which results can be downloaded.
        upload_minutes: Minutes in which a video must be uploaded and its job created.
    """

    max_upload_mb: int = 100
    max_duration_s: float = 120.0
    max_time_s: float = 300.0
    max_memory_mb: int = 4096
    max_waiting: int = 20
    keep_minutes: float = 30.0
    upload_minutes: float = 10.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            smallest = 0 if limit.name == "max_waiting" else 1
            if not smallest <= value <= 1_000_000:
                raise ConfigError(f"{limit.name} is {value}", remedy=f"choose {smallest} to a million")

    @property
    def max_upload_bytes(self) -> int:
        """Size of the largest file."""
        return self.max_upload_mb * BYTES_PER_MB
