"""Submit a training on several nodes to Slurm with submitit: `pip install "crnet[slurm]"`.

    python examples/slurm/submit_training.py STORE RUN --nodes 2 --gpus 4 -- --preset paper

Slurm starts the task again after a node was lost or its time was up, and training goes on from the last epoch. With
`--cluster local` the task runs on this machine.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import submitit

ATTEMPTS = 5


@dataclass(frozen=True)
class Training:
    """What runs on each node: torchrun with one process per GPU.

    Attributes:
        arguments: Arguments of `crnet train`.
        processes: Processes of a node.
        port: Port of the first node.
    """

    arguments: tuple[str, ...]
    processes: int
    port: int

    def __call__(self) -> None:
        """Train until the end."""
        environment = submitit.JobEnvironment()
        nodes = [*environment.hostnames]
        launcher = [
            *(sys.executable, "-m", "torch.distributed.run", "--max-restarts", "0"),
            *("--nnodes", str(len(nodes)), "--node-rank", str(environment.node)),
            *("--nproc-per-node", str(self.processes)),
            *("--master-addr", nodes[0], "--master-port", str(self.port)),
        ]
        for _ in range(ATTEMPTS):
            if subprocess.run([*launcher, "-m", "crnet", "train", *self.arguments], check=False).returncode == 0:
                return
        raise RuntimeError(f"the training ended early {ATTEMPTS} times; see the output of its processes")

    def checkpoint(self) -> submitit.helpers.DelayedSubmission:
        """Submit the same training again when Slurm ends it; called by submitit."""
        return submitit.helpers.DelayedSubmission(self)


def main(arguments: Sequence[str] | None = None) -> str:
    """Submit the training and return its job's number."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="clip store, on storage that all nodes see, or a URL")
    parser.add_argument("run", type=Path, help="run folder, on storage that all nodes see")
    parser.add_argument("--nodes", type=int, default=2)
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of each node; 0: one process on the CPU")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--partition", default=None)
    parser.add_argument("--cluster", default=None, help="slurm or local (default: slurm if there is one)")
    given = list(sys.argv[1:] if arguments is None else arguments)
    end = given.index("--") if "--" in given else len(given)
    options, train_options = parser.parse_args(given[:end]), given[end + 1 :]
    executor = submitit.AutoExecutor(folder=options.run.with_name(options.run.name + "-slurm"), cluster=options.cluster)
    slurm = {"slurm_partition": options.partition} if options.partition else {}
    executor.update_parameters(
        name="crnet-train",
        nodes=options.nodes,
        tasks_per_node=1,
        gpus_per_node=options.gpus,
        timeout_min=round(60 * options.hours),
        **slurm,
    )
    training = Training((options.store, str(options.run), *train_options), max(options.gpus, 1), _port())
    job = executor.submit(training)
    print(f"job {job.job_id}; output: {job.paths.stdout}")
    return str(job.job_id)


def _port() -> int:
    return 20_000 + hash((socket.gethostname(), os.getpid())) % 20_000


if __name__ == "__main__":
    main()
