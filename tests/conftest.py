"""Fixtures for all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A test must not fail because the machine is busy.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _unset_log_level() -> Iterator[None]:
    """Undo `--quiet` and `--verbose` of a command that a test ran in this process."""
    yield
    logging.getLogger("crnet").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Return the folder with real clips, which is not part of the project; skip the test if there is none."""
    folder = Path(os.environ.get("CRNET_TEST_MEDIA", REPOSITORY.parent / "shared" / "media"))
    if not (folder / "MEDIA.md").is_file():
        pytest.skip("no real clips here: set CRNET_TEST_MEDIA to a folder that has them")
    return folder
