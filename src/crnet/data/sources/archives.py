"""Read zip archives member by member, also encrypted and nested ones, without trusting them.

The name of a member never becomes a path: content goes to files that the caller names. An archive is refused as a whole
if a member leaves its folder, is a link, has an absurd size, or has the name of another member. Members that are
encrypted and have no key are listed, but cannot be read.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from crnet.data.sources.archive_keys import (
    Key,
    KeyLookup,
    key_from_environment,
    key_variable,
    locked_remedy,
    wrong_key_remedy,
)
from crnet.data.sources.file_window import FileWindow
from crnet.errors import ArchiveError, DamagedArchiveError, MissingDependencyError, StorageError
from crnet.utils.extras import install_command
from crnet.utils.files import CHUNK_BYTES, write_error_remedy

MOST_MEMBERS = 200_000
LARGEST_MEMBER_BYTES = 64 << 30  # in the release, an inner zip has about 300 MB and an outer one about 7 GB
LARGEST_RATIO = 100  # unpacked to packed size; videos hardly shrink, labels by less than 10
UNLIMITED_RATIO_BYTES = 1 << 20  # below this size a high ratio is harmless
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, ..., length of the name, length of the extra field
ENCRYPTED_FLAG = 0x1
PUBLISHER = "download the archive from its publisher"
NO_KEY = "is encrypted and no key was given"
UNPACK_YOURSELF = "unpack it yourself and give the folder"


@dataclass(frozen=True)
class Member:
    """One file inside an archive, with everything that another process needs to read it.

    Attributes:
        file: The file on disk that contains the archive.
        start, size: Position and size of the archive in that file, in bytes.
        name: Name of the member in the archive.
        display_path: Path for messages.
        bytes_unpacked: Size of the content.
        crc32: CRC-32 of the content; 0 if the archive has none (AES).
        archives: Names of its archive and of the archives around that one, without `.zip`, innermost first.
        encrypted: Whether reading needs a key.
        key: The key, if reading needs one and there is one.
    """

    file: Path
    start: int
    size: int
    name: str
    display_path: str
    bytes_unpacked: int
    crc32: int
    archives: tuple[str, ...]
    encrypted: bool
    key: Key | None = None

    @property
    def is_locked(self) -> bool:
        """Whether reading needs a key and there is none."""
        return self.encrypted and self.key is None

    def chunks(self) -> Generator[bytes, None, None]:
        """Yield the content in pieces, never more than `bytes_unpacked`.

        Raises:
            ArchiveError: Damaged, locked, or longer than the archive's directory says.
        """
        if self.is_locked:
            raise ArchiveError(NO_KEY, path=self.display_path, remedy=locked_remedy(self.archives))
        total = 0
        with _archive_errors(self.display_path), _opened(self.file, self.start, self.size) as (raw, archive):
            info = archive.getinfo(self.name)
            chunks = _decrypted(raw, archive, info, self) if self.encrypted else _plain(archive, info)
            with closing(chunks):
                for chunk in chunks:
                    total += len(chunk)
                    if total > self.bytes_unpacked:
                        raise ArchiveError(
                            "unpacks to more than the archive's directory says",
                            path=self.display_path,
                            remedy=PUBLISHER,
                        )
                    yield chunk
        if total != self.bytes_unpacked:
            raise ArchiveError("ends early", path=self.display_path, remedy="download the archive again")

    def read(self, limit_bytes: int) -> bytes:
        """Return the whole content.

        Raises:
            ArchiveError: As for `chunks`, or the content is larger than `limit_bytes`.
        """
        if self.bytes_unpacked > limit_bytes:
            reason = f"has {self.bytes_unpacked} bytes, the limit is {limit_bytes}"
            raise ArchiveError(reason, path=self.display_path, remedy=UNPACK_YOURSELF)
        return b"".join(self.chunks())

    def extract(self, path: Path) -> None:
        """Write the content to `path`.

        Raises:
            ArchiveError: As for `chunks`.
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
    """A checked zip archive, whose members are safe to read.

    Args:
        file: The file on disk that contains it.
        keys: Called once if a member is encrypted.
        start, size: Position and size in the file, in bytes; by default the whole file.
        display_path: Path for messages.
        around: Names of the archives around it, without `.zip`, innermost first.

    Attributes:
        members: The members that can be read.
        locked: The members that are encrypted and have no key.

    Raises:
        ArchiveError: Damaged or dangerous, or the key is wrong.
    """

    def __init__(
        self,
        file: Path,
        keys: KeyLookup,
        *,
        start: int = 0,
        size: int | None = None,
        display_path: str | None = None,
        around: tuple[str, ...] = (),
    ) -> None:
        self.file = file
        self.display_path = str(file) if display_path is None else display_path
        self.names = (Path(self.display_path).stem, *around)
        self.start = start
        self.keys = keys
        with _archive_errors(self.display_path):
            self.size = file.stat().st_size if size is None else size
            with _opened(file, start, self.size) as (_, archive):
                infos = [info for info in archive.infolist() if not info.filename.endswith("/")]
        _check(infos, self.size, self.display_path)
        self._infos = {info.filename: info for info in infos if not _is_clutter(info.filename)}
        encrypted = any(info.flag_bits & ENCRYPTED_FLAG for info in self._infos.values())
        key = keys(self.names) if encrypted else None
        members = [self._member(info, key) for info in self._infos.values()]
        self.members = tuple(member for member in members if not member.is_locked)
        self.locked = tuple(member for member in members if member.is_locked)
        self._check_key()

    @property
    def locked_remedy(self) -> str:
        """What to do about locked members."""
        return locked_remedy(self.names)

    def _member(self, info: zipfile.ZipInfo, key: Key | None) -> Member:
        encrypted = bool(info.flag_bits & ENCRYPTED_FLAG)
        return Member(
            self.file,
            self.start,
            self.size,
            info.filename,
            f"{self.display_path}/{info.filename}",
            info.file_size,
            info.CRC,
            self.names,
            encrypted,
            key if encrypted else None,
        )

    def _check_key(self) -> None:
        """If the key is wrong, fail now instead of once for each member."""
        encrypted = [member for member in self.members if member.encrypted and member.bytes_unpacked > 0]
        if encrypted:
            with closing(min(encrypted, key=lambda member: member.bytes_unpacked).chunks()) as chunks:
                next(chunks)

    def inner(self, member: Member, unpacked: Path) -> Archive:
        """Open an archive inside this one.

        A stored archive is read in place. A compressed or encrypted one is extracted to `unpacked` and stays there.

        Raises:
            ArchiveError: Damaged, locked or dangerous, or the key is wrong.
            StorageError: The disk is full.
        """
        info = self._infos[member.name]
        keys = self._inner_keys(member)
        if info.compress_type == zipfile.ZIP_STORED and not member.encrypted:
            return Archive(
                self.file,
                keys,
                start=self._data_start(info),
                size=info.file_size,
                display_path=member.display_path,
                around=self.names,
            )
        member.extract(unpacked)
        return Archive(unpacked, keys, display_path=member.display_path, around=self.names)

    def _inner_keys(self, member: Member) -> KeyLookup:
        # The key of an encrypted outer archive also opens the inner one, unless that has its own key.
        if member.key is None:
            return self.keys
        return lambda names: key_from_environment([key_variable(names[0])]) or member.key

    def _data_start(self, info: zipfile.ZipInfo) -> int:
        with _archive_errors(self.display_path), self.file.open("rb") as file:
            file.seek(self.start + info.header_offset)
            signature, name_bytes, extra_bytes = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        if signature != b"PK\x03\x04":
            raise ArchiveError(
                "damaged: a member does not start where it should", path=self.display_path, remedy=PUBLISHER
            )
        return self.start + info.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes


