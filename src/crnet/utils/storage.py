"""Files in object storage (`s3://`, `gs://`) behind the same methods as files on a disk.

`as_path` turns the name of a file or a folder into a `Path`, or into a `RemotePath` with the methods of `Path` that
crnet uses. Everything after it works with both. An object appears whole or not at all, as a renamed file does.

Passwords and keys never pass through here: fsspec finds them in the environment, in its own configuration files or in
those of the provider (https://filesystem-spec.readthedocs.io/en/latest/features.html#configuration).
"""

from __future__ import annotations

import errno
import io
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, TypeVar

from crnet.errors import MissingDependencyError, StorageError, UsageError
from crnet.utils.extras import install_command
from crnet.utils.storage_errors import explained, is_taken, may_pass, refuses_object_alone

if TYPE_CHECKING:
    _PathMethods = Path  # so that functions of paths take both kinds; at run time a RemotePath is no Path
else:
    _PathMethods = object

Result = TypeVar("Result")

PROTOCOLS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "memory": "fsspec"}
"""The kinds of storage, and the package that reads each."""

RETRY_WAITS_S = (0.5, 2.0, 8.0)  # the packages themselves also try several times
MERGED_GAP_BYTES = 64 << 10  # ranges closer than this are read by one request
LARGEST_OPEN_BYTES = 256 << 20  # of a file that is read whole
_NO_NAMES = frozenset(("", ".", ".."))  # parts of a key that no path can have
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}(.*)", re.DOTALL)  # `Path` drops one of two slashes


def as_path(name: Path | str) -> Path:
    """Return a local path, or the `RemotePath` of a URL.

    Raises:
        UsageError: The URL is of an unknown kind or names no bucket.
    """
    if isinstance(name, RemotePath):
        return name
    match = _URL.fullmatch(str(name))
    if match is None or (isinstance(name, Path) and name.is_absolute()):
        return Path(name)
    protocol, inside = match.groups()
    if protocol == "file":
        return Path("/" + inside)
    if protocol not in PROTOCOLS:
        if "://" not in str(name):
            return Path(name)
        known = ", ".join(f"{protocol}://" for protocol in (*PROTOCOLS, "file"))
        raise UsageError(f"unknown kind of storage: {protocol}://", path=str(name), remedy=f"use one of {known}")
    return RemotePath(f"{protocol}://{inside}")


