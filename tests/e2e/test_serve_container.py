"""Tests of the Dockerfile without a container engine: its instructions and, on request, its steps in a clean folder.

CRNET_TEST_CONTAINER=1 pytest tests/e2e/test_serve_container.py     # a full installation: minutes
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

from crnet.cli.commands import COMMANDS
from crnet.demo import DemoResult
from crnet.types import TARGETS

REPOSITORY = Path(__file__).resolve().parents[2]
INSTRUCTIONS = ("FROM", "ARG", "ENV", "WORKDIR", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD")


def steps() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and their arguments, in order."""
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines if line and not line.startswith("#")]


def arguments_of(instruction: str) -> str:
    (arguments,) = [arguments for name, arguments in steps() if name == instruction]
    return arguments


def is_in_build_context(path: str) -> bool:
    """Return whether .dockerignore keeps a file; the last matching pattern decides."""
    rules = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    included = True
    for rule in (rule for rule in rules if rule and not rule.startswith("#")):
        pattern, negated = rule.removeprefix("!"), rule.startswith("!")
        names = [path, *(parent.as_posix() for parent in Path(path).parents)]
        if any(fnmatch(name, pattern) or fnmatch(f"x/{name}", pattern) for name in names if name != "."):
            included = negated
    return included


def test_instructions_are_valid_and_copied_files_exist() -> None:
    names = [name for name, _ in steps()]
    assert set(names) <= set(INSTRUCTIONS)
    assert names[0] == "FROM"
    for name, arguments in steps():
        if name == "COPY":
            *sources, target = arguments.split()
            assert target.startswith("./")
            for source in sources:
                assert (REPOSITORY / source).exists(), source
                assert is_in_build_context(source), source


@pytest.mark.parametrize(
    "path", [".git/config", ".venv/bin/python", "runs/demo/run.json", "docs/serve.md", "src/crnet/__pycache__/x.pyc"]
)
def test_other_files_stay_out_of_the_build_context(path: str) -> None:
    assert not is_in_build_context(path)


def test_the_image_runs_the_server_as_an_unprivileged_user() -> None:
    assert arguments_of("USER") not in ("root", "0")
    order = [name for name, _ in steps()]
    assert order.index("USER") > max(index for index, name in enumerate(order) if name == "RUN")
    assert json.loads(arguments_of("ENTRYPOINT")) == ["crnet"]
    command = json.loads(arguments_of("CMD"))
    assert command[0] in COMMANDS
    assert command[command.index("--host") + 1] == "0.0.0.0"
    port = arguments_of("EXPOSE")
    assert f":{port}/healthz" in arguments_of("HEALTHCHECK")
    assert port == "7860"  # the command's default port


def test_the_image_runs_with_a_read_only_file_system() -> None:
    settings = " ".join(arguments for name, arguments in steps() if name == "ENV")
    assert "PYTHONDONTWRITEBYTECODE=1" in settings
    assert "MPLCONFIGDIR=/tmp/" in settings
    page = (REPOSITORY / "docs" / "serve.md").read_text(encoding="utf-8")
    assert "docker run --rm --read-only --tmpfs /tmp" in page


def test_installations_use_the_pinned_versions() -> None:
    installs = [arguments for name, arguments in steps() if name == "RUN" and "pip install" in arguments]
    assert installs
    for arguments in installs:
        assert "--constraint constraints.txt" in arguments


@pytest.mark.slow
@pytest.mark.skipif("CRNET_TEST_CONTAINER" not in os.environ, reason="takes minutes: set CRNET_TEST_CONTAINER=1")
def test_its_steps_build_a_working_server(demo: DemoResult, tmp_path: Path) -> None:
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
    for name, arguments in steps():
        if name == "ENV":
            environment |= dict(word.split("=", 1) for word in shlex.split(arguments))
        elif name == "COPY":
            *sources, target = arguments.split()
            for source in sources:
                copy = shutil.copytree if (REPOSITORY / source).is_dir() else shutil.copy2
                copy(REPOSITORY / source, work / target)
        elif name == "RUN" and "useradd" not in arguments:  # there is no image to add a user to
            subprocess.run(["sh", "-c", arguments], cwd=work, env=environment, check=True)
    subprocess.run(["pip", "check"], cwd=work, env=environment, check=True)
    home = tmp_path / "home"
    home.mkdir()
    command = [*json.loads(arguments_of("ENTRYPOINT")), *json.loads(arguments_of("CMD"))]
    command = [str(demo.out) if word == "/srv/run" else word for word in command]
    command = ["127.0.0.1" if word == "0.0.0.0" else word for word in command]
    check = json.loads(arguments_of("HEALTHCHECK").split("CMD", 1)[1])
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
    predict = [*json.loads(arguments_of("ENTRYPOINT")), "predict", str(demo.out), str(demo.video), "--json"]
    done = subprocess.run(predict, cwd=home, env=environment, capture_output=True, text=True, check=True)
    assert list(json.loads(done.stdout)["scores"]) == list(TARGETS)
