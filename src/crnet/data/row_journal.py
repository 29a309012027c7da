"""The rows of finished clips, in a file and in the order in which they come, until the manifest lists them sorted."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any

from crnet.data.clip_row import ClipRow, split_number
from crnet.data.extract import ExtractedClip
from crnet.utils.temporary_database import open_temporary_database, storage_errors

CONTENTS = "the temporary list of finished clips"
_CREATE = (
    "CREATE TABLE rows (clip TEXT PRIMARY KEY, split INTEGER, content TEXT, "
    "reused INTEGER, changed INTEGER, simulated INTEGER, wordless INTEGER) WITHOUT ROWID"
)


class RowJournal(Collection[str]):
    """Finished clips by clip id, in a database in a temporary file that ends with the process.

    Raises:
        StorageError: The disk for temporary files is full.
    """

    def __init__(self) -> None:
        self._database = open_temporary_database(_CREATE)

    def add(self, clip: ExtractedClip) -> None:
        """Add a finished clip."""
        row = clip.row
        content = json.dumps({**vars(row), "groups": dict(row.groups)})
        flags = (clip.reused, clip.changed, clip.simulated, not row.transcript.strip())
        with storage_errors(CONTENTS):
            values = (row.clip_id, split_number(row.split), content, *flags)
            self._database.execute("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?, ?, ?, ?)", values)

    def __len__(self) -> int:
        return self._count("1")

    def __contains__(self, clip_id: object) -> bool:
        return self._database.execute("SELECT 1 FROM rows WHERE clip = ?", (clip_id,)).fetchone() is not None

    def __iter__(self) -> Iterator[str]:
        yield from (clip for (clip,) in self._database.execute("SELECT clip FROM rows ORDER BY clip"))

    def count_reused(self) -> int:
        """Return the number of clips that an earlier run wrote."""
        return self._count("reused")

    def count_simulated(self) -> int:
        """Return the number of clips that show synthetic people."""
        return self._count("simulated")

    def count_wordless(self) -> int:
        """Return the number of clips without a transcript."""
        return self._count("wordless")

    def changed(self) -> Iterator[str]:
        """Yield the clips that this version reads differently, by name."""
        yield from (clip for (clip,) in self._database.execute("SELECT clip FROM rows WHERE changed ORDER BY clip"))

    def rows(self) -> Iterator[ClipRow]:
        """Yield the rows, sorted as in a manifest."""
        with storage_errors(CONTENTS):  # sorting takes space, too
            for (content,) in self._database.execute("SELECT content FROM rows ORDER BY split, clip"):
                yield _row(json.loads(content))

    def _count(self, condition: str) -> int:
        query = f"SELECT count(*) FROM rows WHERE {condition}"  # noqa: S608  # constants
        (number,) = self._database.execute(query).fetchone()
        return int(number)


def _row(values: dict[str, Any]) -> ClipRow:
    scores = values["scores"]
    return ClipRow(
        **{**values, "scores": None if scores is None else tuple(scores), "warnings": tuple(values["warnings"])}
    )
