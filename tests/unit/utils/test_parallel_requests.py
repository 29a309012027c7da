"""Several requests to object storage at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from crnet.utils.parallel_requests import FILES_AT_ONCE, map_files
from crnet.utils.storage import RemotePath

FOLDER = RemotePath("memory://parallel/requests")
PATIENCE_S = 60


def test_files_of_object_storage_are_read_at_a_time_and_come_in_order() -> None:
    together = threading.Barrier(FILES_AT_ONCE)

    def read(number: int) -> int:
        together.wait(PATIENCE_S)  # fails unless so many come at a time
        return number * number

    assert list(map_files(read, range(2 * FILES_AT_ONCE), Path("here"), FOLDER)) == [
        number * number for number in range(2 * FILES_AT_ONCE)
    ]


def test_files_on_a_disk_are_read_one_after_another_by_the_caller() -> None:
    threads = map_files(lambda _: threading.get_ident(), range(3), Path("here"))
    assert set(threads) == {threading.get_ident()}


def test_no_more_files_are_drawn_than_are_read_at_a_time_and_an_error_ends_it() -> None:
    drawn = []

    def items() -> Iterator[int]:
        for number in range(1000):
            drawn.append(number)
            yield number

    def fail(number: int) -> None:
        raise ValueError(number)

    with pytest.raises(ValueError, match="0"):
        list(map_files(fail, items(), FOLDER))
    assert len(drawn) == FILES_AT_ONCE
