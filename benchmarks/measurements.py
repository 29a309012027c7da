"""Tools of all benchmarks: alternating timings, peak memory, and measurements with their goals."""

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

from crnet.utils.cores import available_cores
from crnet.utils.process_memory import peak_mib, reset_peak
from crnet.utils.provenance import versions

INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 BF16",
    "amx_tile": "AMX",
}
"""Names of flags of /proc/cpuinfo."""

ISA_VARIABLE = "ONEDNN_MAX_CPU_ISA"
"""Limits PyTorch and OpenVINO to older instruction sets: AVX2 stands for a CPU without AVX-512."""

BUSY_PER_CORE = 0.3
"""Load average per core above which other programs disturb the measurements."""


@dataclass(frozen=True)
class Usage:
    """Resources that a piece of work used.

    Attributes:
        cpu_s: CPU time, summed over all cores.
        wall_s: Wall time.
        peak_mib: Peak memory of this process during the work, MiB; None where the system cannot report it.
    """

    cpu_s: float
    wall_s: float
    peak_mib: float | None = None


@dataclass(frozen=True)
class Measurement:
    """One row of a benchmark.

    Attributes:
        name: Benchmark and row, such as "prepare: all frames".
        value: Measured value, often a ratio.
        unit: Unit of the value; "x" for a ratio.
        goal: Bound on the value; None if there is no goal.
        limit: What the value is measured against.
        at_least: Whether the goal is a lower bound.
        detail: Further values, with units in their names.
    """

    name: str
    value: float
    unit: str
    goal: float | None
    limit: str
    at_least: bool = False
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool | None:
        """Whether the value meets its goal; None if there is no goal."""
        if self.goal is None:
            return None
        return self.value >= self.goal if self.at_least else self.value <= self.goal

    @property
    def goal_text(self) -> str | None:
        """The goal with its direction and unit; None if there is no goal."""
        return None if self.goal is None else f"{'>=' if self.at_least else '<='} {self.goal:g} {self.unit}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """Return the row as a JSON object."""
        document = {**asdict(self), "goal": self.goal_text, "holds": self.holds}
        return {name: document[name] for name in ("name", "value", "unit", "goal", "holds", "limit", "detail")}


def timed(work: Callable[[], object]) -> Usage:
    """Do the work once. CPU time includes child processes that have ended; memory does not."""
    can_measure_peak = reset_peak()
    children_s, cpu_s, wall_s = _children_cpu_s(), time.process_time(), time.perf_counter()
    work()
    used_s = time.process_time() - cpu_s + _children_cpu_s() - children_s
    return Usage(used_s, time.perf_counter() - wall_s, peak_mib() if can_measure_peak else None)


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def alternate(repeats: int, *works: Callable[[], object]) -> list[list[Usage]]:
    """Time the works in turn, A B A B ..., so that a machine that slows down slows all of them.

    Args:
        repeats: Number of rounds that count, after one warm-up round.
        works: Pieces of work to compare.

    Returns:
        For each piece of work, its usage in each round.
    """
    for work in works:
        work()
    rounds = [[timed(work) for work in works] for _ in range(repeats)]
    return [list(usages) for usages in zip(*rounds, strict=True)]


def cpu_ratio(work: Sequence[Usage], limit: Sequence[Usage]) -> float:
    """Return the median over the rounds of the ratio of CPU times."""
    return statistics.median(a.cpu_s / b.cpu_s for a, b in zip(work, limit, strict=True))


def wall_ratio(work: Sequence[Usage], limit: Sequence[Usage]) -> float:
    """Return the median over the rounds of the ratio of wall times."""
    return statistics.median(a.wall_s / b.wall_s for a, b in zip(work, limit, strict=True))


def medians(name: str, usages: Sequence[Usage]) -> dict[str, float]:
    """Return median CPU time, wall time and peak memory, for the detail of a measurement."""
    peaks = [usage.peak_mib for usage in usages if usage.peak_mib is not None]
    return {
        f"{name}_cpu_s": round(statistics.median(usage.cpu_s for usage in usages), 4),
        f"{name}_wall_s": round(statistics.median(usage.wall_s for usage in usages), 4),
    } | ({f"{name}_peak_mib": round(statistics.median(peaks))} if peaks else {})


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this number of threads; a worker of `prepare` or of the dataloader has one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def machine_info() -> dict[str, Any]:
    """Return the machine's processor, instruction sets, cores, GPU, system, package versions and load."""
    return {
        "processor": _processor_name(),
        "instruction_sets": instruction_sets(_cpu_info("flags").split(), os.environ.get(ISA_VARIABLE)),
        "cores": available_cores(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(terse=True),
        "versions": versions(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def busy_warning(load_average: float, cores: int) -> str | None:
    """Return a warning if other programs compete for the cores; None on a quiet machine."""
    if load_average <= BUSY_PER_CORE * cores:
        return None
    return (
        f"the machine is busy (load average {load_average:.1f} on {cores} cores): wall times, and through shared "
        "caches CPU times too, are longer than on a quiet machine"
    )


def instruction_sets(flags: Sequence[str], limit: str | None) -> str:
    """Return the instruction sets that decide the speed of networks, such as "AVX2, AVX-512"; "" if they are unknown.

    Args:
        flags: Flags of the processor, as Linux names them.
        limit: What the libraries of networks may use at most: the value of `ISA_VARIABLE`.
    """
    names = ", ".join(name for flag, name in INSTRUCTION_SETS.items() if flag in flags)
    return f"{names}; networks use {limit} at most" if limit else names


def _processor_name() -> str:
    return _cpu_info("model name") or platform.processor() or platform.machine()


def _cpu_info(name: str) -> str:
    """Return what Linux tells about the first core under this name; "" elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
