"""The network of a stream: shapes, order of clips and frames, refused inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from crnet.errors import ConfigError, FormatError
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.types import STREAMS, Batch, Stream
from random_net import random_net

TINY = ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=4)


def batch(clips: int = 3, frames: int = 4, pixels: int = 32, samples: int = 3_000, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    pictures = [torch.from_numpy(rng.integers(0, 256, (clips, frames, 3, pixels, pixels), np.uint8)) for _ in range(2)]
    return Batch(
        clip_ids=tuple(f"clip{i}" for i in range(clips)),
        scene=pictures[0],
        face=pictures[1],
        audio=torch.from_numpy(rng.uniform(-0.5, 0.5, (clips, samples)).astype(np.float32)),
        text=torch.from_numpy(rng.normal(0, 0.014, (clips, 4800)).astype(np.float32)),
    )


def select(source: Batch, clips: list[int]) -> Batch:
    assert source.scene is not None and source.face is not None and source.audio is not None and source.text is not None
    return Batch(
        tuple(source.clip_ids[i] for i in clips),
        scene=source.scene[clips],
        face=source.face[clips],
        audio=source.audio[clips],
        text=source.text[clips],
    )


def net(stream: Stream = "scene", config: ModelConfig = TINY, seed: int = 0) -> StreamNet:
    """Return a network in evaluation mode whose batch norms have statistics, so that its features are not tiny."""
    network = random_net(stream, config, seed)
    with torch.no_grad():
        network(batch(seed=99))
    return network.eval()


@pytest.mark.parametrize(
    ("stream", "config", "shape"),
    [
        # 32 / 2 / 2 = 8, 4, 2, 1
        ("scene", TINY, (3, 4, 64, 1, 1)),
        ("face", TINY, (3, 4, 64, 1, 1)),
        ("scene", replace(TINY, temporal="conv1x1"), (3, 4, 64, 1, 1)),
        # time: 4, 2 (pool), 1, 1, 1
        ("scene", replace(TINY, backbone="r3d34"), (3, 1, 64, 1, 1)),
        # 7,800 / 4 / 4 = 488; 122, 31, 8
        ("audio-text", TINY, (3, 64, 8)),
        ("audio-text", replace(TINY, audio_text="audio"), (3, 64, 3)),  # 3,000: 750, 188; 47, 12, 3
        ("audio-text", replace(TINY, audio_text="text"), (3, 64, 5)),  # 4,800: 1,200, 300; 75, 19, 5
    ],
)
def test_shapes(stream: Stream, config: ModelConfig, shape: tuple[int, ...]) -> None:
    network = net(stream, config)
    with torch.inference_mode():
        feature_map = network.feature_map(batch())
        output = network(batch())
    assert tuple(feature_map.shape) == shape
    assert tuple(network.clip_vector(feature_map).shape) == (3, 64)
    assert [tuple(t.shape) for t in (output.features, output.logits, output.scores)] == [(3, 6, 64), (3, 6, 4), (3, 6)]
    assert output.scores.std() > 0


@pytest.mark.parametrize("stream", STREAMS)
@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(3)))
def test_permuting_the_clips_permutes_the_outputs(stream: Stream, order: list[int]) -> None:
    network, clips = net(stream), batch()
    with torch.inference_mode():
        original, permuted = network(clips), network(select(clips, order))
    for name in ("features", "logits", "scores"):
        torch.testing.assert_close(getattr(permuted, name), getattr(original, name)[order], rtol=1e-4, atol=1e-5)


@settings(max_examples=5, deadline=None)
@given(order=st.permutations(range(4)).filter(lambda order: order != [0, 1, 2, 3]))
def test_only_the_mean_over_frames_ignores_their_order(order: list[int]) -> None:
    clips = batch()
    assert clips.scene is not None
    shuffled = replace(clips, scene=clips.scene[:, order])
    mean, weighted, volumetric = (
        net(),
        net(config=replace(TINY, temporal="conv1x1")),
        net(config=replace(TINY, backbone="r3d34")),
    )
    with torch.inference_mode():
        torch.testing.assert_close(mean(clips).scores, mean(shuffled).scores, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(weighted(clips).scores, mean(clips).scores, rtol=1e-4, atol=1e-5)  # starts as a mean
        weighted.frame_weights.copy_(torch.tensor([0.1, 0.2, 0.3, 0.5]))
        for network in (weighted, volumetric):
            assert not torch.allclose(network(clips).scores, network(shuffled).scores, rtol=1e-4, atol=1e-5)


def test_learned_frame_weights_by_hand() -> None:
    network = net(config=replace(TINY, temporal="conv1x1"))
    feature_map = torch.rand(2, 4, 64, 3, 3)
    with torch.no_grad():
        network.frame_weights.copy_(torch.tensor([0.0, 2.0, 0.0, -1.0]))
    expected = 2 * feature_map[:, 1].mean((2, 3)) - feature_map[:, 3].mean((2, 3))
    torch.testing.assert_close(network.clip_vector(feature_map), expected)


def test_pixels_are_normalised_once_with_the_configured_values() -> None:
    config = replace(TINY, pixel_mean=(0.2, 0.4, 0.6), pixel_std=(0.5, 0.25, 0.125))
    inputs: list[torch.Tensor] = []
    network = net(config=config)
    network.backbone.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    clips = batch(clips=2)
    assert clips.scene is not None
    before = clips.scene.clone()
    with torch.inference_mode():
        network(clips)
    pixels = before.double() / 255
    expected = (pixels - torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1)) / torch.tensor([0.5, 0.25, 0.125]).view(3, 1, 1)
    torch.testing.assert_close(inputs[0].double(), expected.flatten(0, 1), rtol=1e-5, atol=1e-5)
    assert torch.equal(clips.scene, before)  # the batch is unchanged


def test_sound_and_text_are_one_signal() -> None:
    inputs: list[torch.Tensor] = []
    clips = batch(clips=2)
    assert clips.audio is not None and clips.text is not None
    for audio_text in ("both", "audio", "text"):
        network = net("audio-text", replace(TINY, audio_text=audio_text))
        network.backbone.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
        with torch.inference_mode():
            network(clips)
    both, audio, text = (signal[:, 0] for signal in inputs)
    assert torch.equal(audio, clips.audio) and torch.equal(text, clips.text)
    assert torch.equal(both, torch.cat([clips.audio, clips.text], 1))


def test_weights_depend_on_the_seed_and_the_stream_alone() -> None:
    torch.manual_seed(1)
    net = StreamNet("scene", TINY, seed=3)
    torch.manual_seed(2)
    same, seed, stream = StreamNet("scene", TINY, 3), StreamNet("scene", TINY, 4), StreamNet("face", TINY, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.state_dict().values(), same.state_dict().values(), strict=True))
    for other in (seed, stream):
        assert not torch.equal(net.head.class_weight, other.head.class_weight)
        assert not torch.equal(net.state_dict()["backbone.conv1.weight"], other.state_dict()["backbone.conv1.weight"])


def test_the_state_dict_is_contiguous_and_complete(tmp_path: Path) -> None:
    """A saved network needs no reshaping and does not contain the constants of the configuration."""
    network = net()
    state = network.state_dict()
    assert all(value.is_contiguous() for value in state.values())
    assert not any("pixel" in name for name in state)
    save_file(state, tmp_path / "net.safetensors")
    other = StreamNet("scene", TINY, seed=8)
    other.load_state_dict(state)
    with torch.inference_mode():
        assert torch.equal(other.eval()(batch()).scores, network(batch()).scores)


def test_init_loads_the_backbone_of_the_visual_streams_only(tmp_path: Path) -> None:
    path = tmp_path / "backbone.safetensors"
    source = StreamNet("scene", TINY, seed=5).backbone
    save_file(source.state_dict(), path)
    config = replace(TINY, init=path)
    face = StreamNet("face", config, seed=6)
    assert torch.equal(face.backbone.state_dict()["conv1.weight"], source.state_dict()["conv1.weight"])
    StreamNet("audio-text", config)
    with pytest.raises(FormatError, match=r"conv1.weight is \[8, 3, 7, 7\], expected \[8, 3, 7, 7, 7\]"):
        StreamNet("scene", replace(config, backbone="r3d34"))


def test_regression_parameters_are_those_without_a_gradient_from_classification() -> None:
    network = net().train()
    network(batch()).logits.square().sum().backward()
    without_gradient = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    regression = {id(parameter) for parameter in network.regression_parameters()}
    assert without_gradient == {name for name, parameter in network.named_parameters() if id(parameter) in regression}
    assert without_gradient == {"head.score_weight", "head.score_bias"}


def test_bfloat16_outputs_stay_float32() -> None:
    network = net()
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        output = network(batch())
    assert output.features.dtype == output.scores.dtype == torch.float32


def test_the_defaults_are_those_of_the_paper() -> None:
    config = ModelConfig()
    assert (config.width, config.blocks, config.classes, config.frames) == (64, (3, 4, 6, 3), 4, 32)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": 5},
        {"width": 0},
        {"frames": 0},
        {"blocks": (1, 1, 1)},
        {"blocks": (1, 0, 1, 1)},
        {"pixel_std": (0.2, 0.0, 0.2)},
        {"backbone": "r3d34", "temporal": "conv1x1"},
    ],
)
def test_bad_configurations_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        replace(TINY, **change)


@pytest.mark.parametrize(
    ("stream", "config", "change", "reason"),
    [
        ("scene", TINY, {"scene": None}, "no frames for the scene"),
        ("face", TINY, {"face": None}, "no frames for the face"),
        ("audio-text", TINY, {"audio": None, "text": None}, "no sound"),
        ("scene", replace(TINY, temporal="conv1x1", frames=8), {}, "4 frames per clip, but the network weights 8"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(
    stream: Stream, config: ModelConfig, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(FormatError, match=reason):
        StreamNet(stream, config)(replace(batch(), **change))
