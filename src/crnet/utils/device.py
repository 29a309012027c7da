"""Where networks compute, and how exactly, by name: light, so that `crnet --help` loads nothing else."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda", "mps"]
"""auto: a GPU if there is one. `crnet.training.distributed.choose_device` finds it."""

Precision = Literal["float32", "bfloat16"]
"""In what the backbones of a trained system compute; CR-blocks, fusion and trees stay as they are."""
