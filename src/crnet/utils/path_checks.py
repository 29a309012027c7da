"""Checks of the paths and URLs that a user gives."""

from __future__ import annotations

from collections.abc import Iterable
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


def refuse_overwriting(read: Iterable[Path | None], folder: Path, names: Iterable[str]) -> None:
    """Refuse a folder of results if they would overwrite a file that the same command reads.

    Args:
        read: The files that the command reads; None is no file.
        folder: The folder of the results.
        names: The files that the command writes into it.

    Raises:
        UsageError: They would.
    """
    written = {(folder / name).resolve() for name in names}
    for path in read:
        if path is not None and path.resolve() in written:
            raise UsageError("the results would overwrite this file", path=path, remedy="name a new folder with --out")


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
