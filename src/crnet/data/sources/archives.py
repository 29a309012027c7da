"""Zip archives, also inside one another and encrypted, read member by member and never trusted.

A member's name never becomes a path: contents go to files that the caller names. Archives with members that climb
out of their folder, links, doubled names or absurd sizes are refused as a whole.
"""

from __future__ import annotations

import getpass
import io
import os
import re
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from crnet.errors import ArchiveError, DamagedArchiveError, MissingDependencyError, StorageError
from crnet.utils.files import write_error_remedy

KEY_VARIABLE = "CRNET_FIV2_KEY"
CHUNK_BYTES = 1 << 20
MOST_MEMBERS = 200_000
LARGEST_MEMBER_BYTES = 64 << 30  # an inner zip of the release has some 300 MB, an outer one some 7 GB
LARGEST_RATIO = 100  # unpacked to packed; videos hardly shrink, labels by less than 10
FREE_OF_RATIO_BYTES = 1 << 20  # below this size a high ratio is harmless
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field
ENCRYPTED_FLAG = 0x1
PUBLISHER = "get the archive from its publisher"
UNPACK_YOURSELF = "unpack it yourself and give the folder"

Keys = Callable[[str], str]
"""Given an archive's name without `.zip`, its key. Raises ArchiveError if there is none."""


@dataclass(frozen=True)
class Member:
    """One file inside an archive, enough to read it from another process.

    Attributes:
        file: The file on disk that holds the archive.
        start, size: Where in that file the archive lies, in bytes.
        name: The member's name in the archive.
        shown: Path for messages.
        bytes_unpacked: Its size.
        crc32: Of the content; 0 where the archive keeps none (AES).
        encrypted: Whether a key is needed.
        key: The key, if the archive needs one.
    """

    file: Path
    start: int
    size: int
    name: str
    shown: str
    bytes_unpacked: int
    crc32: int
    encrypted: bool
    key: str | None = field(default=None, repr=False)

    def chunks(self) -> Generator[bytes, None, None]:
        """The content, piece by piece, never more than `bytes_unpacked`.

        Raises:
            ArchiveError: Damaged, locked, or longer than announced.
        """
        total = 0
        with _reporting(self.shown), _opened(self.file, self.start, self.size) as (raw, archive):
            info = archive.getinfo(self.name)
            read = _decrypted(raw, archive, info, self) if self.encrypted else _plain(archive, info)
            with closing(read):
                for chunk in read:
                    total += len(chunk)
                    if total > self.bytes_unpacked:
                        raise ArchiveError(
                            "unpacks to more than the archive announces", path=self.shown, remedy=PUBLISHER
                        )
                    yield chunk
        if total != self.bytes_unpacked:
            raise ArchiveError("ends early", path=self.shown, remedy="download the archive again")

    def read(self, limit_bytes: int) -> bytes:
        """The whole content.

        Raises:
            ArchiveError: As `chunks`, or larger than `limit_bytes`.
        """
        if self.bytes_unpacked > limit_bytes:
            reason = f"has {self.bytes_unpacked} bytes, at most {limit_bytes} are read"
            raise ArchiveError(reason, path=self.shown, remedy=UNPACK_YOURSELF)
        return b"".join(self.chunks())

    def extract(self, path: Path) -> None:
        """Write the content to `path`.

        Raises:
            ArchiveError: As `chunks`.
            StorageError: The disk is full or the file cannot be written.
        """
        with closing(self.chunks()) as chunks:
            try:
                with path.open("wb") as file:
                    for chunk in chunks:
                        file.write(chunk)
            except OSError as error:
                reason = f"cannot unpack: {error.strerror or error}"
                raise StorageError(reason, path=path, remedy=write_error_remedy(error)) from error


class Archive:
    """A zip archive that has been checked: its members are safe to read.

    Args:
        file: The file on disk that holds it.
        keys: Called once if a member is encrypted.
        start, size: Where in the file it lies; the whole file by default.
        shown: Path for messages.

    Raises:
        ArchiveError: Damaged or dangerous.
    """

    def __init__(
        self, file: Path, keys: Keys, *, start: int = 0, size: int | None = None, shown: str | None = None
    ) -> None:
        self.file = file
        self.shown = str(file) if shown is None else shown
        self.start = start
        self.keys = keys
        with _reporting(self.shown):
            self.size = file.stat().st_size if size is None else size
            with _opened(file, start, self.size) as (_, archive):
                infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
        _check(infos, self.size, self.shown)
        encrypted = any(info.flag_bits & ENCRYPTED_FLAG for info in infos)
        key = keys(Path(self.shown).stem) if encrypted else None
        self._infos = {info.filename: info for info in infos}
        self.members = tuple(self._member(info, key) for info in infos if not _is_clutter(info.filename))
        self._check_key()

    def _member(self, info: zipfile.ZipInfo, key: str | None) -> Member:
        encrypted = bool(info.flag_bits & ENCRYPTED_FLAG)
        return Member(
            self.file,
            self.start,
            self.size,
            info.filename,
            f"{self.shown}/{info.filename}",
            info.file_size,
            info.CRC,
            encrypted,
            key if encrypted else None,
        )

    def _check_key(self) -> None:
        """Fail now, not once for each member, if the key is wrong."""
        locked = [member for member in self.members if member.encrypted and member.bytes_unpacked > 0]
        if locked:
            with closing(min(locked, key=lambda member: member.bytes_unpacked).chunks()) as chunks:
                next(chunks)

    def inner(self, member: Member, spill: Path) -> Archive:
        """An archive inside this one.

        A stored one is read in place; a packed or encrypted one is unpacked to `spill` first (and left there).

        Raises:
            ArchiveError: Damaged, locked or dangerous.
            StorageError: The disk is full.
        """
        info = self._infos[member.name]
        if info.compress_type == zipfile.ZIP_STORED and not member.encrypted:
            return Archive(
                self.file,
                self._inner_keys(member),
                start=self._data_start(info),
                size=info.file_size,
                shown=member.shown,
            )
        member.extract(spill)
        return Archive(spill, self._inner_keys(member), shown=member.shown)

    def _inner_keys(self, member: Member) -> Keys:
        # Where the outer archive is locked, the same key opens what is inside, unless that has its own.
        return (
            self.keys if member.key is None else lambda stem: key_from_environment(stem, exact=True) or str(member.key)
        )

    def _data_start(self, info: zipfile.ZipInfo) -> int:
        with _reporting(self.shown), self.file.open("rb") as file:
            file.seek(self.start + info.header_offset)
            signature, name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise ArchiveError("damaged: a member does not start where it should", path=self.shown, remedy=PUBLISHER)
        return self.start + info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes


