"""The command line: exit codes, one-line errors, help that does not wait for torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import crnet
from crnet.cli import main as cli

HEAVY = ("torch", "numpy", "sklearn", "av", "cv2", "matplotlib", "pyarrow", "rich")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("simulate", "prepare", "train", "evaluate", "predict", "demo"):
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("name", ["simulate", "prepare", "train", "evaluate", "predict", "demo"])
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--help"]) == 0
    assert f"usage: crnet {name}" in capsys.readouterr().out


def test_without_a_command_help_is_shown_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == crnet.__version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fly"], "unknown command 'fly'"),
        (["simulate"], "no folder is named (crnet simulate OUT"),
        (["prepare", "only-one"], "OUT"),
        (["prepare", "a", "b", "--workers", "many"], "--workers"),
        (["train", "a", "b", "--preset", "huge"], "--preset"),
        (["train", "a", "b", "--model.widht", "3"], "--model.widht"),
        (["train", "a", "b", "--streams", "smell"], "unknown stream"),
        (["train", "nowhere", "run"], "nowhere"),
        (["evaluate", "nowhere", "store"], "nowhere"),
        (["predict", "nowhere", "video.mp4"], "nowhere"),
        (["prepare", "nowhere", "store"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_bug_shows_no_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(cli, "_run", broken)
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "crnet: unexpected ZeroDivisionError: oh (a bug: --debug shows where)\n"
    assert cli.main(["demo", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_interrupted_says_how_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run", interrupted)
    assert cli.main(["demo"]) == 130
    assert "goes on" in capsys.readouterr().err


def test_the_preset_decides_the_defaults_that_help_shows(capsys: pytest.CaptureFixture[str]) -> None:
    def width(*words: str) -> str:
        cli.main(["train", *words, "--help"])
        text = " ".join(capsys.readouterr().out.replace("│", "").split())
        return text.split("--model.width INT", 1)[1].split("(default: ", 1)[1].split(")")[0]

    assert width() == "64"
    assert width("--preset", "tiny") == "16"
    assert width("--preset=tiny") == "16"


def test_importing_and_helping_load_nothing_heavy() -> None:
    program = f"""
import json, sys
import crnet
after_import = [name for name in {HEAVY} if name in sys.modules]
from crnet.cli.main import usage
usage()
print(json.dumps([after_import, [name for name in {HEAVY} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[], []]


def test_training_needs_no_media_library() -> None:
    program = """
import sys
for name in ("av", "soxr", "cv2", "mtcnn", "matplotlib", "jinja2"):
    sys.modules[name] = None
import crnet.train, crnet.evaluation.evaluate
"""
    subprocess.run([sys.executable, "-c", program], check=True)
