"""Presets, and configurations that go to JSON and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crnet.config import PRESET_NAMES, PRESETS, Config, from_dict, to_dict, with_seed
from crnet.errors import ConfigError, FormatError


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_comes_back_from_json_as_it_was(name: str) -> None:
    config = PRESETS[name]  # type: ignore[index]
    config = replace(config, model=replace(config.model, init=Path("some/weights.safetensors")))
    assert from_dict(Config, json.loads(json.dumps(to_dict(config))), Path("x")) == config


def test_the_paper_preset_has_the_numbers_of_the_paper() -> None:
    paper = PRESETS["paper"]
    first, second = paper.training.stages
    assert (paper.transforms.frames, paper.transforms.pixels) == (32, 112)  # Sec. 3.1.1
    assert (paper.model.width, paper.model.blocks, paper.model.classes) == (64, (3, 4, 6, 3), 4)  # ResNet-34, 4.2.2
    assert (first.optimizer, first.lr, first.momentum, first.weight_decay) == ("sgd", 0.002, 0.9, 0.005)  # 4.2.1
    assert (second.optimizer, second.lr, second.betas, second.weight_decay) == ("adam", 0.002, (0.5, 0.999), 0.005)
    for stage in (first, second):
        assert (stage.batch_size, stage.epochs, stage.lr_step_epochs, stage.lr_factor) == (30, 50, 10, 0.1)
    assert first.terms == ("guide",)
    assert second.terms == ("l1", "mse", "bell", "guide")  # Eq. 8
    assert (paper.fusion.trees, paper.fusion.max_features) == (1000, 512)  # Sec. 3.4
    assert paper.fusion.weights == {"scene": 7, "face": 5, "audio-text": 3}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unknown": 1}, "extra fields"),
        ({"model": {"width": "wide"}}, "width"),
        ({"model": {"classes": 5}}, "5 classes"),
        ({"streams": ["scene", "smell"]}, "streams"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_by_name(change: dict[str, object], reason: str) -> None:
    document = to_dict(PRESETS["tiny"])
    for key, value in change.items():
        document[key] = document.get(key, {}) | value if isinstance(value, dict) else value
    with pytest.raises(FormatError, match=f"bundle.json.*{reason}"):
        from_dict(Config, document, Path("bundle.json"))


def test_samples_and_model_must_agree_on_frames() -> None:
    config = PRESETS["tiny"]
    with pytest.raises(ConfigError, match="frames"):
        replace(config, model=replace(config.model, frames=4))


def test_each_stream_stands_once() -> None:
    with pytest.raises(ConfigError):
        Config(streams=("scene", "scene"))
    with pytest.raises(ConfigError):
        Config(streams=())


def test_one_seed_seeds_everything() -> None:
    seeded = with_seed(PRESETS["tiny"], 7)
    assert (seeded.training.seed, seeded.fusion.seed) == (7, 7)
