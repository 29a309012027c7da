"""The OpenVINO graph of a network computes what the network computes in PyTorch."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from crnet.data.transforms import TransformConfig
from crnet.errors import FormatError
from crnet.models.config import Head, ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.openvino_graph import build_graph
from crnet.models.openvino_networks import OpenVinoNetworks
from crnet.types import Batch, Stream
from crnet.utils.openvino_runtime import cpu_threads
from random_net import random_net

CONFIG = ModelConfig(frames=2, width=2, blocks=(1, 2, 1, 1))
REGRESSION = ("text_regression.weight", "text_regression.mean")  # 4,800 numbers, whose products add up
TRANSFORMS = TransformConfig(frames=2, pixels=32, audio_samples=6_000)


def some_clips(clips: int = 2) -> Batch:
    rng = np.random.default_rng(0)
    scene, face = rng.integers(0, 256, (2, clips, 2, 3, 32, 32), dtype=np.uint8)
    audio = rng.normal(scale=0.1, size=(clips, 6_000)).astype(np.float32)
    text = rng.normal(scale=0.02, size=(clips, 4_800)).astype(np.float32)
    text[1:] = 0  # nobody speaks
    return Batch(tuple("abcdefghijklmnop"[:clips]), scene=scene, face=face, audio=audio, text=text)


@torch.no_grad()
def trained_net(stream: Stream, config: ModelConfig) -> StreamNet:
    """Return a network whose batch norm, centres and regression are not those of a fresh one."""
    net, generator = random_net(stream, config, seed=1).eval(), torch.Generator().manual_seed(0)
    for name, tensor in net.state_dict().items():
        if tensor.is_floating_point() and (".bn" in name or "downsample.1" in name or "text_regression" in name):
            low, high = (-0.02, 0.02) if name in REGRESSION else (0.3, 1.2)
            tensor.uniform_(low, high, generator=generator)
    return net


def graph_networks(net: StreamNet) -> OpenVinoNetworks:
    weights = {name: tensor.numpy() for name, tensor in net.state_dict().items()}
    return OpenVinoNetworks({net.stream: partial(build_graph, net.stream, net.config, TRANSFORMS, weights)}, threads=1)


VISUAL: list[dict[str, Any]] = [
    *({"head": head} for head in get_args(Head)),
    {"temporal": "conv1x1"},
    {"backbone": "r3d34"},
]
AUDIO_TEXT: list[dict[str, Any]] = [
    {},
    {"audio_text": "audio"},
    {"audio_text": "text"},
    {"text_path": "vector"},
    {"text_path": "vector", "head": "expectation"},
    {"text_path": "vector", "audio_text": "text"},
]


@pytest.mark.parametrize(
    ("stream", "changes"),
    [*(("scene", changes) for changes in VISUAL), ("face", {}), *(("audio-text", changes) for changes in AUDIO_TEXT)],
)
@torch.no_grad()
def test_features_and_scores_are_those_of_pytorch(stream: Stream, changes: dict[str, Any]) -> None:
    net, batch = trained_net(stream, replace(CONFIG, **changes)), some_clips()
    expected = net(batch.to("cpu"))
    features, scores = graph_networks(net).run(batch)
    for found, tensor in ((features[stream], expected.features), (scores[stream], expected.scores)):
        values = tensor.numpy()
        assert values.std() > 0
        np.testing.assert_allclose(found, values, atol=1e-5 * np.abs(values).max())


def test_a_clip_has_the_same_scores_in_every_batch() -> None:
    networks, batch = graph_networks(trained_net("face", CONFIG)), some_clips()
    alone = networks.run(Batch(("b",), face=batch.face[1:]))
    np.testing.assert_array_equal(networks.run(batch)[0]["face"][1:], alone[0]["face"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda weights: weights.pop("backbone.bn1.bias"), "bn1.bias is missing"),
        (lambda weights: weights.update({"head.more": np.zeros(3)}), "head.more is unknown"),
        (lambda weights: weights.update({"head.score_bias": np.zeros(5)}), r"head.score_bias is \[5\], expected \[6\]"),
    ],
)
def test_weights_of_another_network_are_refused(change: Any, reason: str) -> None:
    weights = {name: tensor.numpy() for name, tensor in random_net("face", CONFIG).state_dict().items()}
    change(weights)
    with pytest.raises(FormatError, match=f"do not fit the configuration: .*{reason}"):
        build_graph("face", CONFIG, TRANSFORMS, weights)


def test_a_batch_without_the_stream_is_refused() -> None:
    with pytest.raises(FormatError, match="no face"):
        graph_networks(trained_net("face", CONFIG)).run(replace(some_clips(), face=None))


def test_threads_that_share_networks_get_the_results_of_their_own_clips() -> None:
    networks, clips = graph_networks(trained_net("face", CONFIG)), some_clips(16)
    expected = networks.run(clips)[1]["face"]
    batches = [Batch((clip,), face=clips.face[i : i + 1]) for i, clip in enumerate(clips.clip_ids)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(lambda batch: networks.run(batch)[1]["face"], batches))
            np.testing.assert_array_equal(np.concatenate(found), expected)


@pytest.mark.parametrize(("configured", "threads"), [("3", 3), ("4,2", 4), ("0", 2), ("many", 2), (None, 2)])
def test_openmp_decides_the_number_of_threads_or_else_the_container(
    configured: str | None, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    monkeypatch.setattr("crnet.utils.cores.CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if configured is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", configured)
    assert cpu_threads() == threads
