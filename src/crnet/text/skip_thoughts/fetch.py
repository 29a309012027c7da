"""Download and check the published skip-thoughts files; no code from them runs.

The authors put seven files on their university's server and published no hashes of them. The first check therefore
records the SHA-256 of each file (`sha256.json`), and later downloads and checks compare with it. This detects a changed
file, but not a wrong first copy. Downloads are encrypted. Every check also verifies that the files match each other.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crnet.errors import FormatError, StorageError, UsageError
from crnet.text.skip_thoughts import file_hashes, kiros_files
from crnet.text.skip_thoughts.npy_object_tables import convert_table, is_object_table
from crnet.utils.files import CHUNK_BYTES, sha256, write_error_remedy
from crnet.utils.progress import Progress, no_progress

SOURCE = "https://www.cs.toronto.edu/~rkiros/models/"
"""Address in the authors' README, there without encryption: from 2015, and possibly offline."""

THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})  # needs no encryption

LARGEST_FILE_BYTES = 4 << 30  # the tables have about 2.3 GB each
PART_SUFFIX = ".part"
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class CheckedFile:
    """Result of checking one file.

    Attributes:
        name: File name.
        bytes: Size.
        sha256: SHA-256 of the content, 64 hexadecimal digits.
        checked_before: Whether an earlier check recorded the same hash.
    """

    name: str
    bytes: int
    sha256: str
    checked_before: bool


def missing_files(folder: str | Path) -> list[str]:
    """Return the names of the published files that are not in a folder."""
    return [name for name in kiros_files.KIROS_FILES if not (Path(folder) / name).is_file()]


def download(folder: str | Path, names: Sequence[str], source: str = SOURCE, progress: Progress = no_progress) -> None:
    """Download files, and resume interrupted downloads.

    Args:
        folder: Folder for the files.
        names: Names of the files.
        source: Address of the folder that holds them, https; http only for a server on this machine.
        progress: Called for every megabyte.

    Raises:
        UsageError: `source` is not such an address.
        FormatError: A file cannot be downloaded, or is not the one whose hash `sha256.json` records.
        StorageError: The disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    if urlsplit(source).scheme not in ("http", "https"):
        raise UsageError(f"{source!r} is not a web address", remedy="give one that begins with https://")
    if not _is_safe(source):
        raise UsageError(
            f"{source!r} is not encrypted, so anybody on the way can change the files",
            remedy="give an address that begins with https://, or copy the files into the folder yourself",
        )
    recorded = file_hashes.read_hashes(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _download(f"{source.rstrip('/')}/{name}", folder / name, recorded.get(name), progress)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise FormatError(
            f"cannot be downloaded from {source}: {getattr(error, 'reason', None) or error}",
            path=folder / name,
            remedy="the files are from 2015 and may be offline: copy them here from someone who has them, name a mirror"
            " with --source, or train an encoder with `crnet text train`",
        ) from error
    except OSError as error:
        reason = f"cannot write: {error.strerror or error}"
        raise StorageError(reason, path=folder, remedy=write_error_remedy(error)) from error


def _is_safe(address: str) -> bool:
    """Return whether nobody between this machine and the server can change what is downloaded."""
    parts = urlsplit(address)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in THIS_MACHINE)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a server's redirections, but never to an address that is not encrypted."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _is_safe(newurl):
            raise urllib.error.URLError(f"the server redirects to {newurl[:200]!r}, which is not encrypted")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _download(address: str, path: Path, recorded: dict[str, Any] | None, progress: Progress) -> None:
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        _get(address, part, progress)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink(missing_ok=True)  # the partial download is longer than the file
        _get(address, part, progress)
    if recorded is not None and (found := sha256(part)) != recorded["sha256"]:
        part.unlink()
        raise FormatError(
            f"the server sends another file: its SHA-256 is {found}, but {file_hashes.HASHES_NAME} records"
            f" {recorded['sha256']}",
            path=path,
            remedy="name another mirror with --source",
        )
    part.replace(path)


def _get(address: str, part: Path, progress: Progress) -> None:
    """Append the rest of a file to its partial download."""
    done = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310
    with urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_S) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0  # the server ignores ranges and sends the whole file
        total = done + int(response.headers.get("Content-Length") or 0)
        with part.open("r+b" if done else "wb") as file:
            file.seek(done)
            while chunk := response.read(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                if done > LARGEST_FILE_BYTES:
                    raise http.client.HTTPException(f"the server sends more than {LARGEST_FILE_BYTES >> 30} GB")
                progress(f"downloading {part.stem} (MB)", done >> 20, max(done, total) >> 20)
    if done < total:
        raise http.client.HTTPException(
            f"the connection was lost after {done >> 20} of {total >> 20} MB; run the command again"
        )


def convert_tables(folder: str | Path, progress: Progress = no_progress) -> list[str]:
    """Write tables of pickled objects as plain numbers beside them and return the names of the new files.

    Raises:
        FormatError: A table is damaged, or contains instructions that a table does not need.
        StorageError: The folder cannot be written.
    """
    folder = Path(folder)
    new = []
    for name in kiros_files.TABLES.values():
        plain = (folder / name).with_suffix(kiros_files.PLAIN_SUFFIX)
        if not plain.is_file() and is_object_table(folder / name):
            convert_table(folder / name, plain, progress)
            new.append(plain.name)
    return new


def check(folder: str | Path, progress: Progress = no_progress) -> list[CheckedFile]:
    """Compare every file with its recorded hash, verify that the files match each other, and record new hashes.

    Raises:
        FormatError: A file has changed since the first check, is damaged, or does not match the others.
        StorageError: The folder cannot be written.
    """
    folder = Path(folder)
    plain = [name for name in map(_plain_name, kiros_files.TABLES.values()) if (folder / name).is_file()]
    names = [*kiros_files.KIROS_FILES, *plain]
    recorded = file_hashes.read_hashes(folder)
    current = {}
    for number, name in enumerate(names):
        progress("hashing", number, len(names), name)
        current[name] = file_hashes.hash_file(folder / name)
        if name in recorded and recorded[name]["sha256"] != current[name]["sha256"]:
            raise FormatError(
                f"has changed since it was first checked: its SHA-256 is {current[name]['sha256']},"
                f" it was {recorded[name]['sha256']}",
                path=folder / name,
                remedy=f"restore the old file, or delete {file_hashes.HASHES_NAME} if the change is intended",
            )
    progress("hashing", len(names), len(names))
    kiros_files.read_kiros_files(folder)
    file_hashes.write_hashes(folder, current)
    return [CheckedFile(name, record["bytes"], record["sha256"], name in recorded) for name, record in current.items()]


def _plain_name(name: str) -> str:
    return Path(name).with_suffix(kiros_files.PLAIN_SUFFIX).name
