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
def _log_level() -> Iterator[None]:
    """Log as a command does by default, whatever a command or a library in the test's process did to the log before."""
    logger = logging.getLogger("crnet")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.propagate = True
    logging.disable(logging.NOTSET)
    for name, other in logging.root.manager.loggerDict.items():
        if name.startswith("crnet.") and isinstance(other, logging.Logger):
            other.disabled, other.propagate = False, True
            other.setLevel(logging.NOTSET)
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Return the folder with real clips, which is not part of the project; skip the test if there is none."""
    folder = Path(os.environ.get("CRNET_TEST_MEDIA", REPOSITORY.parent / "shared" / "media"))
    if not (folder / "MEDIA.md").is_file():
        pytest.skip("no real clips here: set CRNET_TEST_MEDIA to a folder that has them")
    return folder
