"""Names of devices and precisions. Light to import, so that `crnet --help` loads nothing else."""

from __future__ import annotations

from typing import Literal

Device = Literal["auto", "cpu", "cuda", "mps"]
"""auto: a GPU if there is one; see `crnet.training.distributed.choose_device`."""

Precision = Literal["float32", "bfloat16"]
"""Number format in which the backbones of a trained system compute; CR-blocks, fusion and trees are not affected."""
