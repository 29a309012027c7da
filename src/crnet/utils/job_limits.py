"""Limits on the time and memory of a job in a worker process.

A thread of the parent watches the workers from outside. It therefore also ends native code that hangs, and a job that
needs too much memory ends with that reason. With a limit inside the worker (`RLIMIT_AS`), FFmpeg would instead report
packets that it cannot decode, and a clip would lack them without anybody knowing why.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")

POLL_INTERVAL_S = 0.05  # writing to new memory at 3 GB/s, a process gains 150 MB in this time
BYTES_PER_MB = 1 << 20


@dataclass(frozen=True)
class JobLimits(Generic[Job]):
    """What one job may use.

    Attributes:
        time_s: Returns the longest time for a job, in seconds; None: no limit.
        memory_mb: Largest resident memory of the worker, in units of 2^20 bytes, libraries included; None: no limit.
            Only Linux tells it.
    """

    time_s: Callable[[Job], float] | None = None
    memory_mb: int | None = None


@dataclass(frozen=True)
class Exceeded:
    """Why a worker was killed.

    Attributes:
        reason: What follows the name of the task, such as "took longer than 5 s".
        remedy: What the user can do.
    """

    reason: str
    remedy: str


@dataclass(eq=False)
class _Running:
    process: SpawnProcess
    answers: Connection
    time_s: float
    started_s: float
    exceeded: Exceeded | None = None


class JobWatch:
    """Kills the process of a job that exceeds its limits, even while the parent does something else.

    Args:
        limits: The limits.
    """

    def __init__(self, limits: JobLimits[Any]) -> None:
        self._limits = limits
        self._running: dict[SpawnProcess, _Running] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        if limits.time_s is not None or limits.memory_mb is not None:
            threading.Thread(target=self._watch, daemon=True).start()

    def begin(self, process: SpawnProcess, answers: Connection, job: Any) -> None:
        """Watch a process from now on, until it answers or `end` is called."""
        time_s = float("inf") if self._limits.time_s is None else self._limits.time_s(job)
        with self._lock:
            self._running[process] = _Running(process, answers, time_s, time.monotonic())

    def end(self, process: SpawnProcess) -> Exceeded | None:
        """Stop watching a process; return the limit for which it was killed, if it was."""
        with self._lock:
            running = self._running.pop(process, None)
        return None if running is None else running.exceeded

    def stop(self) -> None:
        """Stop watching all processes."""
        self._stopped.set()
        with self._lock:
            self._running.clear()

    def _watch(self) -> None:
        while not self._stopped.wait(POLL_INTERVAL_S):
            with self._lock:
                for running in self._running.values():
                    # A process that has answered waits for the parent, which may take its time.
                    if running.exceeded is None and not running.answers.poll():
                        running.exceeded = self._exceeded(running)
                        if running.exceeded is not None:
                            running.process.kill()

    def _exceeded(self, running: _Running) -> Exceeded | None:
        if time.monotonic() - running.started_s > running.time_s:
            return Exceeded(f"took longer than {running.time_s:.0f} s", "if the file is in order, raise --max-time-s")
        limit_mb = self._limits.memory_mb
        if limit_mb is not None and resident_bytes(running.process.pid) > limit_mb * BYTES_PER_MB:
            return Exceeded(f"needs more than {limit_mb} MB", "if the file is in order, raise --max-memory-mb")
        return None


def resident_bytes(pid: int | None) -> int:
    """Return the memory that a process uses; 0 if it has ended or the system does not tell."""
    if sys.platform != "linux":
        return 0
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
