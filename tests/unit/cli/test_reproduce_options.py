"""`crnet reproduce`: it takes the options of `crnet train`, except those that would have no effect."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from crnet.cli.main import main
from crnet.cli.reproduce import Reproduce
from crnet.cli.train import Train
from crnet.cli.usage_errors import option_names
from crnet.config import PRESETS

TINY = PRESETS["tiny"]


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Parse options of `crnet reproduce` and return the command."""
    commands: list[Reproduce] = []

    def keep(command: Reproduce) -> int:
        commands.append(command)
        return 0

    monkeypatch.setattr(Reproduce, "__call__", keep)
    monkeypatch.chdir(tmp_path)

    def parse(*options: str) -> Reproduce:
        assert main(["reproduce", "all", "--store", "s", "--out", "o", *options]) == 0
        return commands[-1]

    return parse


def test_without_options_the_preset_counts(parsed) -> None:
    assert parsed().base_config() == PRESETS["paper"]
    assert parsed("--preset", "small").base_config() == PRESETS["small"]


def test_it_has_every_option_of_train_that_changes_the_configuration() -> None:
    train, reproduce = (set(option_names(command, command.defaults([]))) for command in (Train, Reproduce))
    assert train - reproduce == {"--streams", "--seed", "--no-tensorboard"}


def test_the_same_options_make_the_same_configuration(parsed, monkeypatch: pytest.MonkeyPatch) -> None:
    configurations = []
    monkeypatch.setattr(Train, "__call__", lambda command: configurations.append(command.configuration()) or 0)
    options = (
        "--preset=tiny", "--init", "w.safetensors", "--training.stages.1.lr", "0.01", "--fusion.trees", "50",
        "--batch-size", "4", "--epochs", "2", "--device", "cpu", "--transforms.flip",
    )  # fmt: skip
    assert main(["train", "store", "run", *options]) == 0
    base = parsed(*options).base_config()
    assert [base] == configurations
    first, second = TINY.training.stages
    assert base.training.stages == (
        replace(first, batch_size=4, epochs=2),
        replace(second, batch_size=4, epochs=2, lr=0.01),
    )
    assert (base.model.init, base.fusion.trees) == (Path("w.safetensors"), 50)


def test_options_override_the_file(parsed) -> None:
    Path("my.yaml").write_text("streams: [face]\nmodel: {width: 24}\nfusion: {seed: 5}\n")
    base = parsed("--preset", "tiny", "--config", "my.yaml", "--fusion.trees", "50").base_config()
    assert base.streams == ("face",)
    assert base.model == replace(TINY.model, width=24)
    assert base.fusion == replace(TINY.fusion, trees=50, seed=5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--training.seed", "3"), "--seeds"),
        (("--fusion.seed", "3"), "--seeds"),
        (("--fusion.fit-on", "training"), "--fusion.fit-on"),
    ],
)
def test_options_without_effect_are_refused(
    options: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "all", "--store", "s", "--out", "o", "--preset", "tiny", *options]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_index_names_the_configuration(parsed) -> None:
    Path("my.yaml").write_text("model: {width: 24}\n")
    assert parsed("--preset", "tiny").base_name == "tiny"
    assert parsed("--config", "my.yaml").base_name == "paper with my.yaml"
    assert parsed("--init", "w.safetensors").base_name == "paper with options"
    assert parsed("--config", "my.yaml", "--epochs", "2").base_name == "paper with my.yaml and options"
