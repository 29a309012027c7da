"""Checks of the paths and URLs that a user gives."""

from __future__ import annotations

from pathlib import Path

from crnet.errors import UsageError
from crnet.utils.storage import RemotePath, as_path


def on_disk(name: Path | str, what: str) -> Path:
    """Return a local path.

    Args:
        name: The path.
        what: What is to be there, for the error: "a run".

    Raises:
        UsageError: It is the URL of object storage.
    """
    path = as_path(name)
    if isinstance(path, RemotePath):
        raise UsageError(f"{what} cannot be in object storage", path=path, remedy="name a folder on a disk")
    return path


def why_absent(path: Path) -> tuple[str, str] | None:
    """Return reason and remedy if there is no such file or folder; None if there is one.

    Raises:
        StorageError: The storage cannot be reached or refuses the credentials.
    """
    if path.exists():
        return None
    if not isinstance(path, RemotePath):
        return "no such file or folder", "check its name"
    if not path.has_bucket():
        return f"there is no bucket {path.bucket}", "check its name, and the account and the address of the storage"
    return f"there is nothing under this name in the bucket {path.bucket}", "check its name"
