"""Training a stream from the store to its best weights: stage 1, then stage 2, resumed wherever it was interrupted.

A run folder has one folder for each stream:

    config.json        what it is trained with; another configuration is refused
    last.safetensors   the whole training state after the last finished epoch
    best.safetensors   the weights of the best epoch of the final stage
    log.jsonl          one row an epoch, see `crnet.training.log`
    tensorboard/       the same for TensorBoard, if it is installed

Stage 2 goes on from the *last* network of stage 1, as the paper does, which chooses none there. Of stage 2, the
network with the best validation score is kept (average 1 - MAE of the five traits). Half of the validation clips
take no part in that, if there are enough of them: they tell how far the system is off (`crnet.data.splits`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from crnet.data.dataset import ClipDataset, stack_scores
from crnet.data.splits import split_validation
from crnet.data.store import Manifest
from crnet.data.transforms import TransformConfig
from crnet.errors import FormatError, LabelError
from crnet.models.cr_block import class_of
from crnet.models.crnet import ModelConfig, StreamNet
from crnet.training.checkpoint import Standing, load_state, read_about, read_standing
from crnet.training.config import StageConfig, TrainingConfig
from crnet.training.distributed import world
from crnet.training.log import Row, run_log
from crnet.training.loop import BEST_NAME, STATE_NAME, Run, fit
from crnet.types import Split, Stream
from crnet.utils.files import remove_leftovers, write_json
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder, as_json, fingerprint

__all__ = ["StageConfig", "TrainingConfig", "train_stream"]

logger = logging.getLogger(__name__)

CONFIG_NAME = "config.json"
WITHOUT_INFLUENCE = ("workers", "threads", "device", "tensorboard")  # a run may be resumed with others
STREAM_FOLDER = ResumableFolder("a run", CONFIG_NAME, decisive=lambda document: document["run"], exclusive=False)


def train_stream(
    stream: Stream,
    store: Path,
    manifest: Manifest,
    run_dir: Path,
    model: ModelConfig,
    transforms: TransformConfig,
    training: TrainingConfig,
    progress: Progress = no_progress,
) -> Path:
    """Train one stream in `run_dir/<stream>`, or go on where an interrupted run stopped; a finished one is left.

    Under `torchrun` every process calls this. On the CPU a resumed run ends with the same bits as an uninterrupted
    one (with the same number of threads and processes).

    Args:
        stream: Which of the three.
        store: The clip store.
        manifest: Its manifest. Without a `val` split the last epoch's network is kept, with a warning.
        run_dir: The run.
        model, transforms, training: The configuration.
        progress: Told after every step.

    Returns:
        The file with the best weights, for `crnet.training.checkpoint.load_net`.

    Raises:
        ConfigError: The folder holds a run of another configuration, the batch cannot be shared by the processes,
            a stage's losses do not fit the head, the width cannot be trained on a CPU, or training diverged.
        LabelError: There is nothing to train on, or clips lack scores.
        FormatError: A file of the run or a clip is damaged.
        StorageError: The disk is full.
    """
    training.refuse_for(model.head)
    folder = run_dir / stream
    described = describe(stream, manifest, model, transforms, training)
    with world(training.device) as here, reproducible(here.device, training.threads):
        model.require_trainable_on(here.device)
        resumed = check_configuration(folder, described)
        here.barrier()  # all have looked before the first one writes
        if resumed and read_standing(folder / STATE_NAME).finished:
            logger.info("%s: already trained", stream)
            read_about(folder / BEST_NAME)
            return folder / BEST_NAME
        if here.first:
            prepare_folder(folder, described)
        net = StreamNet(stream, model, training.seed).to(here.device)
        here.synchronise(net)
        splits: tuple[Split, Split] = ("train", "val")
        train, val = (split_of(name, stream, store, manifest, model, transforms, training) for name in splits)
        if train is None:
            raise LabelError("no clip belongs to the training split", path=store, remedy="give some clips split=train")
        if val is None and here.first:
            logger.warning("no clip belongs to the validation split: the last epoch is kept, overfitting stays unseen")
        net.start_from(stack_scores(train.rows))
        standing, optimizer_state = load_state(folder / STATE_NAME, net) if resumed else (Standing(), {})
        write_log = run_log(folder, standing.log, training.tensorboard) if here.first else nullcontext(drop_row)
        with write_log as write:
            run = Run(folder, net, train, val, training, here, standing, optimizer_state, write, progress)
            for stage in training.stages:
                if stage.epochs:
                    run.batches(train, stage)  # raises what can be known now, not after a night of stage 1
            for number in range(standing.stage, len(training.stages) + 1):
                fit(run, number)
    return folder / BEST_NAME


@contextmanager
def reproducible(device: torch.device, threads: int | None) -> Iterator[None]:
    """On the CPU, let torch use only algorithms that give the same bits every time; on a GPU, let it try for speed.

    Args:
        device: Where training computes.
        threads: Of the CPU; None: as many as torch uses anyway.
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


def split_of(
    name: Split,
    stream: Stream,
    store: Path,
    manifest: Manifest,
    model: ModelConfig,
    transforms: TransformConfig,
    training: TrainingConfig,
) -> ClipDataset | None:
    """A split as one stream trains on it or is validated on it; None if it is empty.

    Of the validation split, it is the half that chooses the network; see `crnet.data.splits`.
    """
    rows = manifest.rows(name)
    if name == "val":
        rows, _ = split_validation(rows)
    if not rows:
        return None
    classes = class_of(stack_scores(rows), model.classes)
    return ClipDataset(store, rows, transforms, [stream], training.seed, classes, training=name == "train")


def describe(
    stream: Stream, manifest: Manifest, model: ModelConfig, transforms: TransformConfig, training: TrainingConfig
) -> dict[str, Any]:
    """Everything that decides what is trained, as JSON values: the configuration and the labelled clips."""
    labelled = [(row.clip_id, row.split, row.scores) for row in (*manifest.rows("train"), *manifest.rows("val"))]
    document = {
        "stream": stream,
        "model": asdict(model),
        "transforms": asdict(transforms),
        "training": decisive_fields(asdict(training)),
        "data": {
            "source": manifest.source,
            "fingerprint": manifest.fingerprint,
            "encoder": manifest.encoder,
            "train_clips": len(manifest.rows("train")),
            "val_clips": len(manifest.rows("val")),
            "choosing_clips": len(split_validation(manifest.rows("val"))[0]),
            "labels_sha256": fingerprint(labelled),
        },
    }
    plain: dict[str, Any] = as_json(document)
    return plain


def decisive_fields(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a training configuration that affect the result."""
    return {name: value for name, value in training.items() if name not in WITHOUT_INFLUENCE}


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
    """Write the configuration unless it is there, and clear away what a killed run left half-written."""
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    if not (folder / CONFIG_NAME).exists():
        write_json(folder / CONFIG_NAME, {"run": described, "made_with": versions() | {"git": git_revision()}})


def drop_row(row: Row) -> None:
    """The log of a process that is not the first."""
