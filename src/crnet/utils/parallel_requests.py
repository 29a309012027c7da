"""Work on many files of object storage, where each request waits for the network most of its time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from crnet.utils.storage import RemotePath

FILES_AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_files(function: Callable[[Item], Result], items: Iterable[Item], *folders: Path) -> Iterator[Result]:
    """Apply a function to files, and yield its results in order.

    Args:
        function: Reads or writes one file. If a folder is in object storage, several threads call it at a time.
        items: What it is called with; drawn by the calling thread, as they are needed.
        folders: Where the files are.
    """
    if not any(isinstance(folder, RemotePath) for folder in folders):
        yield from map(function, items)
        return
    pool = ThreadPoolExecutor(FILES_AT_ONCE)
    waiting = deque[Future[Result]]()
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) == FILES_AT_ONCE:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
