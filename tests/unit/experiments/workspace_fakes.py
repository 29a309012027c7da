"""A lab whose networks are untrained and whose outputs are made up from the truth: figures need no training."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crnet.data.dataset import stack_scores
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.workspace import Lab, Outputs
from crnet.models.crnet import StreamNet
from crnet.types import SPLITS, STREAMS, TARGETS, Split, Stream

FEATURES = 8


@dataclass(frozen=True, eq=False)
class FakeLab(Lab):
    """Scores are the truth plus `off` of the spec; features the truth with noise.

    Attributes:
        failed: Streams whose training is said to have failed.
    """

    failed: tuple[str, ...] = ()

    def off(self, spec: NetSpec) -> float:
        """How far every score is off: 0.1 with Bell, 0.2 without."""
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
        towards = np.where(truth < 0.5, 1, -1)  # the middle, so that no score is clipped
        return Outputs(features.astype(np.float32), (truth + towards * self.off(spec)).astype(np.float32))


def fake_lab(lab: Lab, streams: tuple[Stream, ...] = STREAMS, failed: tuple[str, ...] = ()) -> FakeLab:
    """The same lab with two seeds, and with networks that need no training."""
    return FakeLab(lab.store, lab.out, replace(lab.base, streams=streams), seeds=(0, 1), failed=failed)


def log_rows(val: list[float], train: list[float], warnings: dict[int, str] | None = None) -> list[dict[str, Any]]:
    """A log of one epoch of classification and some of the second stage with these 1 - MAE."""
    best = int(np.argmax(val))

    def figures(accuracy: float) -> dict[str, Any]:
        by_target = dict.fromkeys((*TARGETS, "average"), accuracy)
        spread = dict.fromkeys((*TARGETS, "average"), accuracy - 0.2)
        losses = {"total": 20.0, "l1": 9.0, "mse": 100.0, "bell": 80.0, "guide": 8.0}
        return {**losses, "class_accuracy": 0.4, "outside_bell": 0.0, "accuracy": by_target, "spread": spread}

    first = {"stage": 1, "epoch": 1, "epochs": 1, "lr": 0.002, "lambda": 1.0, "best": False, "overfitting": None}
    rows = [first | {"train": figures(0.7), "val": figures(0.7)}]
    for place, (of_val, of_train) in enumerate(zip(val, train, strict=True)):
        epoch = place + 1
        row = {"stage": 2, "epoch": epoch, "epochs": len(val), "lr": 0.002, "lambda": 4.0 * len(val) / epoch}
        row |= {"train": figures(of_train), "val": figures(of_val)}
        rows.append(row | {"best": place == best, "overfitting": (warnings or {}).get(epoch)})
    return rows


def write_log(folder: Path, rows: list[dict[str, Any]]) -> None:
    """As training leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
