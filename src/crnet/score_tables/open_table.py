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
from crnet.utils.plugins import load_plugin, plugin_errors, plugin_names
from crnet.utils.text_format import join_words

SQLITE = "sqlite:///"
SUFFIXES = (".csv", ".jsonl", ".parquet")


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
    with ExitStack() as stack:
        try:
            remedy = "wait until it has finished, or name another file"
            stack.enter_context(exclusive(path.with_name(f".{path.name}.lock"), path, remedy))
        except OSError as error:
            reason = f"cannot write: {error.strerror or error}"
            raise StorageError(reason, path=path, remedy=write_error_remedy(error)) from error
        stack.callback(table.close)
        _recover(table, done, clips)
        yield table, done


def remove_failed_rows(table: ScoreTable, done: Done, clips: Collection[str]) -> None:
    """Remove the rows of failed clips that are scored again in the course of a run.

    Args:
        table: The open table.
        done: What it holds.
        clips: The clips that are scored now.

    Raises:
        StorageError: It cannot be written.
    """
    if not done.failed.isdisjoint(clips):
        table.close()
        _recover(table, done, clips)


def _recover(table: ScoreTable, done: Done, clips: Collection[str]) -> None:
    done.inputs.clear()
    done.failed.clear()

    def is_retried(row: Mapping[str, Any]) -> bool:
        if not row["error"] or row["model_fingerprint"] != done.model_fingerprint:
            return False
        if row["clip"] not in clips:
            done.failed.add(row["clip"])
            return False
        return True

    table.recover(done, is_retried)


class _PluginTable:
    """A table of a plugin; its errors name the plugin."""

    def __init__(self, suffix: str, path: Path) -> None:
        named = plugin_errors("crnet.tables", suffix)  # also a decorator
        table: ScoreTable = named(load_plugin("crnet.tables", suffix, type))(path)
        self.recover, self.append, self.close = named(table.recover), named(table.append), named(table.close)


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
    suffixes = plugin_names("crnet.tables")
    ends = [suffix for suffix in suffixes if "://" not in name and path.name.endswith(suffix) and path.name != suffix]
    if ends:
        return path, _PluginTable(max(ends, key=len), path)
    known = join_words([*dict.fromkeys([*SUFFIXES, *suffixes]), f"{SQLITE}FILE"], "or")
    raise UsageError(f"no format of scores is called {name!r}", remedy=f"use a name that ends with {known}")