@contextmanager
def _opened(file: Path, start: int, size: int) -> Iterator[tuple[IO[bytes], zipfile.ZipFile]]:
    with (
        file.open("rb") as outer,
        io.BufferedReader(FileWindow(outer, start, size)) as raw,
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
    """Yield the content of an encrypted member. Python's own reader is slow (1 MB/s) and cannot read AES."""
    try:
        from stream_unzip import PasswordError, UnzipError, stream_unzip
    except ImportError as error:
        raise MissingDependencyError(
            "reading an encrypted archive needs the package stream-unzip",
            path=member.display_path,
            remedy=f"{install_command('stream_unzip')}, or {UNPACK_YOURSELF}",
        ) from error

    def raw_bytes() -> Iterator[bytes]:
        raw.seek(info.header_offset)
        left = member.size - info.header_offset  # to the end, because stream-unzip looks for what follows a member
        while left > 0 and (chunk := raw.read(min(CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk

    assert member.key is not None  # noqa: S101  (a locked member is refused before)
    wrong_key = f"the key {member.key.source} is wrong"
    remedy = wrong_key_remedy(member.archives)
    try:
        for _, _, chunks in stream_unzip(raw_bytes(), password=member.key.value.encode(errors="surrogateescape")):
            yield from chunks
            return
    except PasswordError as error:
        archive_path = member.display_path.removesuffix(f"/{member.name}")
        raise ArchiveError(wrong_key, path=archive_path, remedy=f"{remedy}; without any key it is skipped") from error
    except UnzipError as error:
        reason = f"damaged, or {wrong_key} ({type(error).__name__})"
        raise ArchiveError(reason, path=member.display_path, remedy=f"{remedy}, or {UNPACK_YOURSELF}") from error


@contextmanager
def _archive_errors(display_path: str) -> Iterator[None]:
    """Turn everything that a damaged archive raises into an `ArchiveError`."""
    try:
        yield
    except NotImplementedError as error:
        raise ArchiveError(f"cannot be read: {error}", path=display_path, remedy=UNPACK_YOURSELF) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, struct.error, RuntimeError) as error:
        raise DamagedArchiveError(
            f"damaged: {error}", path=display_path, remedy="download the archive again"
        ) from error
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise ArchiveError(reason, path=display_path, remedy="check its permissions and its disk") from error


def _check(infos: list[zipfile.ZipInfo], archive_bytes: int, display_path: str) -> None:
    def refuse(reason: str) -> None:
        raise ArchiveError(f"refused: {reason}", path=display_path, remedy=PUBLISHER)

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
            refuse(f"member {name!r} leaves its folder")
        if stat.S_ISLNK(info.external_attr >> 16):
            refuse(f"member {name!r} is a link")
        if info.file_size > LARGEST_MEMBER_BYTES:
            refuse(f"member {name!r} has {info.file_size} bytes")
        if info.file_size > max(UNLIMITED_RATIO_BYTES, LARGEST_RATIO * info.compress_size):
            refuse(f"member {name!r} unpacks to more than {LARGEST_RATIO} times its size")


def _is_clutter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith(".")
