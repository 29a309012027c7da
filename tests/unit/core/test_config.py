"""Presets, configurations as JSON, and configuration files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crnet.config import PRESET_NAMES, PRESETS, Config, from_dict, read_config, to_dict, with_seed
from crnet.errors import ConfigError, FormatError


@pytest.mark.parametrize("name", PRESET_NAMES)
def test_a_preset_survives_json(name: str) -> None:
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
    assert first.terms == ("classification",)
    assert second.terms == ("l1", "mse", "bell", "classification")  # Eq. 8
    assert (paper.fusion.trees, paper.fusion.max_features) == (1000, 512)  # Sec. 3.4
    assert paper.fusion.weights == {"scene": 7, "face": 5, "audio-text": 3}


def test_the_stable_preset_differs_from_the_paper_only_in_what_validation_sees() -> None:
    paper, stable = PRESETS["paper"], PRESETS["paper-stable"]
    assert paper.training.precise_batchnorm_batches is None
    assert stable == replace(paper, training=replace(paper.training, precise_batchnorm_batches=20))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"unknown": 1}, "extra fields"),
        ({"model": {"width": "wide"}}, "width"),
        ({"model": {"classes": 5}}, "5 classes"),
        ({"streams": ["scene", "smell"]}, "streams"),
    ],
)
def test_an_invalid_configuration_is_refused_with_its_field(change: dict[str, object], reason: str) -> None:
    document = to_dict(PRESETS["tiny"])
    for key, value in change.items():
        document[key] = document.get(key, {}) | value if isinstance(value, dict) else value
    with pytest.raises(FormatError, match=f"bundle.json.*{reason}"):
        from_dict(Config, document, Path("bundle.json"))


def test_transforms_and_model_must_agree_on_the_number_of_frames() -> None:
    config = PRESETS["tiny"]
    with pytest.raises(ConfigError, match="frames"):
        replace(config, model=replace(config.model, frames=4))


def test_streams_are_distinct_and_at_least_one() -> None:
    with pytest.raises(ConfigError):
        Config(streams=("scene", "scene"))
    with pytest.raises(ConfigError):
        Config(streams=())


def test_one_seed_seeds_everything() -> None:
    seeded = with_seed(PRESETS["tiny"], 7)
    assert (seeded.training.seed, seeded.fusion.seed) == (7, 7)


def config_file(folder: Path, text: str, name: str = "config.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_configuration_file_overrides_single_fields(tmp_path: Path) -> None:
    base = PRESETS["tiny"]
    path = config_file(
        tmp_path,
        """
streams: [face, audio-text]
model: {width: 24, init: weights.safetensors}
training:
  threads: null
  stages: [{epochs: 1}, {epochs: 2, lr: 0.01}]
fusion: {weights: {face: 6}}
""",
    )
    config = read_config(path, base)
    first, second = config.training.stages
    assert config.streams == ("face", "audio-text")
    assert config.model == replace(base.model, width=24, init=Path("weights.safetensors"))
    assert config.training.threads is None
    assert (first.epochs, second.epochs, second.lr, second.batch_size) == (1, 2, 0.01, 10)
    assert config.fusion.weights == {"scene": 7, "face": 6, "audio-text": 3}
    assert config.transforms == base.transforms


def test_the_run_json_of_a_run_is_a_configuration_file(tmp_path: Path) -> None:
    document = {"config": to_dict(PRESETS["small"]), "store": "somewhere", "versions": {}}
    assert read_config(config_file(tmp_path, json.dumps(document), "run.json"), PRESETS["paper"]) == PRESETS["small"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("modle: {width: 3}", ConfigError, r"config.yaml: unknown field modle \(did you mean model\?\)"),
        ("model: {widht: 3}", ConfigError, r"unknown field model.widht \(did you mean width\?\)"),
        (
            "training: {stages: [{}, {epoch: 3}]}",
            ConfigError,
            r"unknown field training.stages.1.epoch \(did you mean epochs\?\)",
        ),
        ("model: {colour: red}", ConfigError, r"unknown field model.colour \(fields: backbone, "),
        ("model: {width: wide}", FormatError, r"config.yaml: .*width.*\(correct the value\)"),
        ("- model", FormatError, "is no mapping of configuration fields"),
        ("model: [", FormatError, "cannot be read as YAML"),
        ("[" * 3000, FormatError, "cannot be read as YAML"),
        ('{"config": {"model": 7}}', FormatError, "does not fit this version"),
    ],
)
def test_a_mistake_in_a_configuration_file_is_named(
    text: str, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        read_config(config_file(tmp_path, text), PRESETS["tiny"])


def test_a_missing_configuration_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"none\.yaml: cannot be read as YAML: No such file"):
        read_config(tmp_path / "none.yaml", PRESETS["tiny"])
