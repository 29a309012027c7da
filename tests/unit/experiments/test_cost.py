"""The cost of a plan: operations by hand and against PyTorch's own count, and the time left."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_workspace import TINY
from torch.utils.flop_counter import FlopCounterMode

from crnet.config import PRESETS
from crnet.data.manifest import ClipRow, Manifest
from crnet.data.splits import OFFICIAL, split_validation
from crnet.data.transforms import TransformConfig
from crnet.experiments.config_overrides import with_plain_head
from crnet.experiments.cost import (
    ASSUMED_GPU,
    clip_flop,
    measure_flop_per_s,
    network_flop,
    plan_cost,
    random_batch,
)
from crnet.experiments.net_spec import NetSpec, mark_trained
from crnet.experiments.paper.tables import TABLES, table_4
from crnet.experiments.plan import PlannedNet, plan
from crnet.experiments.registry import EXPERIMENTS
from crnet.experiments.workspace import Experiment, Workspace
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.types import Stream

SMALL = ModelConfig(width=8, blocks=(1, 2, 1, 1), frames=4)
FRAMES = TransformConfig(frames=4, pixels=33, audio_samples=3001)


@pytest.mark.parametrize(
    ("stream", "fields"),
    [
        ("scene", {}),
        ("face", {"head": "plain"}),
        ("face", {"head": "expectation", "classes": 7}),
        ("scene", {"backbone": "r3d34"}),
        ("audio-text", {}),
        ("audio-text", {"audio_text": "audio"}),
        ("audio-text", {"audio_text": "text", "classes": 10}),
        ("audio-text", {"text_path": "vector"}),
        ("audio-text", {"text_path": "vector", "audio_text": "text"}),
    ],
)
def test_the_operations_of_a_clip_agree_with_those_that_pytorch_counts(stream: Stream, fields: dict[str, Any]) -> None:
    model = replace(SMALL, **fields)
    clips = 2
    net = StreamNet(stream, model).train()
    batch = random_batch(stream, FRAMES, clips, torch.device("cpu"))
    with FlopCounterMode(display=False) as counter:
        output = net(batch)
        forward = counter.get_total_flops()
        (output.scores.sum() + output.logits.sum()).backward()
    flop = clip_flop(stream, model, FRAMES)
    # Left out: the weighted sum of the CR-block, and the layer that widens the predictions of the text regression.
    rest = 2 * 6 * (model.classes + 1) * 8 * model.width
    assert 0 <= forward / clips - flop.forward <= rest
    assert 0 <= counter.get_total_flops() / clips - flop.training <= 3 * rest


def test_the_operations_of_a_plain_network_by_hand() -> None:
    """One frame of 32 pixels, one block a stage, width 8.

    Products of the 7x7 stem: 16^2 positions x 49 x 3 x 8. After pooling 8^2 positions: 2 convolutions x 9 x 8 x 8.
    Each later stage halves the side and doubles the channels: 9 x (c/2 + c) x c, and c/2 x c for the shortcut.
    """
    stem = 16**2 * 49 * 3 * 8
    others = 8**2 * 2 * 9 * 8 * 8
    others += sum(side**2 * (9 * (c // 2 + c) * c + c // 2 * c) for side, c in ((4, 16), (2, 32), (1, 64)))
    head = 64 * 6
    model = ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=1, head="plain")
    flop = clip_flop("scene", model, TransformConfig(frames=1, pixels=32))
    assert flop.forward == 2 * (stem + others + head)
    assert flop.training == 2 * (2 * stem + 3 * others + 3 * head)


def test_the_paper_s_networks_have_the_documented_operations() -> None:
    """torchvision documents 3.66 G products for ResNet-34 at 224 pixels; 112 pixels have a quarter of the positions.

    The last stage has 4^2 instead of 3.5^2 positions, and at 224 pixels the classifier has 0.5 M products.
    """
    paper = PRESETS["paper"]
    flop = clip_flop("scene", paper.model, paper.transforms)
    assert flop.forward / (2 * 32) == pytest.approx(3.66e9 / 4, rel=0.06)


class FirstImpressions(Workspace):
    """A workspace on a manifest with as many clips as First Impressions v2."""

    @cached_property
    def manifest(self) -> Manifest:
        rows = [
            ClipRow(f"{split}{i // 3}.{i % 3:03d}", "x.st", split, (0.5,) * 6)
            for split, count in (("train", 6000), ("val", 2000), ("test", 2000))
            for i in range(count)
        ]
        return Manifest(tuple(rows), "folder", {}, "f", "e")


@pytest.mark.parametrize(
    ("experiments", "networks", "exaflop", "hours"),
    [(tuple(EXPERIMENTS.values()), 144, 10.0, 28), (TABLES, 111, 8.4, 23)],
)
def test_on_first_impressions_at_the_paper_s_size(
    experiments: tuple[Experiment, ...], networks: int, exaflop: float, hours: int, tmp_path: Path
) -> None:
    """The numbers of docs/reproduce.md. The longest clip has 244,832 samples."""
    base = PRESETS["paper"]
    base = replace(base, transforms=replace(base.transforms, audio_samples=244_832))
    workspace = FirstImpressions(tmp_path, tmp_path, base, (0, 1, 2))
    selecting = len(split_validation(workspace.rows("val"))[0])
    flop = [network_flop(net, workspace, selecting)[0] for net in plan(workspace, experiments)]
    assert (len(flop), round(sum(flop) / 1e18, 1), round(sum(flop) / 100e12 / 3600)) == (networks, exaflop, hours)


def planned(workspace: Workspace, spec: NetSpec) -> PlannedNet:
    return PlannedNet(spec, 0, workspace.folder(spec, 0), OFFICIAL, ("table4",))


def test_a_network_costs_its_epochs_its_validations_and_its_outputs(workspace: Workspace) -> None:
    spec = NetSpec("face", with_plain_head("l1", "mse")(TINY))  # stage 2 alone, one epoch
    clip = clip_flop("face", spec.config.model, spec.config.transforms)
    train, val, test = (len(workspace.rows(split)) for split in ("train", "val", "test"))
    selecting = len(split_validation(workspace.rows("val"))[0])
    epoch, outputs = train * clip.training + selecting * clip.forward, (train + val + test) * clip.forward
    net = planned(workspace, spec)
    assert network_flop(net, workspace, selecting) == (epoch + outputs, epoch + outputs)
    both_stages = planned(workspace, NetSpec("face", TINY))
    cr_block = clip_flop("face", TINY.model, TINY.transforms)
    assert (
        network_flop(both_stages, workspace, selecting)[0]
        == 2 * (train * cr_block.training + selecting * cr_block.forward) + (train + val + test) * cr_block.forward
    )
    on_five = planned(workspace, NetSpec("face", with_plain_head("l1", "mse")(TINY), train_clips=5))
    assert network_flop(on_five, workspace, selecting)[0] == (
        5 * clip.training + selecting * clip.forward + (5 + val + test) * clip.forward
    )


def test_precise_batchnorm_costs_forward_passes(workspace: Workspace) -> None:
    plain = with_plain_head("l1", "mse")(TINY)
    precise = replace(plain, training=replace(plain.training, precise_batchnorm_batches=1))
    costs = [network_flop(planned(workspace, NetSpec("face", config)), workspace, 0)[0] for config in (plain, precise)]
    clip = clip_flop("face", plain.model, plain.transforms)
    assert costs[1] - costs[0] == plain.training.stages[1].batch_size * clip.forward


def test_finished_epochs_and_networks_cost_nothing_more(workspace: Workspace) -> None:
    net = planned(workspace, NetSpec("face", TINY))
    total, _ = network_flop(net, workspace, 4)
    outputs = len(workspace.manifest.clips) * clip_flop("face", TINY.model, TINY.transforms).forward
    net.folder.mkdir(parents=True)
    (net.folder / "log.jsonl").write_text("{}\n")  # one of two epochs
    assert network_flop(net, workspace, 4) == (total, (total - outputs) // 2 + outputs)
    (net.folder / "best.safetensors").touch()
    mark_trained(net.folder, "face", 0)
    assert network_flop(net, workspace, 4) == (total, 0)
    assert plan_cost(workspace, [net], 1).devices == ()


@pytest.mark.parametrize(("at_once", "cores", "parallel"), [(1, 8, 1), (2, 8, 2), (100, 8, 8), (100, 64, 12)])
def test_the_time_is_that_of_a_step_on_this_machine_and_of_an_assumed_gpu(
    at_once: int, cores: int, parallel: int, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Table 4 has 12 networks, so at most 12 are trained at once."""
    workspace = replace(workspace, base=replace(TINY, training=replace(TINY.training, device="cpu")))
    speeds = {"r2d34": 1e9, "audio-text": 2e9}
    seen = []

    def speed(spec: NetSpec, device: torch.device, threads: int | None) -> float:
        seen.append((spec.stream == "audio-text", device.type, threads))
        return speeds["audio-text" if spec.stream == "audio-text" else spec.config.model.backbone]

    monkeypatch.setattr("crnet.experiments.cost.measure_flop_per_s", speed)
    monkeypatch.setattr("crnet.experiments.cost.available_cores", lambda: cores)
    networks = plan(workspace, (table_4,))
    cost = plan_cost(workspace, networks, at_once)
    sound = sum(f for f, net in zip(cost.flop, networks, strict=True) if net.spec.stream == "audio-text")
    here, gpu = cost.devices
    assert sorted(seen) == [(False, "cpu", 1), (True, "cpu", 1)]  # TINY has one thread
    assert here.hours == pytest.approx(((sum(cost.flop) - sound) / 1e9 + sound / 2e9) / parallel / 3600)
    assert here.measured and "CPU" in here.device
    assert (gpu.device, gpu.measured) == (ASSUMED_GPU, False)
    assert gpu.hours == pytest.approx(sum(cost.flop) / 100e12 / 3600)


@pytest.mark.parametrize(("stream", "backbone"), [("scene", "r2d34"), ("scene", "r3d34"), ("audio-text", "r2d34")])
def test_a_step_of_every_kind_of_network_can_be_timed(stream: Stream, backbone: Any, tmp_path: Path) -> None:
    config = replace(
        TINY,
        model=replace(TINY.model, backbone=backbone, init=tmp_path / "not read"),
        transforms=replace(TINY.transforms, audio_samples=4000),
    )
    assert measure_flop_per_s(NetSpec(stream, config), torch.device("cpu"), 1) > 0
