"""Tables that need not fit into memory: a database in a temporary file without a name, which ends with the process."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from crnet.errors import StorageError


def open_temporary_database(*statements: str) -> sqlite3.Connection:
    """Return a new database; SQLite holds 2 MB of it in memory.

    Args:
        statements: SQL that creates its tables.
    """
    database = sqlite3.connect("", isolation_level=None)
    for statement in (
        *("PRAGMA journal_mode = OFF", "PRAGMA synchronous = OFF", "PRAGMA temp_store = FILE"),  # nobody reads it later
        *statements,
    ):
        database.execute(statement)
    return database


@contextmanager
def storage_errors(contents: str) -> Iterator[None]:
    """Turn errors of a full disk into a StorageError.

    Args:
        contents: What the database holds, such as "the temporary list of clips".
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        reason = f"{contents} cannot be written: {error}"
        remedy = "free some space, or name another folder in TMPDIR, then run the same command again"
        raise StorageError(reason, path=tempfile.gettempdir(), remedy=remedy) from error
