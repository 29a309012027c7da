"""One run at a time on a store.

On a disk, the lock is the system's lock of the folder, which ends with the process (man 2 flock).

In object storage, a lock is an object that may only be created, never replaced, so that of two runs one wins. It names
when it expires, and its owner writes it again before that. A run that was killed leaves a lock that expires; the next
run then creates the lock with the next number. A run that finds a higher number than its own has lost the folder.

Some storage does not know "create, never replace". If it says so, the lock is written without; if it ignores the
condition, the later of two runs replaces the lock of the earlier one, which finds another owner and ends.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from crnet.errors import CrnetError, StorageError
from crnet.utils.files import TEMPORARY_PREFIX, parse_json
from crnet.utils.storage import RemotePath
from crnet.utils.storage_errors import is_unsupported

LOCK_FOLDER = f"{TEMPORARY_PREFIX}lock"
EXPIRES_S = 120.0
MOST_CLOCK_SKEW_S = 10.0  # between the clocks of two machines


@contextmanager
def folder_lock(folder: Path, expires_s: float = EXPIRES_S) -> Iterator[Callable[[], None]]:
    """Hold the lock of a folder, which is created on a disk. Windows and some network drives have no such lock.

    Args:
        folder: The folder that the run writes.
        expires_s: How long a killed run keeps others out of object storage, in seconds.

    Yields:
        A function that raises StorageError once another run has taken the folder.

    Raises:
        StorageError: Another run holds the lock.
    """
    if not isinstance(folder, RemotePath):
        handle = _lock_on_disk(folder)
        try:
            yield lambda: None
        finally:
            if handle is not None:
                os.close(handle)
        return
    lock = _Lock(folder, expires_s)
    lock.take()
    stop = threading.Event()
    renewal = threading.Thread(target=lock.keep, args=(stop,), daemon=True)
    renewal.start()
    try:
        yield lock.check
    finally:
        stop.set()
        renewal.join()
        lock.release()


def _lock_on_disk(folder: Path) -> int | None:
    """Lock a folder and return the descriptor that holds the lock; None if there can be no lock."""
    try:
        import fcntl

        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None  # the run itself says why a folder cannot be written
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise _taken(folder, "it holds the lock of the folder") from error
    except OSError:
        os.close(handle)
        return None
    return handle


def _taken(folder: Path, reason: str) -> StorageError:
    return StorageError(
        f"another run writes this store: {reason}",
        path=folder,
        remedy="wait until it ends, or stop it; then run the same command again",
    )


class _Lock:
    """The lock of a folder; see the module."""

    def __init__(self, folder: RemotePath, expires_s: float) -> None:
        self._folder, self._expires_s = folder, expires_s
        self._owner = uuid4().hex
        self._number = 0
        self._is_lost = False

    def take(self) -> None:
        """Create the lock with the next number.

        Raises:
            StorageError: Another run holds the folder.
        """
        number, expires, _ = self._highest()
        left_s = expires + MOST_CLOCK_SKEW_S - time.time()
        if left_s > 0:
            raise _taken(self._folder, f"its lock ends in {left_s:.0f} s unless that run renews it")
        self._number = number + 1
        lock = self._path(self._number)
        try:
            lock.put(self._content(), exclusive=True)
        except FileExistsError:
            # A repeated request may find the object of its own first try.
            if self._is_another_owner(self._highest()[2]):
                raise _taken(self._folder, "it began at the same moment") from None
        except StorageError as error:
            if not is_unsupported(error):
                raise
            lock.put(self._content())

    def keep(self, stop: threading.Event) -> None:
        """Write the lock again before it expires, until `stop` is set."""
        while not stop.wait(self._expires_s / 4):
            # A failed renewal may succeed next time, and `check` notices a lost folder.
            with suppress(CrnetError, OSError):
                if self._is_taken_over():
                    self._is_lost = True
                    return
                self._path(self._number).put(self._content())

    def check(self) -> None:
        """Raise StorageError if another run has taken the folder."""
        if self._is_lost or self._is_taken_over():
            self._is_lost = True
            raise _taken(self._folder, "it took over because this run did not renew its lock in time")

    def release(self) -> None:
        """Delete the lock, and those of killed runs before it."""
        if not self._is_lost:
            with suppress(CrnetError, OSError):
                for number in sorted(self._numbers()):
                    if number <= self._number:
                        self._path(number).unlink(missing_ok=True)

    def _content(self) -> bytes:
        return json.dumps({"owner": self._owner, "expires": time.time() + self._expires_s}).encode()

    def _path(self, number: int) -> RemotePath:
        return self._folder / LOCK_FOLDER / f"{number}.json"

    def _numbers(self) -> set[int]:
        try:
            return {int(path.stem) for path in (self._folder / LOCK_FOLDER).iterdir() if path.stem.isdecimal()}
        except FileNotFoundError:
            return set()

    def _is_taken_over(self) -> bool:
        number, _, owner = self._highest()
        return number > self._number or (number == self._number and self._is_another_owner(owner))

    def _is_another_owner(self, owner: str) -> bool:
        return owner not in ("", self._owner)

    def _highest(self) -> tuple[int, float, str]:
        """Return the highest number, when that lock expires, in seconds since 1970, and its owner.

        Without a lock, they are 0, 0 and "".
        """
        number = max(self._numbers(), default=0)
        try:
            content = parse_json(self._path(number).read_bytes()) if number else {"expires": 0}
            return number, float(content["expires"]), str(content.get("owner", ""))
        except (FileNotFoundError, AttributeError, KeyError, TypeError, ValueError):
            return number, 0.0, ""  # released in the meantime, or not a lock
