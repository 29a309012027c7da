"""The networks that a set of experiments needs, and the training of those that are missing, several at a time."""

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
from crnet.experiments.workspace import Experiment, Workspace
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.training.config import TrainingConfig
from crnet.training.log import count_epochs
from crnet.training.parallel_streams import nets_at_once, watched_logs
from crnet.training.stream import TrainingJob, train_stream
from crnet.types import SPLITS
from crnet.utils.device import choose_device
from crnet.utils.executors import LOCAL, Executor, WorkerDied, choose_executor, worker_processes
from crnet.utils.files import write_text
from crnet.utils.progress import no_progress

logger = logging.getLogger(__name__)

TASK = "training epochs"


@dataclass(frozen=True)
class PlannedNet:
    """A network of the plan.

    Attributes:
        spec: The network without its seed.
        seed: The seed.
        folder: The folder where it is trained.
        protocol: The protocol of its splits.
        needed_by: Names of the experiments that use it.
    """

    spec: NetSpec
    seed: int
    folder: Path
    protocol: SplitProtocol
    needed_by: tuple[str, ...]

    @property
    def epochs(self) -> int:
        """Number of epochs of both stages."""
        return sum(stage.epochs for stage in self.spec.config.training.stages)

    @property
    def epochs_done(self) -> int:
        """Number of epochs in the network's log."""
        return min(count_epochs(self.folder), self.epochs)


def plan(workspace: Workspace, experiments: Sequence[Experiment]) -> tuple[PlannedNet, ...]:
    """Return every network that the experiments need, each once, seed by seed."""
    needed: dict[Path, tuple[Workspace, NetSpec]] = {}
    users: dict[Path, dict[str, None]] = {}
    for experiment in experiments:
        for fold in experiment_folds(workspace, experiment):
            for spec in experiment.networks(fold):
                first_folder = fold.folder(spec, workspace.seeds[0])
                needed.setdefault(first_folder, (fold, spec))
                users.setdefault(first_folder, {})[experiment.name] = None
    return tuple(
        PlannedNet(spec, seed, fold.folder(spec, seed), fold.protocol, tuple(users[first_folder]))
        for seed in workspace.seeds
        for first_folder, (fold, spec) in needed.items()
    )


def network_executor(training: TrainingConfig, workers: int | None, engine: str) -> Executor:
    """Return where the networks are trained. On a cluster with GPUs, each takes one, unless the device is the CPU.

    Args:
        training: The training configuration.
        workers: The number of networks to train at once that is asked for; see `networks_at_once`. On a cluster, None
            means one per GPU or CPU.
        engine: See `choose_executor`.

    Raises:
        ConfigError: The configured device is not available.
        UsageError: The engine or `workers` is unusable.
    """
    if engine != LOCAL:
        return replace(choose_executor(engine, workers), wants_gpu=training.device != "cpu")
    at_once = networks_at_once(training, workers)
    return Executor(0 if at_once <= 1 else at_once)


def networks_at_once(training: TrainingConfig, workers: int | None) -> int:
    """Return the number of networks to train at once on this machine; 0 and 1 train in this process.

    Args:
        training: The training configuration.
        workers: The number asked for; None: as many as the cores allow, one on a GPU.

    Raises:
        ConfigError: The configured device is not available.
        UsageError: `workers` is negative.
    """
    default = nets_at_once(training, choose_device(training.device))
    return default if workers is None else worker_processes(workers)


def require_initial_weights(planned: Sequence[PlannedNet]) -> None:
    """Check that the files of initial weights fit the networks that are not yet trained.

    Raises:
        FormatError: A file is missing, damaged or of another shape.
    """
    models = (net.spec.config.model for net in planned if not is_trained(net.folder))
    shapes = {(model.backbone, model.width, model.blocks, model.init) for model in models if model.init is not None}
    for backbone, width, blocks, init in shapes:
        StreamNet("scene", ModelConfig(backbone=backbone, width=width, blocks=blocks, init=init))


def experiment_folds(workspace: Workspace, experiment: Experiment) -> tuple[Workspace, ...]:
    """Return the folds that an experiment uses: all of them, or this one."""
    return workspace.folds if getattr(experiment, "pools_folds", False) else (workspace,)


def train_plan(workspace: Workspace, planned: Sequence[PlannedNet], executor: Executor) -> dict[Path, str]:
    """Train the networks that are missing and cache the outputs of each for every clip.

    Args:
        workspace: The workspace of the plan.
        planned: The networks.
        executor: Where the networks are trained. In this process a network may read its batches in processes; workers
            have one compute thread each.

    Returns:
        The reason for every failed training, by the network's folder.

    Raises:
        StorageError: The disk is full.
        CrnetError: A training process died.
    """
    waiting = [net for net in planned if not is_trained(net.folder)]
    failures: dict[Path, str] = {}
    trained_before, start_s = len(planned) - len(waiting), time.perf_counter()
    in_this_process = executor == Executor(0)
    trained = replace(workspace, progress=no_progress) if in_this_process else _without_reader_processes(workspace)
    train = partial(train_one, trained)
    results = executor.run(train, waiting, writes_to=workspace.out, reads=[Path(workspace.store)])
    with watched_logs({net.folder: net.epochs for net in planned}, TASK, workspace.progress):
        for done, (net, outcome) in enumerate(results, start=1):
            if isinstance(outcome, WorkerDied):
                reason, _ = outcome.explain(f"training a {net.spec.stream} network")
                remedy = "run the same command again to resume; fewer --workers need less memory"
                raise CrnetError(reason, path=net.folder, remedy=remedy)
            if outcome:
                failures[net.folder] = outcome
                logger.warning("%s: %s", net.folder, outcome)
            left_s = (time.perf_counter() - start_s) / done * (len(waiting) - done)
            logger.info(
                "%d of %d networks trained, about %.0f min left", trained_before + done, len(planned), left_s / 60
            )
    return failures


def train_one(workspace: Workspace, net: PlannedNet) -> str:
    """Train one network and cache its outputs; resume an interrupted training.

    Returns:
        The reason for a failure; "" if there was none.

    Raises:
        StorageError: The disk is full, so the next network would fail as well.
    """
    failure = net.folder.parent / FAILURE_NAME
    failure.unlink(missing_ok=True)
    spec, config = net.spec, net.spec.config
    workspace = replace(workspace, protocol=net.protocol)
    # TensorBoard files of dozens of networks would go unread: tables compare the networks.
    training = replace(spec.with_seed(net.seed), workers=workspace.base.training.workers, tensorboard=False)
    try:
        with _training_warnings_off():
            manifest = spec.manifest(workspace.manifest)
            job = TrainingJob(workspace.store, manifest, net.folder.parent, config.model, config.transforms, training)
            train_stream(spec.stream, job)
        mark_trained(net.folder, spec.summary, net.seed)
        for split in SPLITS:
            workspace.outputs(spec, net.seed, split)
    except StorageError:
        raise
    except CrnetError as error:
        write_text(failure, f"{error}\n")
        return str(error)
    return ""


def _without_reader_processes(workspace: Workspace) -> Workspace:
    """Return the workspace for worker processes, which cannot start processes themselves."""
    training = replace(workspace.base.training, workers=0)
    return replace(workspace, base=replace(workspace.base, training=training), progress=no_progress)


@contextmanager
def _training_warnings_off() -> Iterator[None]:
    """Keep warnings of training, such as those of overfitting, off the terminal; the networks' logs contain them."""
    training_logger = logging.getLogger("crnet.training")
    level = training_logger.level
    training_logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        training_logger.setLevel(level)
