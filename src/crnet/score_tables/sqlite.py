"""Scores in a table of an SQLite database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from crnet.errors import FormatError, StorageError
from crnet.score_tables.parquet import SCHEMA
from crnet.score_tables.rows import COLUMNS, Done, IsRetried, ScoreRow

TABLE = "scores"
LOCK_TIMEOUT_S = 60.0  # another program that reads or writes the database may take so long
KEY = ("clip", "model_fingerprint", "input_fingerprint")

_TYPES = {"string": "TEXT", "int64": "INTEGER", "double": "REAL"}
_DEFINITIONS = ", ".join(f'"{column.name}" {_TYPES[str(column.type)]}' for column in SCHEMA)
_CREATE = f"CREATE TABLE IF NOT EXISTS {TABLE} ({_DEFINITIONS}, PRIMARY KEY ({', '.join(KEY)})) WITHOUT ROWID"
_INSERT = f"INSERT OR REPLACE INTO {TABLE} VALUES ({', '.join('?' for _ in COLUMNS)})"  # noqa: S608  # constants
_SELECT = f"SELECT {', '.join(KEY)}, error FROM {TABLE}"  # noqa: S608  # constants
_DELETE = f"DELETE FROM {TABLE} WHERE {' AND '.join(f'{name} = ?' for name in KEY)}"  # noqa: S608  # constants


class SqliteTable:
    """The table `scores` of a database.

    Args:
        path: The database; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._database: sqlite3.Connection | None = None

    def recover(self, done: Done, is_retried: IsRetried) -> None:
        """See `ScoreTable.recover`."""
        with self._errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = database = sqlite3.connect(self.path, timeout=LOCK_TIMEOUT_S)
            with database:
                database.execute(_CREATE)
            columns = tuple(row[1] for row in database.execute(f"PRAGMA table_info({TABLE})"))
            if columns != COLUMNS:
                reason = f"its table {TABLE} has other columns than this version writes"
                raise FormatError(reason, path=self.path, remedy="name a new database")
            retried = []
            with closing(database.execute(_SELECT)) as rows:
                for *key, error in rows:
                    cells = dict(zip((*KEY, "error"), (*key, error), strict=True))
                    if is_retried(cells):
                        retried.append(key)
                    else:
                        done.add(cells["clip"], cells["model_fingerprint"], cells["input_fingerprint"])
            with database:
                database.executemany(_DELETE, retried)

    def append(self, row: ScoreRow) -> None:
        """See `ScoreTable.append`."""
        assert self._database is not None  # noqa: S101  # `recover` comes first
        with self._errors(), self._database:
            self._database.execute(_INSERT, list(row.to_row().values()))

    def close(self) -> None:
        """See `ScoreTable.close`."""
        if self._database is not None:
            self._database.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            remedy = "choose a database in a folder with space that you may write to"
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                remedy = f"another program holds it for more than {LOCK_TIMEOUT_S:.0f} s: end it, then run again"
            raise StorageError(f"cannot write: {error}", path=self.path, remedy=remedy) from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise FormatError(f"is not an SQLite database: {error}", path=self.path, remedy="name a new one") from error
