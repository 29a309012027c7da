"""`crnet train`: preset, configuration file and options become one configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crnet.cli.main import main
from crnet.cli.train import Train
from crnet.config import PRESETS, Config


@pytest.fixture
def configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Parse options of `crnet train` and return the configuration they make."""
    parsed: list[Config] = []

    def keep(command: Train) -> int:
        parsed.append(command.configuration())
        return 0

    monkeypatch.setattr(Train, "__call__", keep)
    monkeypatch.chdir(tmp_path)

    def parse(*options: str) -> Config:
        assert main(["train", "store", "run", *options]) == 0
        return parsed[-1]

    return parse


def test_without_options_the_paper_preset_counts(configuration) -> None:
    assert configuration() == PRESETS["paper"]
    assert configuration("--preset", "small") == PRESETS["small"]


def test_every_field_is_an_option(configuration) -> None:
    config = configuration(
        "--preset=tiny", "--model.width", "24", "--training.stages.1.epochs", "3", "--transforms.flip",
        "--training.no-tensorboard", "--streams", "audio-text,scene", "--init", "weights.safetensors",
    )  # fmt: skip
    tiny = PRESETS["tiny"]
    first, second = tiny.training.stages
    assert config == Config(
        ("scene", "audio-text"),
        replace(tiny.transforms, flip=True),
        replace(tiny.model, width=24, init=Path("weights.safetensors")),
        replace(tiny.training, stages=(first, replace(second, epochs=3)), tensorboard=False),
        tiny.fusion,
    )


def test_short_options_stand_for_configuration_fields(configuration) -> None:
    config = configuration(
        "--preset", "tiny", "--seed", "7", "--device", "cpu", "--batch-size", "4", "--workers", "1", "--no-tensorboard"
    )
    training = config.training
    assert (training.seed, config.fusion.seed, training.device, training.workers) == (7, 7, "cpu", 1)
    assert [stage.batch_size for stage in training.stages] == [4, 4]
    assert not training.tensorboard


def test_epochs_set_both_stages_but_start_no_skipped_one(configuration) -> None:
    both = configuration("--preset", "tiny", "--epochs", "7").training.stages
    assert [stage.epochs for stage in both] == [7, 7]
    skipped = configuration("--preset", "tiny", "--training.stages.0.epochs", "0", "--epochs", "7").training.stages
    assert [stage.epochs for stage in skipped] == [0, 7]


def test_options_override_the_file_and_the_file_overrides_the_preset(configuration) -> None:
    Path("config.yaml").write_text("streams: [face]\nmodel: {width: 24, classes: 7}\ntraining: {tensorboard: false}\n")
    config = configuration("--model.width", "32", "--preset", "tiny", "--config", "config.yaml")
    assert config.streams == ("face",)
    assert config.model == replace(PRESETS["tiny"].model, width=32, classes=7)
    assert not config.training.tensorboard
    assert configuration("--config=config.yaml", "--training.tensorboard").training.tensorboard


def test_a_mistake_in_the_file_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text("modle: {width: 8}\n")
    for words in (["train", "a", "b", "--config", "config.yaml"],):
        assert main(words) == 2
        assert capsys.readouterr().err == "crnet: config.yaml: unknown field modle (did you mean model?)\n"
