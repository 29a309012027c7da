"""What all commands share: exit codes and names of devices."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda", "mps"]

EXIT_DONE, EXIT_FAILURES, EXIT_ERROR = 0, 1, 2
