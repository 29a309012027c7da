"""The training loop of one stream: stages, epochs, steps."""

from __future__ import annotations

import logging
import math
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crnet.data.dataset import Batches, ClipDataset, load_batches
from crnet.errors import ConfigError
from crnet.models.crnet import StreamNet, StreamOutput
from crnet.models.losses import loss_terms, share_outside_bell
from crnet.training.checkpoint import Best, TrainState, restore_optimizer, save_state, save_weights
from crnet.training.config import StageConfig, TrainingConfig
from crnet.training.distributed import DistributedContext
from crnet.training.log import EpochMetrics, Row, RowWriter, metrics_row, overfitting_warning
from crnet.training.meters import DataTimer, EpochMeter, logged_losses, require_labels
from crnet.training.precise_batchnorm import recompute_batchnorm
from crnet.training.text import fit_text_weights
from crnet.utils.progress import Progress

logger = logging.getLogger(__name__)

STATE_NAME = "last.safetensors"
BEST_NAME = "best.safetensors"


@dataclass
class StreamTraining:
    """A stream in training, as one of its processes sees it.

    Attributes:
        folder: Folder of its files.
        net: The network.
        train_clips: The training split.
        val_clips: The validation split; None if there is none.
        config: The training configuration.
        context: The training processes.
        state: Progress of the training, saved after every epoch.
        optimizer_state: Tensors of a resumed training's optimizer; empty for a new training.
        write_row: Writes a row of `log.jsonl`.
        progress: Called after every step.
    """

    folder: Path
    net: StreamNet
    train_clips: ClipDataset
    val_clips: ClipDataset | None
    config: TrainingConfig
    context: DistributedContext
    state: TrainState
    optimizer_state: dict[str, Tensor]
    write_row: RowWriter
    progress: Progress

    def batches(self, split: ClipDataset, stage: StageConfig) -> Batches:
        """Return this process's batches of a split."""
        context = self.context
        return load_batches(split, stage.batch_size, workers=self.config.workers, rank=context.rank, ranks=context.size)

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context with the precision of the forward pass."""
        return forward_precision(self.config, self.context.device)


def forward_precision(config: TrainingConfig, device: torch.device) -> AbstractContextManager[None]:
    """Return a context with the configured precision of the forward pass on a device."""
    has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    automatic = config.precision == "auto" and has_bfloat16
    return torch.autocast(device.type, torch.bfloat16, enabled=automatic or config.precision == "bfloat16")


def train_stages(training: StreamTraining) -> None:
    """Train every stage, starting from `training.state`.

    Raises:
        ConfigError: A batch cannot be shared by the processes, or training diverged.
        CrnetError: A clip cannot be read, or a file cannot be written.
    """
    for stage in training.config.stages:
        if stage.epochs:
            training.batches(training.train_clips, stage)  # raises now, not after hours of an earlier stage
    for number in range(training.state.stage, len(training.config.stages) + 1):
        train_stage(training, number)


def train_stage(training: StreamTraining, number: int) -> None:
    """Train stage `number`, from 1, starting from `training.state`.

    Raises:
        ConfigError: Training diverged.
        CrnetError: A clip cannot be read, or a file cannot be written.
    """
    stage = training.config.stages[number - 1]
    if training.state.stage != number:
        training.state.stage, training.state.epoch, training.optimizer_state = number, 0, {}
    for parameter in training.net.regression_parameters():
        parameter.requires_grad_(stage.trains_regression)  # Fig. 7: classification alone does not train G
    optimizer = stage.make_optimizer(training.net.parameters())
    restore_optimizer(optimizer, training.optimizer_state, training.folder / STATE_NAME)
    module = training.context.wrap(training.net)
    train = training.batches(training.train_clips, stage)
    val = None if training.val_clips is None else training.batches(training.val_clips, stage)
    if training.state.epoch == 0 and number == training.config.final_stage and stage.trains_regression:
        keep_start(training, val, stage)
    epochs_before = sum(earlier.epochs for earlier in training.config.stages[: number - 1])
    for epoch in range(training.state.epoch, stage.epochs):
        for group in optimizer.param_groups:
            group["lr"] = stage.lr_at(epoch)
        training.train_clips.set_epoch(epochs_before + epoch)
        row = run_epoch(training, module, train, val, stage, epoch, optimizer)
        finish_epoch(training, stage, row, optimizer)
        if training.state.finished:  # perhaps before its last epoch, see `TrainingConfig.patience`
            return


def keep_start(training: StreamTraining, val: Batches | None, stage: StageConfig) -> None:
    """Make the network at the start of the final stage the best so far, as epoch 0.

    G starts at zero weights, so this network scores the training means, or the regression of the text. A training that
    only memorises its clips ends with it.
    """
    if val is None:
        return
    score = selection_score({"val": metrics_row(validate(training, val, stage, epoch=0))}, stage)
    training.state.best = Best(training.state.stage, 0, score)
    save_best(training)


def save_best(training: StreamTraining) -> None:
    """Save the current network as the best one, described by `training.state.best`."""
    best = training.state.best
    if best is not None and training.context.is_main:
        about = {"stream": training.net.stream, **asdict(best)}
        save_weights(training.folder / BEST_NAME, training.net, about)


def run_epoch(
    training: StreamTraining,
    module: nn.Module,
    train: Batches,
    val: Batches | None,
    stage: StageConfig,
    epoch: int,
    optimizer: torch.optim.Optimizer,
) -> Row:
    """Train and validate for one epoch, and return its row of the log.

    Raises:
        ConfigError: Training diverged.
    """
    start_s = time.perf_counter()
    timer = DataTimer()
    train_metrics = train_epoch(training, module, train, stage, epoch, optimizer, timer)
    train_s = time.perf_counter() - start_s
    if training.config.precise_batchnorm_batches is not None:
        some = islice(train, training.config.precise_batchnorm_batches)  # the first ones of the epoch, in its order
        recompute_batchnorm(training.net, some, training.context, training.autocast())
    training.context.broadcast_buffers(training.net)
    val_metrics = None if val is None else validate(training, val, stage, epoch)
    require_finite(training, epoch, train_metrics, val_metrics)
    return {
        "stage": training.state.stage,
        "epoch": epoch + 1,
        "epochs": stage.epochs,
        "lr": stage.lr_at(epoch),
        "lambda": stage.classification_weight_at(epoch),
        "train": metrics_row(train_metrics),
        "val": None if val_metrics is None else metrics_row(val_metrics),
        "samples_per_s": len(train_metrics.scores) / train_s,
        "waiting_share": timer.waited_s / train_s,
        "seconds": time.perf_counter() - start_s,
    }


def train_epoch(
    training: StreamTraining,
    module: nn.Module,
    batches: Batches,
    stage: StageConfig,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    timer: DataTimer,
) -> EpochMetrics:
    """Train the network on every batch of the training split once.

    Args:
        training: The stream in training.
        module: Its network, wrapped for several processes.
        batches: Batches of the training split.
        stage: The current stage.
        epoch: Epoch of the stage, from 0.
        optimizer: Optimizer of the network.
        timer: Measures the time spent waiting for batches.
    """
    _set_training_mode(training)
    meter = EpochMeter()
    steps = len(batches)
    for step, cpu_batch in enumerate(timer.iterate(batches), start=1):
        batch = cpu_batch.to(training.context.device)
        optimizer.zero_grad(set_to_none=True)
        with training.autocast():
            output: StreamOutput = module(batch)
        terms = loss_terms(output.scores, output.logits, *require_labels(batch), stage.classification_weight_at(epoch))
        loss = terms.total(stage.terms)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        meter.add(output, batch, terms, loss)
        if training.context.is_main:
            task = f"{training.net.stream}: stage {training.state.stage}"
            note = f"epoch {epoch + 1}/{stage.epochs}{_note(training.state)}"
            training.progress(task, epoch * steps + step, stage.epochs * steps, note)
    return meter.metrics(training.context)


def _set_training_mode(training: StreamTraining) -> None:
    """Set the network to training mode; frozen batch norms stay in evaluation mode."""
    training.net.train()
    if training.config.freeze_batchnorm:
        for module in training.net.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


@torch.no_grad()
def validate(training: StreamTraining, batches: Batches, stage: StageConfig, epoch: int) -> EpochMetrics:
    """Evaluate the network on a split's middle frames. Every clip counts once, however many processes share them.

    First, the weights that combine sound and text in its scores, if it has such, are fitted on the same clips.
    """
    if stage.trains_regression:
        fit_text_weights(training.net, batches, training.context, training.autocast())
    training.net.eval()
    device, gather = training.context.device, training.context.gather
    # These stay empty in a process that has no clip of a small split.
    scores, truth = [torch.zeros(0, 6, device=device)], [torch.zeros(0, 6, device=device)]
    logits = [torch.zeros(0, 6, training.net.config.classes, device=device)]
    classes = [torch.zeros(0, 6, dtype=torch.int64, device=device)]
    for cpu_batch in batches:
        batch = cpu_batch.to(device)
        with training.autocast():
            output = training.net(batch)
        scores.append(output.scores)
        logits.append(output.logits)
        for tensors, label in zip((truth, classes), require_labels(batch), strict=True):
            tensors.append(label)
    all_scores, all_truth = gather(torch.cat(scores)).cpu(), gather(torch.cat(truth)).cpu()
    all_logits, all_classes = gather(torch.cat(logits)).cpu(), gather(torch.cat(classes)).cpu()
    terms = loss_terms(all_scores, all_logits, all_truth, all_classes, stage.classification_weight_at(epoch))
    return EpochMetrics(
        {name: value.item() for name, value in logged_losses(terms, terms.total(stage.terms)).items()},
        all_scores.numpy(),
        all_truth.numpy(),
        (all_logits.argmax(-1) == all_classes).double().mean().item(),
        share_outside_bell(all_scores, all_truth),
    )


def require_finite(training: StreamTraining, epoch: int, *metrics: EpochMetrics | None) -> None:
    """Stop a training that has diverged before its state replaces a good one."""
    if all(math.isfinite(value) for each in metrics if each is not None for value in each.terms.values()):
        return
    raise ConfigError(
        f"the loss of the {training.net.stream} stream is not a finite number in stage {training.state.stage}, "
        f"epoch {epoch + 1}",
        path=training.folder,
        remedy="lower the learning rate or train in float32, in a new run folder",
    )


def finish_epoch(training: StreamTraining, stage: StageConfig, row: Row, optimizer: torch.optim.Optimizer) -> None:
    """Judge the epoch and save it: first the best weights, then the log, then the state.

    A kill between any two of these does no harm. Training resumes from the last state, which also holds the rows of the
    log up to it, and repeats the epoch with the same weights and the same row.
    """
    state, is_main = training.state, training.context.is_main
    is_final = state.stage == training.config.final_stage
    score = selection_score(row, stage)
    # Only the final stage chooses a network: before it, G has learned nothing.
    row["best"] = is_final and (
        score is None or state.best is None or state.best.score is None or score > state.best.score
    )
    row["overfitting"] = overfitting_warning([*(r for r in state.log if r["stage"] == state.stage), row])
    if row["overfitting"] and is_main and not (state.log and state.log[-1]["overfitting"]):
        logger.warning(
            "%s, stage %d, epoch %d: %s", training.net.stream, row["stage"], row["epoch"], row["overfitting"]
        )
    state.epoch = row["epoch"]
    state.log.append(row)
    if row["best"]:
        state.best = Best(state.stage, state.epoch, score)
        save_best(training)
    state.finished = is_final and (state.epoch == stage.epochs or _out_of_patience(training))
    if is_main:
        training.write_row(row)
        save_state(training.folder / STATE_NAME, state, training.net, optimizer)
    training.context.barrier()


def _out_of_patience(training: StreamTraining) -> bool:
    """Return True if the best network is `TrainingConfig.patience` epochs old."""
    state, patience = training.state, training.config.patience
    if patience is None or state.best is None or state.best.score is None:
        return False
    return state.epoch - state.best.epoch >= patience


def selection_score(row: Row, stage: StageConfig) -> float | None:
    """Return the score that selects the best network, higher is better.

    It is the validation 1 - MAE averaged over the five traits; in a run of classification alone, the negative
    cross-entropy. Without a validation split it is None: each epoch then replaces the one before, so the last is kept.
    """
    if row["val"] is None:
        return None
    value: float = row["val"]["accuracy"]["average"] if stage.trains_regression else -row["val"]["classification"]
    return value


def _note(state: TrainState) -> str:
    """Return the best score and a sign of overfitting, for the progress bar."""
    best = "" if state.best is None or state.best.score is None else f", best {state.best.score:.4f}"
    return best + (", overfitting" if state.log and state.log[-1]["overfitting"] else "")
