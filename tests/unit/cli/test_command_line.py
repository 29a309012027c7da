"""The command line: exit codes, one-line errors, help without heavy imports."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import crnet
from crnet.cli import main as cli
from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.demo import Demo
from crnet.cli.predict import Predict
from crnet.cli.terminal import show_prediction
from crnet.types import Prediction

HEAVY = ("torch", "numpy", "sklearn", "av", "cv2", "matplotlib", "pyarrow", "rich")


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("simulate", "prepare", "train", "evaluate", "predict", "demo"):
        assert f"\n  {name} " in shown


@pytest.mark.parametrize("name", ["simulate", "prepare", "train", "evaluate", "predict", "demo", "text fetch"])
def test_each_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = name.split()
    assert cli.main([*words, "--help"]) == 0
    explained = capsys.readouterr().out
    assert f"usage: crnet {name} [-h]" in explained
    assert cli.main(["help", *words]) == 0
    assert capsys.readouterr().out == explained
    assert cli.main(["-v", *words, "-h"]) == 0
    assert capsys.readouterr().out == explained


def test_a_group_of_commands_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["text", "--help"], ["help", "text"]):
        assert cli.main(words) == 0
        shown = capsys.readouterr().out
        assert "text fetch" in shown and "text train" in shown and "simulate" not in shown


@pytest.mark.parametrize("words", [[], ["-q"]])
def test_without_a_command_help_is_shown_and_the_exit_code_is_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 2
    assert "usage" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == crnet.__version__


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "unknown command 'fly' (see crnet --help)"),
        (["tarin"], "unknown command 'tarin' (did you mean train?)"),
        (["text"], "crnet text needs a command (one of text fetch, text train)"),
        (["text", "fetsch"], "unknown command 'text fetsch' (did you mean text fetch?)"),
        (["--tyro-print-completion"], "--tyro-print-completion needs a shell (one of bash, zsh, fish)"),
        (["--tyro-print-completion", "ksh"], "--tyro-print-completion needs a shell (one of bash, zsh, fish)"),
        (["simulate"], "crnet simulate: OUT is missing (usage: crnet simulate OUT ..., or --sheet FILE.png)"),
        (["prepare", "only-one"], "crnet prepare: STORE is missing (usage: crnet prepare SOURCE STORE ...)"),
        (["train"], "crnet train: STORE and RUN are missing (usage: crnet train STORE RUN ...)"),
        (["train", "--preset", "tiny", "a"], "crnet train: RUN is missing (usage: crnet train STORE RUN ...)"),
        (["explain", "run"], "crnet explain: VIDEO_OR_STORE is missing"),
        (["reproduce"], "crnet reproduce: WHAT, --store and --out are missing (usage: crnet reproduce WHAT --store"),
        (["prepare", "a", "b", "--workers", "many"], "--workers: 'many' is not a whole number"),
        (["export", "run", ""], "OUT: the path is empty"),
        (["predict", "run", "", "b.mp4"], "VIDEO: the path is empty"),
        (["evaluate", "", "store"], "RUN: the path is empty"),
        (["evaluate", "--predictions", "", "--labels", "l.csv"], "--predictions: the path is empty"),
        (["simulate", "a", "--fps", "fast"], "--fps: 'fast' is not a number (see crnet simulate --help)"),
        (
            ["train", "a", "b", "--preset", "huge"],
            "--preset: 'huge' is not one of paper, paper-stable, small, tiny (see",
        ),
        (["explain", "a", "b", "--layer", "stem"], "--layer: 'stem' is not one of layer1, layer2, layer3, layer4 (see"),
        (["text", "train", "a", "b", "--device", "tpu"], "--device: 'tpu' is not one of auto, cpu, cuda, mps (see"),
        (["train", "a", "b", "--model.head", "round"], "--model.head: 'round' is not one of cr-block, expectation, "),
        (["train", "a", "b", "--preset"], "--preset needs a value"),
        (["train", "a", "b", "c"], "unexpected argument c"),
        (["train", "a", "b", "--model.widht", "3"], "no option --model.widht (did you mean --model.width?)"),
        (["train", "a", "--sed", "3"], "crnet train has no option --sed (did you mean --seed?)"),
        (["prepare", "a", "b", "--device=cpu"], "crnet prepare has no option --device; demo, train, evaluate, "),
        (
            ["predict", "a", "b", "--epochs", "3"],
            "crnet predict has no option --epochs; train, reproduce and text train have it",
        ),
        (["reproduce", "all", "--data", "a"], "crnet reproduce has no option --data (did you mean --store?)"),
        (["reproduce", "all", "--seed", "3"], "demo, simulate, train and text train have it (did you mean --seeds?)"),
        (["predict", "a", "b", "-x"], "crnet predict has no option -x (see crnet predict --help)"),
        (["train", "a", "b", "--streams", "smell"], "unknown stream 'smell'"),
        (["train", "a", "b", "--streams", "scnee"], "unknown stream 'scnee' (did you mean scene?)"),
        (["train", "nowhere", "run"], "nowhere"),
        (["evaluate", "nowhere", "store"], "nowhere"),
        (["predict", "nowhere", "video.mp4"], "nowhere"),
        (["predict"], "crnet predict: RUN and VIDEO are missing (usage: crnet predict RUN VIDEO ...)"),
        (["predict", "nowhere"], "crnet predict: VIDEO is missing (usage: crnet predict RUN VIDEO ...)"),
        (["predict", "--out", "a.csv", "nowhere"], "crnet predict: VIDEO is missing (usage: crnet predict RUN VIDEO"),
        (["serve", "nowhere", "--keep-min", "5"], "no option --keep-min (did you mean --keep-minutes?)"),
        (["prepare", "nowhere", "store"], "nowhere"),
    ],
)
def test_a_mistake_is_one_line_on_stderr_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("crnet")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def fail_with(error: type[BaseException], *arguments: object, **keywords: object) -> object:
    def fail(*_: object) -> int:
        raise error(*arguments, **keywords)

    return fail


def test_a_bug_shows_no_traceback_unless_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Demo, "__call__", fail_with(ZeroDivisionError, "oh"))
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == "crnet: unexpected ZeroDivisionError: oh (this is a bug; --debug shows where)\n"
    for words in (["demo", "--debug"], ["--debug", "demo"]):
        assert cli.main(words) == 2
        assert "Traceback" in capsys.readouterr().err


def test_an_interrupted_command_says_whether_it_can_be_resumed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (Demo, Predict):
        monkeypatch.setattr(command, "__call__", fail_with(KeyboardInterrupt))
    assert cli.main(["demo"]) == 130
    assert capsys.readouterr().err == "stopped; run the same command again to continue\n"
    assert cli.main(["predict", "run", "video.mp4"]) == 130
    assert capsys.readouterr().err == "stopped\n"


TERMINATED_SCRIPT = """
import signal, sys, time
import crnet.cli.main as cli
from crnet.utils.executors import run_jobs

