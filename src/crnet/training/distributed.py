"""One training process or several. `torchrun` starts them, gradients are averaged, and the main process writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crnet.errors import CrnetError
from crnet.utils.device import choose_device


@dataclass(frozen=True)
class DistributedContext:
    """The training processes, as one of them sees them.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.
        device: Device of this process.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """True in the one process that writes files and shows progress."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait until every process has called this."""
        if self.size > 1:
            dist.barrier()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean of each value over the processes."""
        if self.size == 1:
            return values
        total = values.to(self.device, copy=True)
        dist.all_reduce(total)
        return total / self.size

    def gather(self, rows: Tensor) -> Tensor:
        """Concatenate the rows [n, ...] of all processes; n may differ between them and may be 0."""
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

    def broadcast_buffers(self, net: nn.Module) -> None:
        """Copy the main process's batch-norm statistics to all processes, so that all validate the same network."""
        if self.size > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)

    def wrap(self, net: nn.Module) -> nn.Module:
        """Return a module that averages the gradients of `net` over the processes; `net` itself for one process."""
        if self.size == 1:
            return net
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(net, device_ids=device_ids)

    def synchronise_batchnorm(self, net: nn.Module) -> None:
        """On several GPUs, let batch norm use the global batch instead of each GPU's share. Names do not change."""
        if self.size > 1 and self.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(net)  # type: ignore[no-untyped-call]  # changes net in place


@contextmanager
def distributed_context(device: str = "auto") -> Iterator[DistributedContext]:
    """Join the processes that `torchrun` started (it sets WORLD_SIZE, RANK and LOCAL_RANK); without it, one process.

    Raises:
        ConfigError: The device is not available.
        CrnetError: Another process was lost, with its node or alone.
    """
    size, rank, local_rank = (int(os.environ.get(name, default)) for name, default in _TORCHRUN_VARIABLES)
    chosen = choose_device(device, local_rank)
    joins = size > 1 and not dist.is_initialized()
    if joins:
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield DistributedContext(rank, size, chosen)
    except RuntimeError as error:
        if joins and _is_lost_process(error):
            remedy = "start all processes again with the same command: training goes on from the last epoch"
            raise CrnetError("another training process was lost", remedy=remedy) from error
        raise
    finally:
        if joins:
            dist.destroy_process_group()


def _is_lost_process(error: RuntimeError) -> bool:
    """Whether an error comes from the connection to another process; gloo's errors have no type of their own."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


_TORCHRUN_VARIABLES = (("WORLD_SIZE", "1"), ("RANK", "0"), ("LOCAL_RANK", "0"))
