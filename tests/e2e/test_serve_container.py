"""The Dockerfile without a container engine: what it says, and, where asked for, its steps in a clean directory.

CRNET_TEST_CONTAINER=1 pytest tests/e2e/test_app_container.py     # installs everything anew: minutes
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from fnmatch import fnmatch
from pathlib import Path

import pytest

from crnet.cli import main as cli
from crnet.demo import DemoResult
from crnet.types import TARGETS

REPOSITORY = Path(__file__).resolve().parents[2]
INSTRUCTIONS = ("FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD")


def steps() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them, in order."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line and not line.startswith("#")]


def only(instruction: str) -> str:
    (words,) = [words for name, words in steps() if name == instruction]
    return words


def goes_to_the_builder(path: str) -> bool:
    """Whether .dockerignore lets a file through: the last pattern that fits decides."""
    rules = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sent = True
    for rule in (rule for rule in rules if rule and not rule.startswith("#")):
        pattern, keeps = rule.removeprefix("!"), rule.startswith("!")
        names = [path, *(parent.as_posix() for parent in Path(path).parents)]
        if any(fnmatch(name, pattern) or fnmatch(f"x/{name}", pattern) for name in names if name != "."):
            sent = keeps
    return sent


def test_every_instruction_is_one_and_every_file_is_there() -> None:
    names = [name for name, _ in steps()]
    assert set(names) <= set(INSTRUCTIONS)
    assert names[0] == "FROM"
    for name, words in steps():
        if name == "COPY":
            *sources, target = words.split()
            assert target.startswith("./")
            for source in sources:
                assert (REPOSITORY / source).exists(), source
                assert goes_to_the_builder(source), source


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", "runs/demo/run.json", "docs/app.md", "src/crnet/__pycache__/x.pyc"]
)
def test_what_is_not_copied_stays_at_home(path: str) -> None:
    assert not goes_to_the_builder(path)


def test_it_runs_without_rights_as_the_server_that_the_page_needs() -> None:
    assert only("USER") not in ("root", "0")
    order = [name for name, _ in steps()]
    assert order.index("USER") > max(place for place, name in enumerate(order) if name == "RUN")
    assert json.loads(only("ENTRYPOINT")) == ["crnet"]
    command = json.loads(only("CMD"))
    assert command[0] in cli.COMMANDS
    assert command[command.index("--host") + 1] == "0.0.0.0"
    port = only("EXPOSE")
    assert f":{port}/healthz" in only("HEALTHCHECK")
    assert port == "7860"  # the command's default


def test_pins_decide_what_is_installed() -> None:
    installs = [words for name, words in steps() if name == "RUN" and "pip install" in words]
    assert installs
    for words in installs:
        assert "--constraint constraints.txt" in words


@pytest.mark.slow
@pytest.mark.skipif("CRNET_TEST_CONTAINER" not in os.environ, reason="takes minutes: set CRNET_TEST_CONTAINER=1")
def test_its_steps_make_a_server_that_works(demo: DemoResult, tmp_path: Path) -> None:
    python = shutil.which("python3.11") or sys.executable
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    work = tmp_path / "work"
    work.mkdir()
    environment = {
        **os.environ,
        "PATH": f"{tmp_path / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(work),
    }
    environment.pop("PYTHONPATH", None)
    for name, words in steps():
        if name == "ENV":
            environment |= dict(word.split("=", 1) for word in shlex.split(words))
        elif name == "COPY":
            *sources, target = words.split()
            for source in sources:
                copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy2
                copy(REPOSITORY / source, work / target)
        elif name == "RUN" and "useradd" not in words:  # there is no image whose users it could change
            subprocess.run(["sh", "-c", words], cwd=work, env=environment, check=True)
    subprocess.run(["pip", "check"], cwd=work, env=environment, check=True)
    home = tmp_path / "home"
    home.mkdir()
    command = [*json.loads(only("ENTRYPOINT")), *json.loads(only("CMD"))]
    command = [str(demo.out) if word == "/srv/run" else word for word in command]
    command = ["127.0.0.1" if word == "0.0.0.0" else word for word in command]
    check = json.loads(only("HEALTHCHECK").split("CMD", 1)[1])
    server = subprocess.Popen(command, cwd=home, env=environment)
    try:
        deadline = time.monotonic() + 120
        while subprocess.run(check, cwd=home, env=environment, capture_output=True, check=False).returncode != 0:
            assert time.monotonic() < deadline
            assert server.poll() is None
            time.sleep(0.5)
    finally:
        server.terminate()
        server.wait(30)
    predict = [*json.loads(only("ENTRYPOINT")), "predict", str(demo.out), str(demo.video), "--json"]
    done = subprocess.run(predict, cwd=home, env=environment, capture_output=True, text=True, check=True)
    assert list(json.loads(done.stdout)["scores"]) == list(TARGETS)
