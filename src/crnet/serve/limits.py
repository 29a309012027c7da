"""What one visitor may ask of the server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from crnet.errors import ConfigError

BYTES_PER_MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one video from taking the machine.

    Attributes:
        upload_mb: Largest file, in units of 2^20 bytes, as browsers count.
        duration_s: Longest video.
        time_s: Longest time that one video may be worked on; then its process is killed.
        memory_mb: Memory that the process of one video may take beyond that of the loaded system.
        waiting: Videos that may wait; who comes then is sent away.
        kept_min: Minutes that results can be downloaded, and that an upload that nobody scores is kept.
    """

    upload_mb: int = 100
    duration_s: float = 120.0
    time_s: float = 300.0
    memory_mb: int = 4096
    waiting: int = 20
    kept_min: float = 30.0

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            low = 0 if limit.name == "waiting" else 1
            if not low <= value <= 1_000_000:
                raise ConfigError(f"{limit.name} is {value}", remedy=f"choose {low} to a million")

    @property
    def upload_bytes(self) -> int:
        """Largest file."""
        return self.upload_mb * BYTES_PER_MB
