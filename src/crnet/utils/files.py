"""Read and write files. A file appears in one step, so no reader ever sees a half-written one."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

from crnet.errors import FormatError, LabelError, StorageError
from crnet.utils.storage import RemotePath

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK_BYTES = 1 << 20  # content of any size passes through memory in pieces of this size
HASH_PIECE_BYTES = 32 << 20
LARGEST_JSON_BYTES = 64 << 20
DEEPEST_JSON = 100  # lists and objects within each other; ours are less than ten deep
TEMPORARY_PREFIX = ".tmp-"  # names of files that are still being written
_SEEKING = threading.Lock()


def write_error_remedy(error: OSError) -> str:
    """Return what the user can do about a file that could not be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space or choose another folder"
    if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY):
        return "choose another path: there is a file where a folder is needed, or a folder where the file should be"
    return "choose a folder on a working disk that you may write to"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`; on success, rename it to `path` in one step.

    After an exception or a kill, `path` is unchanged. A kill leaves the temporary file behind; see `remove_leftovers`.
    An object is written to a local file first and then stored in one step.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    if isinstance(path, RemotePath):
        with path.upload() as local:
            yield local
        return
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}")
        # The system applies the umask, which a thread cannot read without changing it for the others.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write: {error.strerror or error}",
            path=path,
            remedy=write_error_remedy(error),
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder and the folders below it.

    Object storage has none: an object appears whole.

    Raises:
        OSError: A file cannot be deleted.
    """
    if isinstance(folder, RemotePath):
        return
    for path in folder.rglob(f"{TEMPORARY_PREFIX}*"):
        if path.is_file():
            path.unlink(missing_ok=True)


@contextmanager
def leaves_no_leftovers(folder: Path) -> Iterator[None]:
    """Delete the temporary files below a folder if the work in it fails: workers that are ended leave theirs behind."""
    try:
        yield
    except BaseException:
        with suppress(OSError):
            remove_leftovers(folder)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step; see `atomic_write`."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write named arrays to a safetensors file in one step.

    safetensors writes an array's memory as it is and would scramble a transposed array, so all are made contiguous.
    """
    import numpy as np
    from safetensors.numpy import save

    write_bytes(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 in one step; see `atomic_write`. Characters that UTF-8 cannot encode are escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, document: Any) -> None:
    """Write `document` as indented JSON in one step. NaN and infinity raise ValueError."""
    write_text(path, json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def open_for_parts(path: Path) -> int:
    """Return a descriptor for `read_part`, which the caller closes."""
    return os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # Windows would else translate line ends


def read_part(file: int, start: int, size: int) -> bytes:
    """Return bytes of an open file from a position on, fewer at its end; threads may do so at the same time."""
    if hasattr(os, "pread"):
        return os.pread(file, size, start)
    with _SEEKING:  # Windows
        os.lseek(file, start, os.SEEK_SET)
        return os.read(file, size)


def require_regular_file(path: Path) -> None:
    """Refuse to open anything but a regular file: a pipe would wait for a writer forever, a device never ends.

    Raises:
        OSError: The path, after links, is something else, or does not exist.
    """
    if isinstance(path, RemotePath):
        return  # an object is nothing else, and opening it says whether it exists
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")


def read_json(path: Path, what: str) -> Any:
    """Read a JSON file that crnet wrote.

    Args:
        path: The file.
        what: What the file should be, for the error: "a bundle", "a run's configuration".

    Raises:
        FormatError: Missing, not UTF-8, or not JSON; NaN and infinity are not JSON.
    """
    try:
        require_regular_file(path)
        with path.open("rb") as file:
            content = file.read(LARGEST_JSON_BYTES + 1)
        if len(content) > LARGEST_JSON_BYTES:
            raise FormatError(f"larger than {LARGEST_JSON_BYTES >> 20} MB, so this is not {what}", path=path)
        return parse_json(content.decode("utf-8"), parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise FormatError(f"not found, so this is not {what}", path=path) from error
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot be read as {what}: {error}", path=path) from error


def parse_json(text: str | bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse JSON that may be damaged or hostile.

    Args:
        text: The document.
        parse_constant: Called with the name of a number that JSON does not have.

    Raises:
        ValueError: It is not JSON, or nested too deeply: some versions of Python read what a recursive function then
            cannot walk through.
    """
    reason = "it is nested too deeply"
    try:
        document = json.loads(text, parse_constant=parse_constant)
    except RecursionError as error:
        raise ValueError(reason) from error
    if _is_deeper(document, DEEPEST_JSON):
        raise ValueError(reason)
    return document


def _is_deeper(document: Any, limit: int) -> bool:
    values = [document]
    for _ in range(limit):
        containers = [value for value in values if isinstance(value, dict | list)]
        values = [child for value in containers for child in (value.values() if isinstance(value, dict) else value)]
    return any(isinstance(value, dict | list) for value in values)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it contains {name}, which is no number")


def file_version(path: Path) -> tuple[int, int] | None:
    """Return size and time of the last change of a file, by which a change shows; None if it cannot be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def open_at_most(path: Path, limit_bytes: int, remedy: str) -> IO[bytes]:
    """Open a file that a user gave, unless it is too large; the arguments and errors are those of `read_at_most`."""
    try:
        require_regular_file(path)
        is_too_large = path.stat().st_size > limit_bytes
        file = None if is_too_large else path.open("rb")
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise LabelError(reason, path=path, remedy="check its name and permissions") from error
    if file is None:
        raise LabelError(f"larger than {limit_bytes >> 20} MB", path=path, remedy=remedy)
    return file


def read_at_most(path: Path, limit_bytes: int, remedy: str) -> bytes:
    """Read a whole file that a user gave, unless it is too large to be what it should be.

    Args:
        path: The file.
        limit_bytes: Size of the largest file to read.
        remedy: What the user can do about a larger file, for the error.

    Raises:
        LabelError: The file is larger, missing, or cannot be read.
    """
    try:
        require_regular_file(path)
        with path.open("rb") as file:
            content = file.read(limit_bytes + 1)
    except OSError as error:
        raise LabelError(
            f"cannot be read: {error.strerror or error}", path=path, remedy="check its name and permissions"
        ) from error
    if len(content) > limit_bytes:
        raise LabelError(f"larger than {limit_bytes >> 20} MB", path=path, remedy=remedy)
    return content


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits. The file is read in bounded memory.

    Raises:
        OSError: It is missing, not a regular file, or unreadable.
    """
    require_regular_file(path)
    if isinstance(path, RemotePath):
        return hashlib.sha256(path.read_bytes()).hexdigest()
    content_hash = hashlib.sha256()
    # Large pieces, because a thread waits for the GIL after each one: long, while other threads import modules.
    piece = memoryview(bytearray(min(HASH_PIECE_BYTES, path.stat().st_size)))
    with path.open("rb", buffering=0) as file:
        while read := file.readinto(piece):
            content_hash.update(piece[:read])
    return content_hash.hexdigest()
