"""Train one stream from the clip store to its best weights: stage 1, then stage 2. An interrupted training resumes.

A run folder has one folder for each stream:

    config.json        configuration and data of the training; another configuration is refused
    last.safetensors   the complete training state after the last finished epoch
    best.safetensors   the weights of the best epoch of the final stage
    text_regression.safetensors   the fitted regression of the text, if the network has one
    log.jsonl          one row per epoch, see `crnet.training.log`
    tensorboard/       the same for TensorBoard, if it is installed

Stage 2 continues from the *last* network of stage 1, because the paper selects none there. Stage 2 keeps the network
with the best validation score (average 1 - MAE of the five traits). If the validation split is large enough, half of it
takes no part in this selection, so that it can measure the error of the system (`crnet.data.splits`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

from crnet.data.clip_rows import light_rows, score_blocks
from crnet.data.dataset import ClipDataset, require_scores, stack_scores
from crnet.data.manifest import Manifest
from crnet.data.splits import split_validation
from crnet.data.transforms import TransformConfig
from crnet.errors import FormatError, LabelError
from crnet.models.classes import class_indices
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.training.checkpoint import TrainState, load_state, read_about, read_state
from crnet.training.config import TrainingConfig
from crnet.training.distributed import DistributedContext, distributed_context
from crnet.training.log import Row, RowWriter, open_log
from crnet.training.loop import BEST_NAME, STATE_NAME, StreamTraining, train_stages
from crnet.training.old_names import with_current_fields
from crnet.training.text import prepare_text_regression
from crnet.types import Split, Stream
from crnet.utils.device import require_fast
from crnet.utils.files import remove_leftovers, write_json
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder, as_json, list_fingerprint

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
CHANGEABLE_ON_RESUME = ("workers", "threads", "device", "tensorboard")


def _stream_settings(document: dict[str, Any]) -> Any:
    """Return the settings of a training from its configuration file, with current names."""
    return with_current_fields(document["run"])


STREAM_FOLDER = ResumableFolder("a run", CONFIG_NAME, _stream_settings, exclusive=False)


@dataclass(frozen=True)
class TrainingJob:
    """Data and configuration for training one or several streams.

    Attributes:
        store: The clip store.
        manifest: Its manifest. Without a `val` split the last epoch's network is kept, with a warning.
        run_dir: The run folder; it has a folder for each stream.
        model, transforms, training: The configuration.
    """

    store: Path
    manifest: Manifest
    run_dir: Path
    model: ModelConfig
    transforms: TransformConfig
    training: TrainingConfig


def train_stream(stream: Stream, job: TrainingJob, progress: Progress = no_progress) -> Path:
    """Train one stream in `run_dir/<stream>`. An interrupted training resumes; a finished one is not repeated.

    Under `torchrun` every process calls this. On the CPU a resumed training ends with the same bits as an uninterrupted
    one, given the same number of threads and processes.

    Args:
        stream: The stream to train.
        job: Data and configuration.
        progress: Called after every step.

    Returns:
        The file with the best weights, for `crnet.training.checkpoint.load_net`.

    Raises:
        ConfigError: The folder holds a run of another configuration, the batch cannot be shared by the processes,
            a stage's losses do not fit the head, the width cannot be trained on a CPU, or training diverged.
        LabelError: There are no training clips, or clips lack scores.
        FormatError: A file of the run or a clip is damaged.
        StorageError: The disk is full.
    """
    training, folder, settings = job.training, job.run_dir / stream, describe(stream, job)
    training.require_losses_fit(job.model.head)
    with distributed_context(training.device) as context, reproducible(context.device, training.threads):
        job.model.require_trainable_on(context.device.type)
        require_fast(training.precision, context.device.type)
        has_state = check_configuration(folder, settings)
        context.barrier()  # every process has read the folder before the main one writes
        if has_state and _is_finished(folder, stream):
            return folder / BEST_NAME
        if context.is_main:
            prepare_folder(folder, settings)
        _train_network(stream, job, context, has_state, progress)
    return folder / BEST_NAME


def _train_network(
    stream: Stream, job: TrainingJob, context: DistributedContext, has_state: bool, progress: Progress
) -> None:
    """Train the network of a stream from its saved state, or from initial weights if there is none.

    Raises:
        CrnetError: See `train_stream`.
    """
    training, folder = job.training, job.run_dir / stream
    train, val = _training_splits(stream, job, context)
    net = StreamNet(stream, job.model, training.seed).to(context.device)
    context.synchronise_batchnorm(net)
    net.initialise_from_scores(stack_scores(train.rows))
    prepare_text_regression(net, train, folder, context)
    state, optimizer_state = load_state(folder / STATE_NAME, net) if has_state else (TrainState(), {})
    with _open_log(folder, state, training, context) as write_row:
        train_stages(
            StreamTraining(folder, net, train, val, training, context, state, optimizer_state, write_row, progress)
        )


def _is_finished(folder: Path, stream: Stream) -> bool:
    """Return True if a folder with a training state holds a finished training.

    Raises:
        FormatError: The training is finished, but its best weights are missing or damaged.
    """
    if not read_state(folder / STATE_NAME).finished:
        return False
    logger.info("%s: already trained", stream)
    read_about(folder / BEST_NAME)
    return True


def _training_splits(
    stream: Stream, job: TrainingJob, context: DistributedContext
) -> tuple[ClipDataset, ClipDataset | None]:
    """Return the training split and the validation split, which may be missing.

    Raises:
        LabelError: There are no training clips, or clips lack scores.
    """
    splits: tuple[Split, Split] = ("train", "val")
    train, val = (open_split(name, stream, job) for name in splits)
    if train is None:
        raise LabelError("no clip belongs to the training split", path=job.store, remedy="give some clips split=train")
    if val is None and context.is_main:
        logger.warning(
            "no clip belongs to the validation split: the network of the last epoch is kept, "
            "and overfitting cannot be detected"
        )
    return train, val


def _open_log(
    folder: Path, state: TrainState, training: TrainingConfig, context: DistributedContext
) -> AbstractContextManager[RowWriter]:
    """Return the log of a training; a process other than the main one writes no rows."""
    if context.is_main:
        return open_log(folder, state.log, training.tensorboard)
    return nullcontext(_drop_row)


def _drop_row(row: Row) -> None:
    """Write nothing."""


@contextmanager
def reproducible(device: torch.device, threads: int | None) -> Iterator[None]:
    """On a CPU, restrict torch to deterministic algorithms; on a GPU, let cuDNN search for the fastest ones.

    Args:
        device: Device of the training.
        threads: Number of CPU threads; None keeps torch's number.
    """
    if device.type != "cpu":
        with torch.backends.cudnn.flags(enabled=True, benchmark=True):
            yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    threads_before = torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(threads or threads_before)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.set_num_threads(threads_before)


def open_split(name: Split, stream: Stream, job: TrainingJob) -> ClipDataset | None:
    """Return a split as a dataset of one stream, for training or validation; None if the split is empty.

    Of the validation split, only the half that selects the network is returned; see `crnet.data.splits`.

    Raises:
        LabelError: Clips lack scores.
    """
    rows = job.manifest.rows(name)
    if name == "val":
        rows, _ = split_validation(rows)
    if not rows:
        return None
    require_scores(rows)
    # A byte for each class, because they stay in memory.
    classes = np.concatenate([class_indices(block, job.model.classes).astype(np.int8) for block in score_blocks(rows)])
    return ClipDataset(job.store, rows, job.transforms, [stream], job.training.seed, classes, training=name == "train")


def describe(stream: Stream, job: TrainingJob) -> dict[str, Any]:
    """Return all settings that affect the result, as JSON values: the configuration and the labelled clips."""
    manifest = job.manifest
    rows = chain(light_rows(manifest.rows("train")), light_rows(manifest.rows("val")))
    labelled = ((row.clip_id, row.split, row.scores) for row in rows)
    document = {
        "stream": stream,
        "model": asdict(job.model),
        "transforms": asdict(job.transforms),
        "training": result_settings(asdict(job.training)),
        "data": {
            "source": manifest.source,
            "fingerprint": manifest.fingerprint,
            "encoder": manifest.encoder,
            "train_clips": len(manifest.rows("train")),
            "val_clips": len(manifest.rows("val")),
            "choosing_clips": len(split_validation(manifest.rows("val"))[0]),
            "labels_sha256": list_fingerprint(labelled),
        },
    }
    plain: dict[str, Any] = as_json(document)
    return plain


def result_settings(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a training configuration that affect the result.

    A field that is None switches something off. It is left out, because older runs were made before it existed.
    """
    return {name: value for name, value in training.items() if name not in CHANGEABLE_ON_RESUME and value is not None}


def check_configuration(folder: Path, described: dict[str, Any]) -> bool:
    """Return True if `folder` holds the state of an equal run, interrupted or finished; False if it holds none.

    Raises:
        ConfigError: It holds a run of another configuration; the error names the fields that differ.
        FormatError: Its configuration is damaged or missing.
    """
    begun = STREAM_FOLDER.check(folder, {"run": described})
    has_state = (folder / STATE_NAME).exists()
    if has_state and not begun:
        raise FormatError(
            "not found, but there is a training state",
            path=folder / CONFIG_NAME,
            remedy="delete the folder to train this stream again",
        )
    return has_state


def prepare_folder(folder: Path, described: dict[str, Any]) -> None:
    """Write the configuration if there is none, and delete partial files of a killed run."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    if not (folder / CONFIG_NAME).exists():
        write_json(folder / CONFIG_NAME, {"run": described, "made_with": versions() | {"git": git_revision()}})
