"""Training states and weights on disk."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from crnet.errors import FormatError
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.training.checkpoint import (
    Best,
    TrainState,
    load_net,
    load_state,
    read_about,
    read_state,
    restore_optimizer,
    save_state,
    save_weights,
)
from crnet.training.config import CLASSIFICATION, JOINT, StageConfig
from random_net import random_net
from tiny_training import TINY_MODEL

STATE = TrainState(2, 3, Best(2, 1, 0.9), [{"epoch": 1, "val": None}], finished=False)


def stepped(stage: StageConfig, seed: int = 0) -> tuple[StreamNet, torch.optim.Optimizer]:
    """Return a network and an optimizer after two steps."""
    net = random_net("scene", TINY_MODEL, seed)
    for parameter in net.regression_parameters():
        parameter.requires_grad_(stage.trains_regression)
    optimizer = stage.make_optimizer(net.parameters())
    for step in (1, 2):
        for index, parameter in enumerate(p for p in net.parameters() if p.requires_grad):
            parameter.grad = torch.full_like(parameter, 0.1 * step + 0.01 * index)
        optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("stage", [CLASSIFICATION, JOINT], ids=["sgd", "adam"])
def test_a_state_is_restored_bit_for_bit(tmp_path: Path, stage: StageConfig) -> None:
    path = tmp_path / "last.safetensors"
    net, optimizer = stepped(stage)
    save_state(path, STATE, net, optimizer)
    fresh = StreamNet("scene", TINY_MODEL, seed=9)
    for parameter in fresh.regression_parameters():
        parameter.requires_grad_(stage.trains_regression)
    state, tensors = load_state(path, fresh)
    restored = stage.make_optimizer(fresh.parameters())
    restore_optimizer(restored, tensors, path)
    assert state == STATE == read_state(path)
    for each in (net, fresh):  # after one more step they are equal only if everything was restored
        for parameter in (p for p in each.parameters() if p.requires_grad):
            parameter.grad = torch.full_like(parameter, 0.3)
    optimizer.step()
    restored.step()
    for (name, a), b in zip(net.state_dict().items(), fresh.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_equal_states_have_equal_bytes(tmp_path: Path) -> None:
    for name in "ab":
        save_state(tmp_path / name, STATE, *stepped(JOINT))
        save_weights(tmp_path / f"w{name}", stepped(JOINT)[0], {"stage": 2, "epoch": 1, "score": 0.5})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert (tmp_path / "wa").read_bytes() == (tmp_path / "wb").read_bytes()


def test_weights_are_restored(tmp_path: Path) -> None:
    net, _ = stepped(JOINT)
    save_weights(tmp_path / "best.safetensors", net, {"epoch": 4})
    loaded = load_net(tmp_path / "best.safetensors", "scene", TINY_MODEL)
    assert read_about(tmp_path / "best.safetensors") == {"epoch": 4} and not loaded.training
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, net.state_dict()[name])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("state") / "last.safetensors"
    save_state(path, STATE, *stepped(JOINT))
    return path.read_bytes()


@pytest.mark.parametrize("keep", [0, 7, 8, 50, 0.5, 0.999])
def test_a_truncated_state_is_refused(tmp_path: Path, whole: bytes, keep: float) -> None:
    path = tmp_path / "last.safetensors"
    path.write_bytes(whole[: int(keep * len(whole)) if isinstance(keep, float) else keep])
    with pytest.raises(FormatError, match="damaged") as caught:
        load_state(path, StreamNet("scene", TINY_MODEL))
    assert caught.value.path == path and caught.value.remedy


ZEROS = hashlib.sha256(b"x torch.float32 (3,);" + bytes(12)).hexdigest()  # three zeros named x


def header(**changes: object) -> dict[str, str]:
    about = {"stage": 1, "epoch": 1, "best": None, "log": [], "finished": False}
    return {"crnet": json.dumps({"kind": "training state", "format": 1, "about": about, "sha256": ZEROS, **changes})}


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({}, "not a training state"),
        ({"crnet": "{"}, "not a training state"),
        ({"crnet": "[]"}, "not a training state"),
        (header(kind="weights"), "holds a weights, not a training state"),
        (header(format=2), "of format 2, but this version of crnet reads format 1"),
        (header(about={"stage": 1}), "lacks 'epoch'"),
        (header(sha256="0" * 64), "do not match their hash"),
        (header(), "holds another network"),
    ],
    ids=["foreign", "no JSON", "wrong JSON", "weights", "newer", "incomplete", "other tensors", "no tensors"],
)
def test_foreign_states_are_refused(tmp_path: Path, metadata: dict[str, str], reason: str) -> None:
    path = tmp_path / "last.safetensors"
    save_file({"x": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(FormatError, match=reason) as caught:
        load_state(path, StreamNet("scene", TINY_MODEL))
    assert caught.value.path == path


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    torch.save({"x": torch.zeros(3)}, path)
    with pytest.raises(FormatError, match="not a training state"):
        read_state(path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no weights"):
        load_net(tmp_path / "best.safetensors", "scene", TINY_MODEL)


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, stepped(JOINT)[0], {})
    with pytest.raises(FormatError, match=r"backbone\.bn1\.bias is \[8\], expected \[16\]"):
        load_net(path, "scene", ModelConfig(width=16, blocks=(1, 1, 1, 1)))


@pytest.mark.parametrize("name", ["999.exp_avg", "x.exp_avg", "0.exp_avg"])
def test_another_optimizer_state_is_refused(tmp_path: Path, name: str) -> None:
    _, optimizer = stepped(JOINT)
    with pytest.raises(FormatError, match="belongs to another network"):
        restore_optimizer(optimizer, {name: torch.zeros(3)}, tmp_path)


def test_weights_of_another_stream_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, StreamNet("face", TINY_MODEL), {"stream": "face"})
    with pytest.raises(FormatError, match="stream face, not scene"):
        load_net(path, "scene", TINY_MODEL)


def test_one_changed_digit_in_the_progress_is_detected(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "last.safetensors"
    epoch = rb"\"epoch\": 3"
    assert epoch in whole
    path.write_bytes(whole.replace(epoch, rb"\"epoch\": 4"))
    with pytest.raises(FormatError, match="header does not match its hash") as caught:
        read_state(path)
    assert caught.value.path == path and caught.value.remedy


def test_one_flipped_bit_in_the_weights_is_detected(tmp_path: Path) -> None:
    path = tmp_path / "best.safetensors"
    save_weights(path, StreamNet("face", TINY_MODEL), {"stream": "face"})
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(FormatError, match="do not match their hash"):
        load_net(path, "face", TINY_MODEL)
