"""Recomputed statistics of batch norm, alone and within a training."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from crnet.data.dataset import ClipDataset, load_batches
from crnet.data.manifest import read_manifest
from crnet.errors import ConfigError
from crnet.models.crnet import StreamNet
from crnet.training import loop
from crnet.training.checkpoint import load_net, read_state
from crnet.training.config import TrainingConfig
from crnet.training.distributed import DistributedContext
from crnet.training.precise_batchnorm import recompute_batchnorm
from crnet.types import Batch
from synthetic import write_store
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, tiny_training, train_tiny

ALONE = DistributedContext(0, 1, torch.device("cpu"))


class OneNorm(nn.Module):
    """A batch norm of one channel over the samples of all clips."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, batch: Batch) -> Tensor:
        assert batch.audio is not None
        output: Tensor = self.norm(batch.audio.unsqueeze(1))
        return output

    @property
    def statistics(self) -> tuple[float, float]:
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        return self.norm.running_mean.item(), self.norm.running_var.item()


def sound(*samples: float) -> Batch:
    """Return one clip with these samples."""
    return Batch(("a",), audio=torch.tensor([samples]), text=torch.zeros(1, 4800))


BATCHES = [sound(1.0, 3.0), sound(4.0, 8.0, 6.0)]
"""Means 2 and 6; unbiased variances (1 + 1) / 1 = 2 and (4 + 4 + 0) / 2 = 4."""


def test_the_statistics_are_the_means_over_the_batches() -> None:
    net = OneNorm()
    net(sound(100.0, 300.0))  # earlier statistics do not count
    recompute_batchnorm(net.eval(), BATCHES, ALONE, nullcontext())
    assert net.statistics == ((2 + 6) / 2, (2 + 4) / 2)
    assert net.norm.momentum == 0.1  # training goes on as before
    assert net.training


def test_processes_take_the_mean_over_all_of_them() -> None:
    class OneOfTwo(DistributedContext):
        """The other process has a mean of 10 and a variance of 7 in both of its batches."""

        others = iter((10.0, 7.0))

        def mean(self, values: Tensor) -> Tensor:
            return (values + next(self.others)) / 2

    net = OneNorm()
    recompute_batchnorm(net, BATCHES, OneOfTwo(0, 2, torch.device("cpu")), nullcontext())
    assert net.statistics == ((4 + 10) / 2, (3 + 7) / 2)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve training clips, hence two batches of six an epoch."""
    return write_store(tmp_path_factory.mktemp("store"), clips=20, pixels=24, duration_s=0.25)


def statistics(net: StreamNet) -> dict[str, Tensor]:
    return {name: value for name, value in net.state_dict().items() if "running" in name}


@pytest.mark.parametrize("batches", [1, 2, 9])
def test_a_saved_network_has_the_statistics_of_its_own_weights(store: Path, tmp_path: Path, batches: int) -> None:
    train_tiny(store, tmp_path, precise_batchnorm_batches=batches)
    path = tmp_path / "scene" / "best.safetensors"
    net, saved = (load_net(path, "scene", TINY_MODEL) for _ in range(2))
    best = read_state(tmp_path / "scene" / "last.safetensors").best
    assert best is not None
    clips = ClipDataset(store, read_manifest(store).rows("train"), TINY_TRANSFORMS, ["scene"], training=True)
    clips.set_epoch(2 + best.epoch - 1)  # two epochs of stage 1 come before
    recompute_batchnorm(net, islice(load_batches(clips, 6), batches), ALONE, nullcontext())
    assert statistics(net).keys() == statistics(saved).keys() != set()
    for name, value in statistics(saved).items():
        torch.testing.assert_close(value, statistics(net)[name], rtol=1e-5, atol=1e-6, msg=name)


def test_the_statistics_do_not_lag_behind_fast_weights(store: Path, tmp_path: Path) -> None:
    """After six steps of Adam at .02, running statistics are those of earlier weights.

    Every layer is off by a factor, and the factors multiply: with three blocks a stage, the scores are off by thousands
    of points.
    """

    def first_epoch(name: str, batches: int | None) -> dict[str, Any]:
        skipped, joint = tiny_training(epochs=(0, 1), batch_size=2).stages
        changes = {"stages": (skipped, replace(joint, lr=0.02)), "model": replace(TINY_MODEL, blocks=(3, 3, 3, 3))}
        train_tiny(store, tmp_path / name, precise_batchnorm_batches=batches, **changes)
        return read_state(tmp_path / name / "scene" / "last.safetensors").log[0]

    running, precise = first_epoch("running", None), first_epoch("precise", 6)
    assert precise["train"] == running["train"]  # training does not use the statistics
    assert precise["val"]["l1"] < running["val"]["l1"] / 10


def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_tiny(store, tmp_path / "whole", precise_batchnorm_batches=1)
    calls = 0

    def stop_in_the_fourth_epoch(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        recompute_batchnorm(*arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(loop, "recompute_batchnorm", stop_in_the_fourth_epoch)
        train_tiny(store, tmp_path / "resumed", precise_batchnorm_batches=1)
    train_tiny(store, tmp_path / "resumed", precise_batchnorm_batches=1)
    for name in ("last.safetensors", "best.safetensors"):
        whole, resumed = (load_file(tmp_path / run / "scene" / name) for run in ("whole", "resumed"))
        assert whole.keys() == resumed.keys()
        assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_the_number_of_batches_must_be_positive_and_batch_norm_not_frozen() -> None:
    with pytest.raises(ConfigError, match="1 or more"):
        TrainingConfig(precise_batchnorm_batches=0)
    with pytest.raises(ConfigError, match="frozen"):
        TrainingConfig(precise_batchnorm_batches=1, freeze_batchnorm=True)
