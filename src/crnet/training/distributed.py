"""One training process or several: `torchrun` starts them, gradients are averaged, the first one writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crnet.errors import ConfigError


@dataclass(frozen=True)
class World:
    """The training processes, seen from one of them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        device: Where this one computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """The mean of each value over the processes."""
        if self.size == 1:
            return values
        total = values.to(self.device, copy=True)
        dist.all_reduce(total)
        return total / self.size

    def gather(self, rows: Tensor) -> Tensor:
        """[n, ...] of every process one below the other; n may differ between them and may be 0."""
        if self.size == 1:
            return rows
        count = torch.tensor([len(rows)], device=self.device)
        counts = [torch.zeros_like(count) for _ in range(self.size)]
        dist.all_gather(counts, count)
        longest = max(int(c) for c in counts)
        padded = torch.zeros((longest, *rows.shape[1:]), dtype=rows.dtype, device=self.device)
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in range(self.size)]
        dist.all_gather(parts, padded)
        return torch.cat([part[: int(c)] for part, c in zip(parts, counts, strict=True)])

    def share_buffers(self, net: nn.Module) -> None:
        """Give every process the first one's batch-norm statistics, so that all validate the same network."""
        if self.size > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)

    def parallel(self, net: nn.Module) -> nn.Module:
        """`net`, averaging its gradients over the processes; itself where there is only one."""
        if self.size == 1:
            return net
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(net, device_ids=device_ids)

    def synchronise(self, net: nn.Module) -> None:
        """On several GPUs, let batch norm see the global batch instead of each GPU's share; names stay as they are."""
        if self.size > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]  # changes the parts of net


@contextmanager
def world(device: str = "auto") -> Iterator[World]:
    """Join the processes that `torchrun` started (it sets WORLD_SIZE, RANK, LOCAL_RANK); alone without it.

    Raises:
        ConfigError: The device is not there.
    """
    size, rank, local_rank = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    chosen = choose_device(device, local_rank)
    joins = size > 1 and not dist.is_initialized()
    if joins:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(rank, size, chosen)
    finally:
        if joins:
            dist.destroy_process_group()


_TORCHRUN = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))


def choose_device(name: str = "auto", local_rank: int = 0) -> torch.device:
    """The device called `name`; `auto` is a GPU if there is one, else the CPU.

    Raises:
        ConfigError: It is not there.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA GPU is available", remedy="choose device auto or cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("no Apple GPU is available", remedy="choose device auto or cpu")
    if name == "cuda" or (name == "auto" and torch.cuda.is_available()):
        if local_rank >= torch.cuda.device_count():
            raise ConfigError(f"process {local_rank} has no GPU of its own", remedy="start one process for each GPU")
        return torch.device("cuda", local_rank)
    return torch.device("cpu" if name == "auto" else name)
