"""The training loop: one stage of one stream, epoch by epoch. Read it downwards."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from crnet.data.dataset import Batches, ClipDataset, load_batches
from crnet.errors import ConfigError
from crnet.models.crnet import StreamNet, StreamOutput
from crnet.models.losses import LossTerms, joint_loss, share_outside_bell
from crnet.training.checkpoint import Best, Standing, restore_optimizer, save_state, save_weights
from crnet.training.config import StageConfig, TrainingConfig
from crnet.training.distributed import World
from crnet.training.log import Pass, Row, Writer, figures, overfitting
from crnet.types import Batch
from crnet.utils.progress import Progress

logger = logging.getLogger(__name__)

STATE_NAME = "last.safetensors"
BEST_NAME = "best.safetensors"


@dataclass
class Run:
    """A stream in training, as one of its processes sees it.

    Attributes:
        folder: Where its files go.
        net: The network.
        train: The training split.
        val: The validation split, None without one.
        config: How to train.
        world: The training processes.
        standing: How far training is; saved with every epoch.
        optimizer_state: What a resumed run's optimizer remembers; empty for a fresh one.
        write_log: Takes the rows of `log.jsonl`.
        progress: Told after every step.
    """

    folder: Path
    net: StreamNet
    train: ClipDataset
    val: ClipDataset | None
    config: TrainingConfig
    world: World
    standing: Standing
    optimizer_state: dict[str, Tensor]
    write_log: Writer
    progress: Progress

    def batches(self, split: ClipDataset, stage: StageConfig) -> Batches:
        """This process's batches of a split."""
        world = self.world
        return load_batches(split, stage.batch_size, workers=self.config.workers, rank=world.rank, ranks=world.size)

    def autocast(self) -> AbstractContextManager[None]:
        """The precision of the forward pass."""
        device, wanted = self.world.device.type, self.config.precision
        automatic = wanted == "auto" and device == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(device, torch.bfloat16, enabled=automatic or wanted == "bfloat16")


def fit(run: Run, number: int) -> None:
    """Train stage `number` (from 1) from where `run.standing` is to its end.

    Raises:
        ConfigError: The loss is no longer a number.
        CrnetError: A clip cannot be read, or a file cannot be written.
    """
    stage = run.config.stages[number - 1]
    if run.standing.stage != number:
        run.standing.stage, run.standing.epoch, run.optimizer_state = number, 0, {}
    for parameter in run.net.regression_parameters():
        parameter.requires_grad_(stage.regresses)  # Fig. 7: classification alone leaves G as it is
    optimizer = stage.make_optimizer(run.net.parameters())
    restore_optimizer(optimizer, run.optimizer_state, run.folder / STATE_NAME)
    parallel = run.world.parallel(run.net)
    train = run.batches(run.train, stage)
    val = None if run.val is None else run.batches(run.val, stage)
    epochs_before = sum(earlier.epochs for earlier in run.config.stages[: number - 1])

    for epoch in range(run.standing.epoch, stage.epochs):
        started_s = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = stage.lr_at(epoch)
        run.train.set_epoch(epochs_before + epoch)
        clock = Clock()
        trained = train_epoch(run, parallel, train, stage, epoch, optimizer, clock)
        trained_s = time.perf_counter() - started_s
        run.world.share_buffers(run.net)
        validated = None if val is None else validate(run, val, stage, epoch)
        require_finite(run, epoch, trained, validated)
        row: Row = {
            "stage": number,
            "epoch": epoch + 1,
            "epochs": stage.epochs,
            "lr": stage.lr_at(epoch),
            "lambda": stage.guide_weight_at(epoch),
            "train": figures(trained),
            "val": None if validated is None else figures(validated),
            "samples_per_s": len(trained.scores) / trained_s,
            "waiting_share": clock.waited_s / trained_s,
            "seconds": time.perf_counter() - started_s,
        }
        finish_epoch(run, stage, row, optimizer)


