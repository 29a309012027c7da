"""Fixtures of the end-to-end tests: a trained system, made once for all of them, and a server of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from crnet.bundle.load import load_bundle
from crnet.bundle.save import save_bundle
from crnet.demo import DemoResult, run_demo
from crnet.fusion.conformal import Calibration
from crnet.fusion.interval_width import ClipFacts
from crnet.types import STREAMS, TARGETS

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLIPS = 30
UPLOAD_MB, DURATION_S = 2, 20


@pytest.fixture(scope="session")
def shared_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all of pytest's worker processes share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def demo(shared_dir: Path) -> DemoResult:
    """The whole job on a few synthetic people. The first worker process runs it, the others reuse the result."""
    with (shared_dir / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return run_demo(shared_dir / "demo" / "run", clips=CLIPS, seed=3)


@pytest.fixture(scope="session")
def calibrated(demo: DemoResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same system with intervals of plus or minus 0.15; it has too few validation clips for real ones."""
    truth = np.full((20, len(TARGETS)), 0.5)
    calibration = Calibration.fit(
        truth, ClipFacts(truth + 0.15, {}, {stream: np.full(20, 1e9) for stream in STREAMS}), None
    )
    folder = tmp_path_factory.mktemp("calibrated")
    save_bundle(replace(load_bundle(demo.out), calibration=calibration), folder)
    return folder


@dataclass(frozen=True)
class Served:
    """A running server."""

    url: str
    folder: Path
    """Its TMPDIR, the only place where a visitor's files may be."""
    log: Path
    process: subprocess.Popen[str]


@pytest.fixture(scope="session")
def served(calibrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that `crnet serve` started, as a user would."""
    folder = tmp_path_factory.mktemp("served")
    run = calibrated.name  # a relative path, as in the docs
    command = [sys.executable, "-m", "crnet", "serve", run, "--port", "0", "--max-waiting", "100"]
    command += ["--max-upload-mb", str(UPLOAD_MB), "--max-duration-s", str(DURATION_S)]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    log = folder / "server.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=calibrated.parent, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), line + log.read_text()
    yield Served(line.split()[0], folder, log, process)
    process.terminate()
    assert process.wait(30) == 0
    assert not list(folder.glob("crnet-serve-*")), "the server left files behind"


@pytest.fixture(scope="module")
def browser(demo: DemoResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Headless Chromium, for the modules that have imported `serve_visit` and therefore playwright."""
    from serve_visit import open_browser

    with open_browser(demo.video, tmp_path_factory.mktemp("camera")) as browser:
        yield browser