class RemotePath(_PathMethods):
    """The name of an object, or of a folder of objects. It holds no connection and can be sent to other processes.

    Every method that reads or writes tries again after faults that may pass (a lost connection, an error of the
    server, a request to slow down).

    Raises:
        UsageError: It names no bucket, or leaves it with `..`.
        FileNotFoundError: From methods that read: there is no such object.
        StorageError: From all methods that read or write: the storage cannot be reached, refuses the credentials or is
            full.
    """

    def __init__(self, url: str, listed_bytes: int | None = None) -> None:
        protocol, _, inside = url.partition("://")
        parts = [part for part in inside.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            raise UsageError("names no folder of a bucket", path=url, remedy="write s3://BUCKET/FOLDER")
        self._protocol, self._parts = protocol, tuple(parts)
        self.listed_bytes = listed_bytes  # size in the listing that the name comes from

    def __str__(self) -> str:
        return f"{self._protocol}://{'/'.join(self._parts)}"

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RemotePath, (str(self), self.listed_bytes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: Any) -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: Any) -> RemotePath:
        return RemotePath(f"{self}/{name}")

    # The methods of `Path`, as far as crnet uses them.

    @property
    def name(self) -> str:
        """The last part."""
        return self._parts[-1]

    @property
    def stem(self) -> str:
        """The last part without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the last part, with its point."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> RemotePath:
        """The folder around it; a bucket is its own."""
        return RemotePath(f"{self._protocol}://{'/'.join(self._parts[:-1] or self._parts)}")

    def with_name(self, name: str) -> RemotePath:
        """Return the path of another object in the same folder."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        """Return the path with another suffix."""
        return self.with_name(self.stem + suffix)

    def relative_to(self, other: Any) -> PurePosixPath:  # type: ignore[override]
        """Return the part of the path below a folder."""
        return PurePosixPath("/".join(self._parts)).relative_to("/".join(other._parts))

    def as_posix(self) -> str:
        """Return the URL."""
        return str(self)

    def absolute(self) -> RemotePath:
        """Return the path itself."""
        return self

    def resolve(self, strict: bool = False) -> RemotePath:
        """Return the path itself: there are no links."""
        return self

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Do nothing: a folder exists once there is an object in it."""

    def exists(self) -> bool:
        """Whether there is such an object, or a folder with objects."""
        return self._info() is not None

    def is_file(self) -> bool:
        """Whether there is such an object."""
        info = self._info()
        return info is not None and info["type"] == "file"

    def is_dir(self) -> bool:
        """Whether there are objects in such a folder."""
        info = self._info()
        return info is not None and info["type"] == "directory"

    def stat(self, *, follow_symlinks: bool = True) -> Any:
        """Return the size of the object as `st_size`, in bytes."""
        info = self._info()
        if info is None or info["type"] != "file":
            raise FileNotFoundError(errno.ENOENT, "no such object", str(self))
        return SimpleNamespace(st_size=int(info["size"]))

    def iterdir(self) -> Iterator[RemotePath]:  # type: ignore[override]
        """Yield the objects and folders directly in this folder, by name."""
        entries = self._retry(lambda fs, key: fs.ls(key, detail=False))
        names = {entry.rpartition("/")[2] for entry in entries}
        yield from sorted(self / name for name in names - _NO_NAMES)

    def open(self, mode: str = "r", *_: Any, encoding: str | None = None, newline: str | None = None) -> IO[Any]:  # type: ignore[override]
        """Open a small object for reading; it is read whole."""
        content = io.BytesIO(self.read_bytes())
        return content if "b" in mode else io.TextIOWrapper(content, encoding=encoding, newline=newline)

    def read_text(self, encoding: str | None = None, errors: str | None = None) -> str:
        """Return the text of a small object."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def read_bytes(self) -> bytes:
        """Return the content of a small object."""
        size: int = self.stat().st_size
        if size > LARGEST_OPEN_BYTES:
            raise OSError(errno.EFBIG, f"has {size} bytes, the limit is {LARGEST_OPEN_BYTES}")
        return self.read_ranges([(0, size)])[0]

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object."""
        try:
            self._retry(lambda fs, key: fs.rm_file(key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def replace(self, target: Any) -> RemotePath:
        """Rename the object: a copy, then a deletion."""
        self._retry(lambda fs, key: fs.copy(key, "/".join(target._parts)), writing=True)
        self.unlink()
        return RemotePath(str(target))

    # What `Path` does not have.

    @property
    def bucket(self) -> str:
        """The name of the bucket."""
        return self._parts[0]

    def has_bucket(self) -> bool:
        """Whether its bucket exists, as far as the credentials allow to see that."""
        try:
            self._retry(lambda fs, key: fs.info(self.bucket))
        except FileNotFoundError:
            return False
        except StorageError:
            return True  # refused: one may be allowed to read objects, but not to look at their bucket
        return True

    def find(self) -> tuple[list[RemotePath], list[str]]:
        """Find every object below this folder.

        Returns:
            The objects in a stable order, whose `listed_bytes` are their sizes, and the keys that cannot be paths.
        """
        found = self._retry(lambda fs, key: fs.find(key, detail=True))
        below, odd = list[RemotePath](), list[str]()
        for key, info in found.items():
            _, _, inside = key.lstrip("/").partition("/")
            if not _NO_NAMES.isdisjoint(inside.rstrip("/").split("/")):
                odd += [key] if inside else []
            elif not key.endswith("/"):
                below.append(RemotePath(f"{self._protocol}://{self.bucket}/{inside}", int(info["size"] or 0)))
        return sorted(below), sorted(odd)

    def read_ranges(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """Return parts of the object, each from a start to before an end. Ranges close to each other share a request.

        Raises:
            OSError: The object ends before a range does.
        """
        merged = _merge([(start, end) for start, end in ranges if start < end])
        starts, ends = [start for start, _ in merged], [end for _, end in merged]
        parts = self._retry(lambda fs, key: fs.cat_ranges([key] * len(merged), starts, ends, on_error="raise"))
        content = dict(zip(merged, parts, strict=True))
        found = []
        for start, end in ranges:
            if start == end:
                found.append(b"")
                continue
            around = next(whole for whole in merged if whole[0] <= start and end <= whole[1])
            part = content[around][start - around[0] : end - around[0]]
            if len(part) != end - start:
                raise OSError(errno.EIO, f"it ends before byte {end}")
            found.append(part)
        return found

    def put(self, content: bytes, *, exclusive: bool = False) -> None:
        """Write the object in one step.

        Args:
            content: Its content.
            exclusive: Whether there must be no such object yet.

        Raises:
            FileExistsError: There is one, and `exclusive` is set.
        """
        mode = "create" if exclusive else "overwrite"
        self._retry(lambda fs, key: fs.pipe_file(key, content, mode=mode), writing=True)

    def download(self, target: Path, limit_bytes: int) -> None:
        """Copy the object to a local file.

        Raises:
            OSError: It is larger than the limit, or the storage refuses this object alone.
        """
        size = self.stat().st_size
        if size > limit_bytes:
            raise OSError(errno.EFBIG, f"has {size >> 20} MB, the limit is {limit_bytes >> 20} MB")
        try:
            self._retry(lambda fs, key: fs.get_file(key, str(target)))
        except StorageError as error:
            if refuses_object_alone(error):
                raise OSError(errno.EACCES, " ".join(str(error.__cause__).split())) from error
            raise
        if target.stat().st_size != size:
            raise OSError(errno.EIO, "changed while it was read")

    @contextmanager
    def upload(self) -> Iterator[Path]:
        """Yield a local file; on success, its content becomes the object in one step."""
        with tempfile.TemporaryDirectory(prefix="crnet-") as folder:
            local = Path(folder, "object" + self.suffix)
            local.touch()
            yield local
            self._retry(lambda fs, key: fs.put_file(str(local), key), writing=True)

    def _info(self) -> dict[str, Any] | None:
        try:
            return self._retry(lambda fs, key: fs.info(key))
        except FileNotFoundError:
            return None

    def _retry(self, call: Callable[[Any, str], Result], writing: bool = False) -> Result:
        """Call a function of a file system and a key, again after faults that may pass."""
        for wait_s in (*RETRY_WAITS_S, None):
            try:
                return call(self._filesystem(), "/".join(self._parts))
            except FileNotFoundError as error:
                if writing:
                    reason, remedy = f"there is no bucket {self.bucket}", "create it, or check its name"
                    raise StorageError(reason, path=self, remedy=remedy) from error
                raise
            except FileExistsError:
                raise
            except Exception as error:  # the packages raise errors of their own kinds
                if is_taken(error):
                    raise FileExistsError(errno.EEXIST, "exists already", str(self)) from error
                if wait_s is None or not may_pass(error):
                    raise explained(error, self) from error
                time.sleep(wait_s * random.uniform(0.5, 1))  # noqa: S311  # so that workers do not all come back at once
        raise AssertionError

    def _filesystem(self) -> Any:
        """Return the file system; fsspec keeps one for each process."""
        package = PROTOCOLS[self._protocol]
        try:
            import fsspec

            # A listing must show what other processes wrote. `url_to_fs` would take `::` in a name for a chain of URLs.
            return fsspec.filesystem(self._protocol, use_listings_cache=False)
        except ImportError as error:
            reason = f"reading {self._protocol}:// needs the package {package}"
            raise MissingDependencyError(reason, path=self, remedy=install_command(package)) from error


def _merge(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start - merged[-1][1] <= MERGED_GAP_BYTES:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