def train_epoch(
    run: Run,
    parallel: nn.Module,
    batches: Batches,
    stage: StageConfig,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    clock: Clock,
) -> Pass:
    """One pass over the training split that changes the network."""
    run.net.train()
    if run.config.freeze_batchnorm:
        for module in run.net.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
    record = Record()
    steps = len(batches)
    for step, given in enumerate(clock.waiting_for(batches), start=1):
        batch = given.to(run.world.device)
        optimizer.zero_grad(set_to_none=True)
        with run.autocast():
            output: StreamOutput = parallel(batch)
        terms = losses(output, batch, stage, epoch)
        loss = stage.loss(terms)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        record.add(output, batch, terms, loss)
        if run.world.first:
            note = f"epoch {epoch + 1}/{stage.epochs}{_note(run.standing)}"
            task = f"{run.net.stream}: stage {run.standing.stage}"
            run.progress(task, epoch * steps + step, stage.epochs * steps, note)
    return record.summary(run.world)


@torch.no_grad()
def validate(run: Run, batches: Batches, stage: StageConfig, epoch: int) -> Pass:
    """One pass over a split with middle frames; every clip counts once, however many processes share them."""
    run.net.eval()
    device, to_all = run.world.device, run.world.gather
    # A process may have no clip of a small split; then these are all it has.
    scores, truth = [torch.zeros(0, 6, device=device)], [torch.zeros(0, 6, device=device)]
    logits = [torch.zeros(0, 6, run.net.config.classes, device=device)]
    classes = [torch.zeros(0, 6, dtype=torch.int64, device=device)]
    for given in batches:
        batch = given.to(device)
        with run.autocast():
            output = run.net(batch)
        scores.append(output.scores)
        logits.append(output.logits)
        for kept, label in zip((truth, classes), labels(batch), strict=True):
            kept.append(label)
    all_scores, all_truth = to_all(torch.cat(scores)).cpu(), to_all(torch.cat(truth)).cpu()
    all_logits, all_classes = to_all(torch.cat(logits)).cpu(), to_all(torch.cat(classes)).cpu()
    terms = joint_loss(all_scores, all_logits, all_truth, all_classes, stage.guide_weight_at(epoch))
    values = (stage.loss(terms), terms.l1, terms.mse, terms.bell, terms.guide)
    return Pass(
        {name: value.item() for name, value in zip(TERM_NAMES, values, strict=True)},
        all_scores.numpy(),
        all_truth.numpy(),
        (all_logits.argmax(-1) == all_classes).double().mean().item(),
        share_outside_bell(all_scores, all_truth),
    )


def require_finite(run: Run, epoch: int, *passes: Pass | None) -> None:
    """Stop a training that has diverged, before its state replaces a sound one."""
    if all(math.isfinite(value) for seen in passes if seen is not None for value in seen.terms.values()):
        return
    raise ConfigError(
        f"the loss of the {run.net.stream} stream is no longer a number: stage {run.standing.stage}, epoch {epoch + 1}",
        path=run.folder,
        remedy="lower the learning rate or train in float32, in a new run folder",
    )


