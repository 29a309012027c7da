"""SHA-256 of large files, remembered beside them so that 5 GB of tables are not read again at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.utils.files import read_json, sha256, write_json

HASHES_NAME = "sha256.json"


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file; that of `sha256.json` beside it if size and time of change are those recorded there."""
    known = recorded(path.parent).get(path.name)
    return known["sha256"] if known and _is_same(path, known) else sha256(path)


def recorded(folder: Path) -> dict[str, dict[str, Any]]:
    """What `sha256.json` says of each file: sha256, bytes, changed_ns. Nothing if there is no such file, or no use."""
    try:
        document = read_json(folder / HASHES_NAME, "a list of hashes")
    except FormatError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {
        name: values
        for name, values in document.items()
        if isinstance(values, dict) and isinstance(values.get("sha256"), str)
    }


def describe(path: Path) -> dict[str, Any]:
    """What `recorded` says of a file, found anew: the whole file is read."""
    about = path.stat()
    return {"sha256": sha256(path), "bytes": about.st_size, "changed_ns": about.st_mtime_ns}


def record(folder: Path, described: dict[str, dict[str, Any]]) -> None:
    """Write down what `describe` found of each file.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_json(folder / HASHES_NAME, described)


def _is_same(path: Path, known: dict[str, Any]) -> bool:
    about = path.stat()
    return (about.st_size, about.st_mtime_ns) == (known.get("bytes"), known.get("changed_ns"))
