"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine is slow; that says nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """A folder with real clips, if there is one; it is not part of the project."""
    folder = Path(os.environ.get("CRNET_TEST_MEDIA", REPOSITORY.parent / "shared" / "media"))
    if not (folder / "MEDIA.md").is_file():
        pytest.skip("no real clips here: set CRNET_TEST_MEDIA to a folder that has them")
    return folder
