"""A workspace with untrained networks and outputs derived from the truth, so that figures need no training."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crnet.data.dataset import stack_scores
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.workspace import Outputs, Workspace
from crnet.models.crnet import StreamNet
from crnet.types import SPLITS, STREAMS, TARGETS, Split, Stream

FEATURES = 8


@dataclass(frozen=True, eq=False)
class FakeWorkspace(Workspace):
    """Scores are off from the truth by `error` of the spec; features are the truth with noise.

    Attributes:
        failed: Streams whose training counts as failed.
    """

    failed: tuple[str, ...] = ()

    def error(self, spec: NetSpec) -> float:
        """Return the error of every score: 0.1 with Bell, 0.2 without."""
        return 0.1 if "bell" in spec.config.training.stages[1].terms else 0.2

    def folder(self, spec: NetSpec, seed: int) -> Path:
        return self.out / f"{seed}" / spec.stream

    def net(self, spec: NetSpec, seed: int) -> StreamNet:
        if spec.stream in self.failed:
            raise UntrainedError("diverged")
        return StreamNet(spec.stream, spec.config.model, seed).eval()

    def outputs(self, spec: NetSpec, seed: int, split: Split) -> Outputs:
        self.net(spec, seed)
        rows = spec.training_rows(self.manifest) if split == "train" else self.rows(split)
        truth = stack_scores(rows)
        rng = np.random.default_rng([seed, STREAMS.index(spec.stream), SPLITS.index(split)])
        features = truth[:, :, None] + 0.05 * rng.normal(size=(*truth.shape, FEATURES))
        sign = np.where(truth < 0.5, 1, -1)  # towards the middle, so that no score is clipped
        return Outputs(features.astype(np.float32), (truth + sign * self.error(spec)).astype(np.float32))


def fake_workspace(
    workspace: Workspace, streams: tuple[Stream, ...] = STREAMS, failed: tuple[str, ...] = ()
) -> FakeWorkspace:
    """Return the same workspace with two seeds and networks that need no training."""
    return FakeWorkspace(
        workspace.store, workspace.out, replace(workspace.base, streams=streams), seeds=(0, 1), failed=failed
    )


def log_rows(val: list[float], train: list[float], warnings: dict[int, str] | None = None) -> list[dict[str, Any]]:
    """Return a log of one epoch of stage 1, and of stage 2 with these values of 1 - MAE."""
    best = int(np.argmax(val))

    def metrics(accuracy: float) -> dict[str, Any]:
        by_target = dict.fromkeys((*TARGETS, "average"), accuracy)
        spread = dict.fromkeys((*TARGETS, "average"), accuracy - 0.2)
        losses = {"total": 20.0, "l1": 9.0, "mse": 100.0, "bell": 80.0, "classification": 8.0}
        return {**losses, "class_accuracy": 0.4, "outside_bell": 0.0, "accuracy": by_target, "spread": spread}

    first = {"stage": 1, "epoch": 1, "epochs": 1, "lr": 0.002, "lambda": 1.0, "best": False, "overfitting": None}
    rows = [first | {"train": metrics(0.7), "val": metrics(0.7)}]
    for place, (val_accuracy, train_accuracy) in enumerate(zip(val, train, strict=True)):
        epoch = place + 1
        row = {"stage": 2, "epoch": epoch, "epochs": len(val), "lr": 0.002, "lambda": 4.0 * len(val) / epoch}
        row |= {"train": metrics(train_accuracy), "val": metrics(val_accuracy)}
        rows.append(row | {"best": place == best, "overfitting": (warnings or {}).get(epoch)})
    return rows


def write_log(folder: Path, rows: list[dict[str, Any]]) -> None:
    """Write a log as training does."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
