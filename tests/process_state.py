"""The state of other processes, for tests that kill some."""

from __future__ import annotations

from pathlib import Path


def is_running(pid: int) -> bool:
    """Return False for a process that has ended, even if its parent has not yet collected it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