def finish_epoch(run: Run, stage: StageConfig, row: Row, optimizer: torch.optim.Optimizer) -> None:
    """Judge the epoch and write it down: first the best weights, then the log, then the state.

    A kill between any two of these is harmless: training goes on from the last state, which also holds the rows of
    the log up to it, and comes to the same weights and the same row again.
    """
    standing, first = run.standing, run.world.first
    final = max(number for number, each in enumerate(run.config.stages, start=1) if each.epochs)
    score = selection_score(row, stage)
    # A network is chosen in the final stage only: before it, G has learned nothing.
    row["best"] = standing.stage == final and (
        score is None or standing.best is None or standing.best.score is None or score > standing.best.score
    )
    row["overfitting"] = overfitting([*(r for r in standing.log if r["stage"] == standing.stage), row])
    if row["overfitting"] and first and not (standing.log and standing.log[-1]["overfitting"]):
        logger.warning("%s, stage %d, epoch %d: %s", run.net.stream, row["stage"], row["epoch"], row["overfitting"])
    standing.epoch = row["epoch"]
    standing.log.append(row)
    standing.finished = standing.stage == final and standing.epoch == stage.epochs
    if row["best"]:
        standing.best = Best(standing.stage, standing.epoch, score)
        if first:
            about = {"stream": run.net.stream, "stage": standing.stage, "epoch": standing.epoch, "score": score}
            save_weights(run.folder / BEST_NAME, run.net, about)
    if first:
        run.write_log(row)
        save_state(run.folder / STATE_NAME, standing, run.net, optimizer)
    run.world.barrier()


def selection_score(row: Row, stage: StageConfig) -> float | None:
    """What the best network is chosen by, higher is better: 1 - MAE on validation, averaged over the five traits.

    A run of classification alone goes by its negative cross-entropy. None without a validation split: then every
    epoch counts as better than the one before, and the last is kept.
    """
    if row["val"] is None:
        return None
    value: float = row["val"]["accuracy"]["average"] if stage.regresses else -row["val"]["guide"]
    return value


def losses(output: StreamOutput, batch: Batch, stage: StageConfig, epoch: int) -> LossTerms:
    """Every loss of a batch, in float32."""
    return joint_loss(output.scores, output.logits, *labels(batch), stage.guide_weight_at(epoch))


def labels(batch: Batch) -> tuple[Tensor, Tensor]:
    """Scores and classes of a batch that has them."""
    if batch.scores is None or batch.classes is None:
        raise ConfigError("a batch without scores cannot be trained on or validated with")
    return batch.scores, batch.classes


class Record:
    """What the steps of an epoch leave behind; stays on the device, so that no step waits for it."""

    def __init__(self) -> None:
        self.terms: list[Tensor] = []
        self.rows: list[Tensor] = []

    def add(self, output: StreamOutput, batch: Batch, terms: LossTerms, loss: Tensor) -> None:
        """Keep one step's losses, scores, truth and right classes."""
        truth, classes = labels(batch)
        self.terms.append(torch.stack([loss, terms.l1, terms.mse, terms.bell, terms.guide]).detach())
        right = (output.logits.argmax(-1) == classes).to(truth.dtype)
        self.rows.append(torch.stack([output.scores.detach().to(truth.dtype), truth, right], dim=1))

    def summary(self, world: World) -> Pass:
        """The epoch over all processes: every step has equally many clips, so means of means are means."""
        means = world.mean(torch.stack(self.terms).mean(0)).tolist()
        scores, truth, right = world.gather(torch.cat(self.rows)).cpu().unbind(1)  # [N, 3, 6] -> 3 x [N, 6]
        return Pass(
            dict(zip(TERM_NAMES, means, strict=True)),
            scores.numpy(),
            truth.numpy(),
            right.double().mean().item(),
            share_outside_bell(scores, truth),
        )


TERM_NAMES = ("total", "l1", "mse", "bell", "guide")


class Clock:
    """Measures how long a loop waits for its data."""

    def __init__(self) -> None:
        self.waited_s = 0.0

    def waiting_for(self, batches: Batches) -> Iterator[Batch]:
        """Yield the batches."""
        source = iter(batches)
        while True:
            asked_s = time.perf_counter()
            batch = next(source, None)
            self.waited_s += time.perf_counter() - asked_s
            if batch is None:
                return
            yield batch


def _note(standing: Standing) -> str:
    """What a watcher wants to know beside the epoch."""
    best = "" if standing.best is None or standing.best.score is None else f", best {standing.best.score:.4f}"
    return best + (", overfitting" if standing.log and standing.log[-1]["overfitting"] else "")
