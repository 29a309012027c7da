"""The journal of finished clips: any order goes in, the order of a manifest comes out."""

from __future__ import annotations

import pytest

from crnet.data.clip_row import ClipRow, sort_key
from crnet.data.extract import ExtractedClip
from crnet.data.row_journal import RowJournal
from crnet.errors import StorageError

ROWS = (
    ClipRow("b.mp4", "b", "val", (0.1, 1 / 3, 0.0, 1.0, 0.7, 0.5), "p", {"age": "old"}, "yes", 1 / 7, 3, 1, 2, ("w",)),
    ClipRow("a.mp4", "clips/a", None, transcript=" "),
    ClipRow("\N{LATIN SMALL LETTER E WITH ACUTE}.mp4", "clips/e", "train", (0.5,) * 6),
    ClipRow("z.mp4", "clips/z", "train", (0.5,) * 6),
    ClipRow("\N{GRINNING FACE}.mp4", "clips/g", "train", (0.5,) * 6),  # UTF-16 would sort it before U+FFFD
    ClipRow("\N{REPLACEMENT CHARACTER}.mp4", "clips/r", "train", (0.5,) * 6),
)  # fmt: skip


def journal() -> RowJournal:
    clips = RowJournal()
    for number, row in enumerate(ROWS):
        clips.add(ExtractedClip(row, reused=number < 2, changed=number in (0, 3), simulated=number == 5))
    return clips


def test_rows_come_back_unchanged_and_sorted_as_in_a_manifest() -> None:
    assert list(journal().rows()) == sorted(ROWS, key=sort_key)


def test_a_journal_counts_its_clips() -> None:
    clips = journal()
    assert (len(clips), clips.count_reused(), clips.count_simulated(), clips.count_wordless()) == (6, 2, 1, 5)
    assert list(clips.changed()) == ["b.mp4", "z.mp4"]
    assert "a.mp4" in clips and "nowhere.mp4" not in clips
    assert sorted(clips) == sorted(row.clip_id for row in ROWS)


def test_a_full_disk_is_named() -> None:
    clips = RowJournal()
    clips._database.execute("PRAGMA max_page_count = 8")
    with pytest.raises(StorageError, match="full") as caught:
        for number in range(100):
            row = ClipRow(f"{number}.mp4", "clips/a", transcript="x" * 1_000)
            clips.add(ExtractedClip(row, reused=False, changed=False, simulated=False))
    assert "TMPDIR" in str(caught.value)
