"""Open a table of scores by its name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from crnet.errors import StorageError, UsageError
from crnet.score_tables.rows import Done, ScoreTable
from crnet.utils.file_lock import exclusive
from crnet.utils.files import write_error_remedy
from crnet.utils.plugins import load_plugin

SQLITE = "sqlite:///"
SUFFIXES = (".csv", ".jsonl", ".parquet")
FORMATS = f"{', '.join(SUFFIXES)} or {SQLITE}FILE"


@contextmanager
def open_score_table(name: str, model_fingerprint: str, clips: Collection[str]) -> Iterator[tuple[ScoreTable, Done]]:
    """Open a table of scores for one run at a time, remove what a killed run left half-written, and say what is done.

    The clips of this run that failed before are removed from it, since they are scored again.

    Args:
        name: A file that ends with one of `SUFFIXES` or with the name of a plugin, or `sqlite:///FILE`, as SQLAlchemy
            writes it.
        model_fingerprint: The model that scores.
        clips: The clips of this run.

    Raises:
        UsageError: The name is of no format, or another run writes to the table.
        FormatError: It is another table, or damaged.
        StorageError: It cannot be written.
    """
    path, table = _table(name)
    done = Done(model_fingerprint)

    def is_retried(row: Mapping[str, Any]) -> bool:
        return bool(row["error"]) and row["model_fingerprint"] == model_fingerprint and row["clip"] in clips

    with ExitStack() as stack:
        try:
            remedy = "wait until it has finished, or name another file"
            stack.enter_context(exclusive(path.with_name(f".{path.name}.lock"), path, remedy))
        except OSError as error:
            reason = f"cannot write: {error.strerror or error}"
            raise StorageError(reason, path=path, remedy=write_error_remedy(error)) from error
        stack.callback(table.close)
        table.recover(done, is_retried)
        yield table, done


def _table(name: str) -> tuple[Path, ScoreTable]:
    from crnet.score_tables.line_files import CsvFile, JsonLines

    path = Path(name.removeprefix(SQLITE))
    if name.startswith(SQLITE) and path.name:
        from crnet.score_tables.sqlite import SqliteTable

        return path, SqliteTable(path)
    if "://" not in name and path.suffix == ".parquet":
        from crnet.score_tables.parquet import ParquetFolder

        return path, ParquetFolder(path)
    if "://" not in name and path.suffix in SUFFIXES:
        return path, CsvFile(path) if path.suffix == ".csv" else JsonLines(path)
    if "://" not in name and path.suffix and (plugin := load_plugin("crnet.tables", path.suffix, type)) is not None:
        table: ScoreTable = plugin(path)
        return path, table
    raise UsageError(f"no format of scores is called {name!r}", remedy=f"use a name that ends with {FORMATS}")
