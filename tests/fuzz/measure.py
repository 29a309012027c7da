"""Run one reading and say what came of it: how it ended, how long it took, how much memory it needed."""

from __future__ import annotations

import os
import re
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.errors import CrnetError

SAME, HONEST, REFUSED, FAULT = "same", "honest", "refused", "fault"


@dataclass(frozen=True)
class CaseResult:
    """What came of one damaged file.

    Attributes:
        number: Number of the case in its campaign.
        kind: Kind of file.
        damage: What was done to it.
        outcome: `SAME` as the intact file, another but `HONEST` result, `REFUSED` with a `CrnetError`, or a `FAULT`.
        detail: The error, or the faults.
        seconds: Time of the reading.
        peak_mb: Most memory that the process had during it.
    """

    number: int
    kind: str
    damage: str
    outcome: str
    detail: str
    seconds: float
    peak_mb: float


def classify(
    read: Callable[[], Any], intact: Any, judge: Callable[[Any], Iterator[str]], places: tuple[str, ...]
) -> tuple[str, str]:
    """Run a reading and return its outcome with details.

    Args:
        read: The reading.
        intact: Its result for the intact file.
        judge: Yields the faults of another result.
        places: An error must name one of these.
    """
    try:
        result = read()
    except CrnetError as error:
        return _judge_message(error, places)
    except Exception as error:
        return FAULT, f"{type(error).__name__}: {error}"[:300] + " | " + traceback.format_exc(limit=-3)[-600:]
    if result == intact:
        return SAME, ""
    faults = list(judge(result))
    return (FAULT, "; ".join(faults)[:600]) if faults else (HONEST, "")


def _judge_message(error: CrnetError, places: tuple[str, ...]) -> tuple[str, str]:
    message = str(error)
    if not error.reason.strip() or "\n" in message or not any(place in message for place in places):
        return FAULT, f"an error that names no file: {message[:300]}"
    if re.search("unexpected [A-Z]", message):  # what a batch says of an exception that nobody expected
        return FAULT, message[:300]
    return REFUSED, message[:300]


@contextmanager
def measured(sizes: list[float]) -> Iterator[None]:
    """Append the seconds that the block takes, and the most memory of this process meanwhile in MB (0 unless Linux)."""
    _reset_peak()
    start_s = time.perf_counter()
    try:
        yield
    finally:
        sizes += [time.perf_counter() - start_s, _peak_mb()]


def _reset_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_mb() -> float:
    try:
        lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
