"""SHA-256 of large files, cached beside them so that 5 GB of tables are not hashed at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.utils.files import read_json, sha256, write_json

HASHES_NAME = "sha256.json"


def cached_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, from `sha256.json` beside it if size and modification time match that record."""
    record = read_hashes(path.parent).get(path.name)
    return record["sha256"] if record and _is_unchanged(path, record) else sha256(path)


def read_hashes(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the record of each file in `sha256.json`: sha256, bytes, changed_ns; empty if there is no usable file."""
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


def hash_file(path: Path) -> dict[str, Any]:
    """Return a new record of a file; reads the whole file."""
    status = path.stat()
    return {"sha256": sha256(path), "bytes": status.st_size, "changed_ns": status.st_mtime_ns}


def write_hashes(folder: Path, records: dict[str, dict[str, Any]]) -> None:
    """Write the records of all files to `sha256.json`.

    Raises:
        StorageError: The folder cannot be written.
    """
    write_json(folder / HASHES_NAME, records)


def _is_unchanged(path: Path, record: dict[str, Any]) -> bool:
    status = path.stat()
    return (status.st_size, status.st_mtime_ns) == (record.get("bytes"), record.get("changed_ns"))
