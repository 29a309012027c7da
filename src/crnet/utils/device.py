"""Devices and precisions. Importing this module does not import PyTorch, so that `crnet --help` stays fast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from crnet.errors import ConfigError

if TYPE_CHECKING:
    import torch

Device = Literal["auto", "cpu", "cuda", "mps"]
"""auto: a GPU if there is one; see `choose_device`."""

Precision = Literal["float32", "bfloat16"]
"""Number format in which the backbones of a trained system compute; CR-blocks, fusion and trees are not affected."""


def choose_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """Return the device called `name`; `auto` is a GPU if there is one, otherwise the CPU.

    Raises:
        ConfigError: The device is not available.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA GPU is available", remedy="choose device auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no Apple GPU is available", remedy="choose device auto or cpu")
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(
                f"training process {local_rank} has no GPU: there are only {torch.cuda.device_count()}",
                remedy="start one process per GPU",
            )
        return torch.device("cuda", local_rank)
    return torch.device("cpu" if name == "auto" else name)
