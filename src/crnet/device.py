"""Where networks compute, by name: light, so that `crnet --help` loads nothing else."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda", "mps"]
"""auto: a GPU if there is one. `crnet.training.distributed.choose_device` finds it."""