def key_from_environment(stem: str, *, exact: bool = False) -> str | None:
    """The key of an archive: `CRNET_FIV2_KEY_<NAME>` or, unless `exact`, `CRNET_FIV2_KEY`.

    `<NAME>` is the archive's name without `.zip`, in capitals, everything but letters and digits an underscore.
    """
    own = f"{KEY_VARIABLE}_{re.sub('[^A-Z0-9]', '_', stem.upper())}"
    return os.environ.get(own) or (None if exact else os.environ.get(KEY_VARIABLE)) or None


def ask_for_key(stem: str) -> str:
    """The default `Keys`: from the environment, or typed in where there is a terminal.

    Raises:
        ArchiveError: There is no key.
    """
    key = key_from_environment(stem)
    if key is None and sys.stdin is not None and sys.stdin.isatty():
        key = getpass.getpass(f"Key of {stem}.zip (from the organisers): ")
    if not key:
        own = f"{KEY_VARIABLE}_{re.sub('[^A-Z0-9]', '_', stem.upper())}"
        raise ArchiveError(
            "is encrypted and no key was given", path=f"{stem}.zip", remedy=f"set {own} or {KEY_VARIABLE}"
        )
    return key


class _Window(io.RawIOBase):
    """Part of a file as a file of its own, read only."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError("before the start")  # what zipfile expects of a file that is too short
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._start + self._at)
        read = self._file.read(wanted)
        buffer[: len(read)] = read
        self._at += len(read)
        return len(read)


@contextmanager
def _opened(file: Path, start: int, size: int) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
    with (
        file.open("rb") as whole,
        io.BufferedReader(_Window(whole, start, size)) as raw,
        zipfile.ZipFile(raw) as archive,
    ):
        yield raw, archive


def _plain(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Generator[bytes, None, None]:
    with archive.open(info) as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _decrypted(
    raw: IO[bytes], archive: zipfile.ZipFile, info: zipfile.ZipInfo, member: Member
) -> Generator[bytes, None, None]:
    """One encrypted member. Python's own reader does about 1 MB/s and no AES; stream-unzip is compiled."""
    try:
        from stream_unzip import PasswordError, UnzipError, stream_unzip
    except ImportError as error:
        raise MissingDependencyError(
            "reading an encrypted archive needs the package stream-unzip",
            path=member.shown,
            remedy=f"pip install 'crnet[release]', or {UNPACK_YOURSELF}",
        ) from error

    def packed() -> Iterator[bytes]:
        raw.seek(info.header_offset)
        left = member.size - info.header_offset  # to the end: past the last member, stream-unzip looks for what follows
        while left > 0 and (chunk := raw.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk

    try:
        for _, _, chunks in stream_unzip(packed(), password=str(member.key).encode()):
            yield from chunks
            return
    except PasswordError as error:
        raise ArchiveError("the key is wrong", path=member.shown, remedy=f"see {KEY_VARIABLE}") from error
    except UnzipError as error:
        raise ArchiveError(
            f"damaged, or the key is wrong ({type(error).__name__})", path=member.shown, remedy=UNPACK_YOURSELF
        ) from error


@contextmanager
def _reporting(shown: str) -> Iterator[None]:
    """Turn whatever a damaged archive raises into an `ArchiveError`."""
    try:
        yield
    except NotImplementedError as error:
        raise ArchiveError(f"cannot be read: {error}", path=shown, remedy=UNPACK_YOURSELF) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, struct.error, RuntimeError) as error:
        raise DamagedArchiveError(f"damaged: {error}", path=shown, remedy="download the archive again") from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise ArchiveError(reason, path=shown, remedy="check its rights and its disk") from error


def _check(infos: list[zipfile.ZipInfo], archive_bytes: int, shown: str) -> None:
    def refuse(reason: str) -> None:
        raise ArchiveError(f"refused: {reason}", path=shown, remedy=PUBLISHER)

    if len(infos) > MOST_MEMBERS:
        refuse(f"{len(infos)} members")
    if len({info.filename for info in infos}) != len(infos):
        refuse("two members have the same name")
    if sum(info.compress_size for info in infos) > archive_bytes:
        refuse("its members overlap")
    for info in infos:
        name = info.filename
        if not PurePosixPath(name).parts:
            refuse("a member has no name")
        if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts or re.match("[A-Za-z]:", name):
            refuse(f"member {name!r} climbs out of its folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            refuse(f"member {name!r} is a link")
        if info.file_size > LARGEST_MEMBER_BYTES:
            refuse(f"member {name!r} has {info.file_size} bytes")
        if info.file_size > max(FREE_OF_RATIO_BYTES, LARGEST_RATIO * info.compress_size):
            refuse(f"member {name!r} unpacks to more than {LARGEST_RATIO} times its size")


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith(".")
