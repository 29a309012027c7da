"""Getting and checking the published skip-thoughts files; nothing from them is run.

The authors put seven files on their university's server and published no hashes of them. So the first check writes down
the SHA-256 of what is there (`sha256.json`), and later checks compare with it: a change is noticed, a false first copy
is not. What can be checked of any copy is that the files fit each other.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from crnet.errors import FormatError, StorageError, UsageError
from crnet.text.skip_thoughts import file_hashes, kiros_files
from crnet.text.skip_thoughts.npy_object_tables import convert_table, is_object_table
from crnet.utils.files import remedy_of_writing
from crnet.utils.progress import Progress, no_progress

SOURCE = "http://www.cs.toronto.edu/~rkiros/models/"
"""Where the authors' README says the files are. Unencrypted, from 2015, and possibly gone."""

LARGEST_FILE_BYTES = 4 << 30  # the tables have some 2.3 GB each
PART_SUFFIX = ".part"
CHUNK_BYTES = 1 << 20
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Checked:
    """One file as it was found: its size, its SHA-256, and whether that was known from an earlier check."""

    name: str
    bytes: int
    sha256: str
    known: bool


def missing_files(folder: Path) -> list[str]:
    """Names of the published files that are not in a folder."""
    return [name for name in kiros_files.PUBLISHED_FILES if not (folder / name).is_file()]


def download(folder: Path, names: Sequence[str], source: str = SOURCE, progress: Progress = no_progress) -> None:
    """Download files; what a broken download left is gone on with.

    Args:
        folder: Where to.
        names: Files to get.
        source: Address of the folder they are in, http or https.
        progress: Told of every megabyte.

    Raises:
        UsageError: `source` is no such address.
        FormatError: A file cannot be had from there.
        StorageError: The disk is full or the folder cannot be written.
    """
    if urlsplit(source).scheme not in ("http", "https"):
        raise UsageError(f"{source!r} is no web address", remedy="give one that begins with https://")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in names:
            _download(f"{source.rstrip('/')}/{name}", folder / name, progress)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise FormatError(
            f"cannot be downloaded from {source}: {getattr(error, 'reason', None) or error}",
            path=folder / name,
            remedy="the files are from 2015 and may be gone: copy them here from someone who has them, name a mirror"
            " with --source, or train an encoder with `crnet text train`",
        ) from error
    except OSError as error:
        reason = f"cannot write: {error.strerror or error}"
        raise StorageError(reason, path=folder, remedy=remedy_of_writing(error)) from error


def _download(address: str, path: Path, progress: Progress) -> None:
    part = path.with_name(path.name + PART_SUFFIX)
    try:
        _get(address, part, progress)
    except urllib.error.HTTPError as error:
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        part.unlink(missing_ok=True)  # it is longer than the file
        _get(address, part, progress)
    part.replace(path)


def _get(address: str, part: Path, progress: Progress) -> None:
    """Download into a file, from where it ends."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(address, headers={"Range": f"bytes={have}-"} if have else {})  # noqa: S310
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310  # http and https only
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0  # the server sends it from its beginning
        total = have + int(answer.headers.get("Content-Length") or 0)
        with part.open("r+b" if have else "wb") as file:
            file.seek(have)
            while chunk := answer.read(CHUNK_BYTES):
                file.write(chunk)
                have += len(chunk)
                if have > LARGEST_FILE_BYTES:
                    raise http.client.HTTPException(f"it sends more than {LARGEST_FILE_BYTES >> 30} GB")
                progress(f"downloading {part.stem} (MB)", have >> 20, max(have, total) >> 20)
    if have < total:
        raise http.client.HTTPException(f"the connection broke after {have >> 20} of {total >> 20} MB; run it again")


def convert_tables(folder: Path, progress: Progress = no_progress) -> list[str]:
    """Turn tables of pickled objects into plain numbers beside them; returns the names of the new files.

    Raises:
        FormatError: A table is damaged, or asks for something that a table does not need.
        StorageError: The folder cannot be written.
    """
    new = []
    for name in kiros_files.TABLES.values():
        plain = (folder / name).with_suffix(kiros_files.PLAIN_SUFFIX)
        if not plain.is_file() and is_object_table(folder / name):
            convert_table(folder / name, plain, progress)
            new.append(plain.name)
    return new


def check(folder: Path, progress: Progress = no_progress) -> list[Checked]:
    """Compare every file with the hash of the first check, or write it down; then see whether the files fit together.

    Raises:
        FormatError: A file has changed since, is damaged, or does not fit the others.
        StorageError: The folder cannot be written.
    """
    plain = [name for name in map(_plain_name, kiros_files.TABLES.values()) if (folder / name).is_file()]
    names = [*kiros_files.PUBLISHED_FILES, *plain]
    before = file_hashes.recorded(folder)
    now = {}
    for number, name in enumerate(names):
        progress("hashing", number, len(names), name)
        now[name] = file_hashes.describe(folder / name)
        if name in before and before[name]["sha256"] != now[name]["sha256"]:
            raise FormatError(
                f"has changed since it was first checked: its SHA-256 is {now[name]['sha256']},"
                f" it was {before[name]['sha256']}",
                path=folder / name,
                remedy=f"put the old file back, or delete {file_hashes.HASHES_NAME} if the change is meant",
            )
    progress("hashing", len(names), len(names))
    kiros_files.read(folder)
    file_hashes.record(folder, now)
    return [Checked(name, about["bytes"], about["sha256"], name in before) for name, about in now.items()]


def _plain_name(name: str) -> str:
    return Path(name).with_suffix(kiros_files.PLAIN_SUFFIX).name