def work(job):
    print("working", flush=True)
    time.sleep(60)

def fail(*_):
    raise RuntimeError("a worker ended")

def main():
    if "torch" in sys.argv:
        signal.signal(signal.SIGCHLD, fail)  # as torch does for its loader
    try:
        print(dict(run_jobs(work, [1], 1)))
    except KeyboardInterrupt:
        print("stopped in order", flush=True)
    return 130

if __name__ == "__main__":
    cli.main = main
    cli.run()
"""


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="Windows has no groups of processes")
@pytest.mark.parametrize(("send", "name"), [("kill", "SIGTERM"), ("killpg", "SIGTERM"), ("killpg", "SIGHUP")])
def test_a_signal_stops_a_command_in_order_and_is_no_failure_of_its_job(tmp_path: Path, send: str, name: str) -> None:
    number = getattr(signal, name)
    with _working_command(tmp_path, *(["torch"] if send == "kill" else [])) as child:
        assert child.stdout is not None
        getattr(os, send)(child.pid, number)
        assert child.stdout.read() == "stopped in order\n"
    assert child.returncode == -number


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="Windows has no such signal")
def test_nohup_lets_a_command_outlive_its_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the child inherits it
    try:
        child = _working_command(tmp_path)
    finally:
        signal.signal(signal.SIGHUP, before)
    with child:
        assert child.stdout is not None
        os.killpg(child.pid, signal.SIGHUP)
        os.killpg(child.pid, signal.SIGTERM)
        assert child.stdout.read() == "stopped in order\n"
    assert child.returncode == -signal.SIGTERM


def _working_command(folder: Path, *words: str) -> subprocess.Popen[str]:
    """Start a command, and return it when its worker is at work."""
    script = folder / "script.py"
    script.write_text(TERMINATED_SCRIPT)
    child = subprocess.Popen(
        [sys.executable, str(script), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None and child.stdout.readline() == "working\n"
    return child


def test_commands_that_write_resumable_work_are_marked() -> None:
    resumable = {name for name in COMMANDS if command_class(name).resumes}
    assert resumable == set(COMMANDS) - {"audit", "card", "compare", "push", "predict", "export", "explain", "serve"}


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("cv2", 'pip install "crnet[report,simulate,train]"'),
        ("av.video", "pip install av"),
        ("torch.nn", 'pip install "crnet[report,simulate,train]"'),
        ("foo_x", "pip install foo-x"),
    ],
)
def test_a_missing_module_names_every_extra_that_the_command_needs(
    module: str, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Demo, "__call__", fail_with(ModuleNotFoundError, "No module", name=module))
    assert cli.main(["demo"]) == 2
    assert capsys.readouterr().err == f"crnet: the Python module {module} is not installed ({command})\n"


@pytest.mark.parametrize(
    ("words", "level"),
    [(["demo"], logging.INFO), (["demo", "-v"], logging.DEBUG), (["--quiet", "demo"], logging.WARNING)],
)
def test_verbose_and_quiet_set_the_level_of_the_log(
    words: list[str], level: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def log(command: Demo) -> int:
        assert logging.getLogger("crnet").getEffectiveLevel() == level
        assert command.quiet == (level == logging.WARNING)
        logging.getLogger("crnet.demo").warning("careful")
        return 0

    monkeypatch.setattr(Demo, "__call__", log)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert cli.main(words) == 0
    assert capsys.readouterr().err == "warning: careful\n"


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
from crnet.cli.main import main
main(["--help"])
print(json.dumps([after_import, [name for name in {HEAVY} if name in sys.modules]]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [[], []]


def test_training_needs_no_media_library() -> None:
    program = """
import sys
for name in ("av", "soxr", "cv2", "mtcnn", "matplotlib", "jinja2"):
    sys.modules[name] = None
import crnet.train, crnet.evaluation.evaluate
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_video_without_scores_is_named_once(capsys: pytest.CaptureFixture[str]) -> None:
    show_prediction(Prediction("a.mp4", 1.0, None, error="a.mp4: no face was found"))
    assert capsys.readouterr().out == "a.mp4: not scored: no face was found\n"
