"""The help of every command: complete, 80 columns wide, and shown without heavy imports."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
import sys
from typing import get_type_hints

import pytest

from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.main import main
from crnet.cli.usage_errors import option_names

SHARED = {"--device", "--batch-size", "--epochs", "--workers", "--seed", "--config", "--verbose", "--quiet", "--debug"}


@pytest.fixture(autouse=True)
def _terminal_of_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def help_of(name: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([*name.split(), "--help"]) == 0
    return capsys.readouterr().out


def sentences(help_text: str) -> dict[str, str]:
    """The text beside every option and positional argument of a help, without the frame."""
    texts: dict[str, list[str]] = {}
    names: list[str] = []
    frame = help_text[help_text.index(" positional arguments ") :]
    for line in frame.splitlines()[1:]:
        row = line[2:].rstrip(" │")  # without the lines or blanks of the frame
        label, _, text = row.partition("  ")
        labels = [word.strip(",[]") for word in label.split() if re.match(r"--\w|\[?[A-Z_]+\]?$", word)]
        if line[1:2] != " ":  # a title or a rule
            names = []
        elif labels and not row.startswith(" "):
            names = labels
            texts |= {name: [text] for name in names}
        else:
            for name in names:
                texts[name].append(row)
    return {name: " ".join(" ".join(parts).split()) for name, parts in texts.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_80_columns_and_begins_with_the_summary(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(name, capsys)
    assert max(map(len, text.splitlines())) <= 80
    assert text.splitlines()[2] == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_a_sentence_for_every_argument(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = command_class(name)
    shown = sentences(help_of(name, capsys))
    for field in dataclasses.fields(command):
        if dataclasses.is_dataclass(get_type_hints(command)[field.name]):
            continue
        option = "--" + field.name.replace("_", "-")
        positional = {"videos": "VIDEO", "systems": "SYSTEM"}.get(field.name, field.name.upper())
        text = shown.get(option) or shown[positional]
        sentence = re.sub(r"\((default|required).*?\)$", "", text).strip()
        assert len(sentence.split()) >= 2 and sentence.endswith("."), (field.name, text)


def test_every_field_of_the_configuration_has_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    nested = {option: text for option, text in sentences(help_of("train", capsys)).items() if "." in option}
    assert len(nested) > 40
    for option, text in nested.items():
        if not option.startswith("--fusion.weights."):  # one sentence for all of them
            assert len(re.sub(r"\(default.*?\)$", "", text).split()) >= 3, option


def test_shared_options_have_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    texts: dict[str, set[str]] = {}
    for name in COMMANDS:
        for option, text in sentences(help_of(name, capsys)).items():
            if option in SHARED and (name, option) != (
                "serve",
                "--workers",
            ):  # each needs much memory
                texts.setdefault(option, set()).add(re.sub(r" ?\((default).*?\)$", "", text))
    assert set(texts) == SHARED
    assert {option: len(variants) for option, variants in texts.items()} == dict.fromkeys(SHARED, 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_in_the_help_can_be_suggested(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = command_class(name)
    shown = {option for option in sentences(help_of(name, capsys)) if option.startswith("--")}
    assert shown <= set(option_names(command, command.defaults([])))


def test_the_overview_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_only_the_help_of_commands_with_a_configuration_imports_torch() -> None:
    """The configuration classes stand beside the networks, so `crnet train --help` imports torch."""
    program = f"""
import sys
from crnet.cli.main import main
for name in {[name for name in COMMANDS if name not in ("train", "reproduce")]}:
    assert main([*name.split(), "--help"]) == 0
    assert "torch" not in sys.modules and "numpy" not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_names_commands_and_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tyro-print-completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("predict", "reproduce", "fetch", "--precision", "--model.width", "--verbose"):
        assert word in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_and_options(capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:
    main(["--tyro-print-completion", "bash"])
    script = capsys.readouterr().out
    for typed, completion in (("crnet pred", "predict"), ("crnet predict --prec", "--precision")):
        words = typed.split(" ")
        program = f"""{script}
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; COMP_LINE={typed!r}; COMP_POINT={len(typed)}
_tyro_crnet; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
        done = subprocess.run(["bash"], input=program, capture_output=True, text=True, check=False)
        assert completion in done.stdout.split(), done
