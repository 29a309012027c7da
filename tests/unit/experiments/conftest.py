"""A small store of noise and the smallest workspace on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_workspace import TINY

from crnet.experiments.workspace import Workspace
from synthetic import write_store

CLIPS = 20


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("experiments") / "store", clips=CLIPS, pixels=24, duration_s=0.25)


@pytest.fixture
def workspace(store: Path, tmp_path: Path) -> Workspace:
    return Workspace.open(store, tmp_path / "results", TINY, seeds=(0,))
