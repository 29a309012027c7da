"""Which networks a set of experiments needs, and training those that are not there yet, several at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crnet.data.splits import SplitProtocol
from crnet.errors import CrnetError, StorageError
from crnet.experiments.net_spec import FAILURE_NAME, NetSpec, is_trained, mark_trained
from crnet.experiments.workspace import Experiment, Lab
from crnet.training.log import epochs_logged
from crnet.training.parallel_streams import watched_logs
from crnet.training.stream import train_stream
from crnet.types import SPLITS
from crnet.utils.executors import WorkerDied, run_jobs
from crnet.utils.files import write_text
from crnet.utils.progress import no_progress

logger = logging.getLogger(__name__)

TASK = "training networks"


@dataclass(frozen=True)
class Planned:
    """One network of the plan.

    Attributes:
        spec: What it is.
        seed: Which repetition.
        folder: Where it is trained.
        protocol: On which splits.
        needed_by: Names of the experiments that use it.
    """

    spec: NetSpec
    seed: int
    folder: Path
    protocol: SplitProtocol
    needed_by: tuple[str, ...]

    @property
    def epochs(self) -> int:
        """Passes over the training clips, of both stages."""
        return sum(stage.epochs for stage in self.spec.config.training.stages)

    @property
    def epochs_done(self) -> int:
        """As many as its log tells of."""
        return min(epochs_logged(self.folder), self.epochs)


def plan(lab: Lab, experiments: Sequence[Experiment]) -> tuple[Planned, ...]:
    """Every network that the experiments need, each once, one seed after the other."""
    needed: dict[Path, tuple[Lab, NetSpec]] = {}
    users: dict[Path, dict[str, None]] = {}
    for experiment in experiments:
        for fold in folds_of(lab, experiment):
            for spec in experiment.nets(fold):
                first = fold.folder(spec, lab.seeds[0])
                needed.setdefault(first, (fold, spec))
                users.setdefault(first, {})[experiment.name] = None
    return tuple(
        Planned(spec, seed, fold.folder(spec, seed), fold.protocol, tuple(users[first]))
        for seed in lab.seeds
        for first, (fold, spec) in needed.items()
    )


def folds_of(lab: Lab, experiment: Experiment) -> tuple[Lab, ...]:
    """The folds whose networks an experiment needs: all of them, or this one."""
    return lab.folds if getattr(experiment, "pooled", False) else (lab,)


def train_plan(lab: Lab, planned: Sequence[Planned], workers: int) -> dict[Path, str]:
    """Train what is not trained yet, and keep what every network says of every clip.

    Args:
        lab: Where, and on what.
        planned: Which networks.
        workers: Networks at a time; 1 trains in this process, more in processes with one compute thread each, which
            end with this one.

    Returns:
        Why the training of a network failed, by its folder; empty if all went well.

    Raises:
        StorageError: The disk is full.
        CrnetError: A training process died.
    """
    waiting = [net for net in planned if not is_trained(net.folder)]
    failures: dict[Path, str] = {}
    done, started_s = 0, time.perf_counter()
    train = partial(train_one, _without_reader_processes(lab) if workers > 1 else replace(lab, progress=no_progress))
    with watched_logs({net.folder: net.epochs for net in planned}, TASK, lab.progress):
        for net, outcome in run_jobs(train, waiting, 0 if workers == 1 else min(workers, len(waiting))):
            if isinstance(outcome, WorkerDied):
                raise CrnetError(
                    f"the process that trained a {net.spec.stream} network died with exit code {outcome.exit_code}",
                    path=net.folder,
                    remedy="the same command goes on; with fewer --workers it needs less memory",
                )
            done += 1
            if outcome:
                failures[net.folder] = outcome
                logger.warning("%s: %s", net.folder, outcome)
            left_s = (time.perf_counter() - started_s) / done * (len(waiting) - done)
            logger.info(
                "%d of %d networks trained, about %.0f min left",
                len(planned) - len(waiting) + done,
                len(planned),
                left_s / 60,
            )
    return failures


def train_one(lab: Lab, net: Planned) -> str:
    """Train one network to its end and keep its outputs; goes on where an earlier call stopped.

    Returns:
        Why it failed; "" if it did not.

    Raises:
        StorageError: The disk is full: the next network would fail as well.
    """
    failure = net.folder.parent / FAILURE_NAME
    failure.unlink(missing_ok=True)
    spec, config = net.spec, net.spec.config
    lab = replace(lab, protocol=net.protocol)
    # Dozens of networks are compared by their tables; nobody looks at each one's TensorBoard.
    training = replace(spec.with_seed(net.seed), workers=lab.base.training.workers, tensorboard=False)
    try:
        with _quiet():
            train_stream(
                spec.stream,
                lab.store,
                spec.manifest(lab.manifest),
                net.folder.parent,
                config.model,
                config.transforms,
                training,
            )
        mark_trained(net.folder, spec.summary, net.seed)
        for split in SPLITS:
            lab.outputs(spec, net.seed, split)
    except StorageError:
        raise
    except CrnetError as error:
        write_text(failure, f"{error}\n")
        return str(error)
    return ""


def _without_reader_processes(lab: Lab) -> Lab:
    """For worker processes, which may have no processes of their own."""
    training = replace(lab.base.training, workers=0)
    return replace(lab, base=replace(lab.base, training=training), progress=no_progress)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dozens of networks overfit; their logs tell so, and the terminal need not."""
    training = logging.getLogger("crnet.training")
    before = training.level
    training.setLevel(logging.ERROR)
    try:
        yield
    finally:
        training.setLevel(before)
