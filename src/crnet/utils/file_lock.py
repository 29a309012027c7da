"""Keep a second run off the files that a run writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crnet.errors import UsageError


@contextmanager
def exclusive(lock: Path, output: Path, remedy: str) -> Iterator[None]:
    """Hold a lock, which ends with this process at the latest; Windows has no such lock.

    Args:
        lock: The lock file. It stays.
        output: The file or folder that the lock stands for.
        remedy: What the user can do if another run holds it.

    Raises:
        UsageError: Another run holds it.
        OSError: The folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError("another run writes here", path=output, remedy=remedy) from error
        yield
