"""What a benchmark measures with and hands back: times taken in turn, peak memory, figures with their goals."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from crnet.utils.executors import available_cores
from crnet.utils.process_memory import peak_mib, reset_peak
from crnet.utils.provenance import versions

BUSY_PER_CORE = 0.3
"""Load of the last minute per core from which on other programs disturb what is measured."""


@dataclass(frozen=True)
class Spent:
    """What one piece of work took.

    Attributes:
        cpu_s: Seconds of all cores together.
        wall_s: Seconds of the clock.
        peak_mib: The most memory that this process had meanwhile, MiB; None where that cannot be told.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float | None = None


@dataclass(frozen=True)
class Figure:
    """One row of the table.

    Attributes:
        name: Part and row, as in "prepare: all frames".
        value: What was measured, mostly a ratio.
        unit: Of the value; "x" for a ratio.
        goal: The bound that the value should keep.
        at_least: Whether the goal is a lower bound.
        limit: What the value is measured against.
        detail: What else was measured, with units in the names.
    """

    name: str
    value: float
    unit: str
    goal: float
    limit: str
    at_least: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the value keeps its goal."""
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def goal_text(self) -> str:
        """The goal with its direction and unit."""
        return f"{'>=' if self.at_least else '<='} {self.goal:g} {self.unit}"

    def to_dict(self) -> dict[str, Any]:
        """The row as a JSON document."""
        document = {**asdict(self), "goal": self.goal_text, "holds": self.holds}
        return {name: document[name] for name in ("name", "value", "unit", "goal", "holds", "limit", "detail")}


def timed(work: Callable[[], object]) -> Spent:
    """Do the work once; the CPU seconds of child processes count once they are reaped, their memory does not."""
    counts = reset_peak()
    children_s, cpu_s, wall_s = _children_s(), time.process_time(), time.perf_counter()
    work()
    spent_s = time.process_time() - cpu_s + _children_s() - children_s
    return Spent(spent_s, time.perf_counter() - wall_s, peak_mib() if counts else None)


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def in_turn(repeats: int, *works: Callable[[], object], warm_up: bool = True) -> list[list[Spent]]:
    """Do the works in turn, A B A B ..., so that a machine that becomes slower meanwhile slows all of them.

    Args:
        repeats: Rounds that count.
        works: What to do.
        warm_up: Do one round before, which does not count.

    Returns:
        For each work, what it took in each round.
    """
    if warm_up:
        for work in works:
            work()
    rounds = [[timed(work) for work in works] for _ in range(repeats)]
    return [list(of_work) for of_work in zip(*rounds, strict=True)]


def cpu_ratio(work: Sequence[Spent], limit: Sequence[Spent]) -> float:
    """Median over the rounds of CPU seconds of `work` over those of `limit`."""
    return statistics.median(a.cpu_s / b.cpu_s for a, b in zip(work, limit, strict=True))


def wall_ratio(work: Sequence[Spent], limit: Sequence[Spent]) -> float:
    """Median over the rounds of seconds of `work` over those of `limit`."""
    return statistics.median(a.wall_s / b.wall_s for a, b in zip(work, limit, strict=True))


def medians(name: str, spent: Sequence[Spent]) -> dict[str, float]:
    """Median CPU and clock seconds and peak memory, for a figure's detail."""
    peaks = [one.peak_mib for one in spent if one.peak_mib is not None]
    return {
        f"{name}_cpu_s": round(statistics.median(one.cpu_s for one in spent), 4),
        f"{name}_wall_s": round(statistics.median(one.wall_s for one in spent), 4),
    } | ({f"{name}_peak_mib": round(statistics.median(peaks))} if peaks else {})


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use this many threads: 1 is what a worker of `prepare` or of the loader has."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(terse=True),
        "versions": versions(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def busy_warning(load_average: float, cores: int) -> str | None:
    """What to say where other programs compete for the cores; None on a quiet machine."""
    if load_average <= BUSY_PER_CORE * cores:
        return None
    return (
        f"the machine is busy (load average {load_average:.1f} on {cores} cores): clock times, and through shared "
        "caches CPU times too, are longer than on a quiet one"
    )


def _processor() -> str:
    """The processor's name, as far as the system tells."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    named = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return named or platform.processor() or platform.machine()
