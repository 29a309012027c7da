"""Manifests in parts: the same rows as a manifest in one file, in bounded memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crnet.data import manifest_parts
from crnet.data.clip_row import table_of
from crnet.data.clip_rows import ClipRows, place_of, scores_or_nan
from crnet.data.manifest import ClipRow, Manifest, read_manifest, write_manifest
from crnet.data.manifest_parts import Part
from crnet.data.splits import SplitProtocol, assign_splits, split_validation, training_fingerprint
from crnet.errors import FormatError
from crnet.training.stream import TrainingJob, describe
from crnet.types import SPLITS
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, tiny_training

SPLIT_OF_FIVE = ("train", "train", "val", "test", None)


def row(number: int) -> ClipRow:
    split = SPLIT_OF_FIVE[number % 5]
    return ClipRow(
        f"video{number // 4}.{number % 4:03}.mp4",
        f"clips/{number % 7:02x}/{number}.safetensors",
        split,  # type: ignore[arg-type]
        None if split is None else tuple((np.arange(6) + number % 60) / 70),
        person=None if number % 3 else f"person {number % 11}",
        groups={"gender": "female"} if number % 2 else {"age": "old"},
        transcript=f"words {number}",
        duration_s=number / 10,
        frames=number,
        faces_found=1,
        faces_looked_at=2,
        warnings=("w",) * (number % 3),
    )


WHOLE = Manifest(tuple(map(row, range(397))), "folder", {"pixels": 112}, "abc", "hashed")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A manifest of many parts, each of several row groups."""
    monkeypatch.setattr(manifest_parts, "ROWS_PER_GROUP", 23)
    write_manifest(tmp_path, WHOLE, rows_per_part=50)
    return tmp_path


def test_a_manifest_in_parts_says_what_a_manifest_in_one_file_says(store: Path) -> None:
    manifest = read_manifest(store)
    assert isinstance(manifest.clips, ClipRows) and len(list((store / "manifest").iterdir())) == 4 + 2 + 2 + 2
    assert tuple(manifest.clips) == WHOLE.clips
    assert replace(manifest, clips=()) == replace(WHOLE, clips=())
    for split in (*SPLITS, None):
        assert tuple(manifest.rows(split)) == WHOLE.rows(split)
    rows, expected = manifest.rows("val"), WHOLE.rows("val")
    assert rows[3] == expected[3] and rows[-1] == expected[-1] and tuple(rows[5:9]) == expected[5:9]
    assert place_of(rows, 3) == (expected[3].clip_id, expected[3].file)
    np.testing.assert_array_equal(scores_or_nan(manifest.clips), scores_or_nan(WHOLE.clips))


@pytest.mark.parametrize("protocol", ["official", "video-disjoint", "grouped-kfold:3:2"])
def test_splits_and_fingerprints_do_not_depend_on_the_form_of_the_manifest(store: Path, protocol: str) -> None:
    parts, whole = (assign_splits(each, SplitProtocol.parse(protocol)) for each in (read_manifest(store), WHOLE))
    assert tuple(parts.clips) == whole.clips
    assert training_fingerprint(parts) == training_fingerprint(whole)
    for one, other in zip(split_validation(parts.rows("val")), split_validation(whole.rows("val")), strict=True):
        assert tuple(one) == tuple(other)
    described = [
        describe("scene", TrainingJob(store, each, store, TINY_MODEL, TINY_TRANSFORMS, tiny_training()))
        for each in (parts, whole)
    ]
    assert described[0] == described[1]


def test_a_manifest_in_parts_can_be_written_again_and_shortened(store: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in (store / "manifest").iterdir()}
    write_manifest(store, read_manifest(store), rows_per_part=50)
    assert {path.name: path.read_bytes() for path in (store / "manifest").iterdir()} == before
    write_manifest(store, replace(WHOLE, clips=WHOLE.clips[:3]))
    assert not list((store / "manifest").iterdir()) and tuple(read_manifest(store).clips) == WHOLE.clips[:3]


def test_rows_reach_other_processes(store: Path) -> None:
    rows = read_manifest(store).rows("val")
    assert tuple(pickle.loads(pickle.dumps(rows))) == tuple(rows)


def test_an_opened_manifest_holds_a_few_bytes_a_row(tmp_path: Path) -> None:
    """Five bytes: the number and the split of each row. Beside them, 13 parts with the places of their row groups."""
    held = []
    for count in (1_000, 13_000):
        clips = tuple(row(number) for number in range(count))
        write_manifest(tmp_path / str(count), replace(WHOLE, clips=clips), rows_per_part=990)
        tracemalloc.start()
        manifest = read_manifest(tmp_path / str(count))
        assert sum(1 for _ in manifest.clips.light()) == count  # type: ignore[attr-defined]
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert held[1] - held[0] < 10 * 12_000


def first_part(store: Path) -> Path:
    return min((store / "manifest").iterdir())


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip, Path.unlink, lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_damaged_part_is_refused_by_name(store: Path, damage: object) -> None:
    damage(first_part(store))  # type: ignore[operator]
    with pytest.raises(FormatError) as caught:
        read_manifest(store)
    assert caught.value.path.parent == store / "manifest" and "crnet prepare" in str(caught.value.remedy)


def test_a_list_of_parts_that_was_edited_is_refused(store: Path) -> None:
    table = pq.read_table(store / "manifest.parquet")
    pq.write_table(table.slice(1), store / "manifest.parquet")
    with pytest.raises(FormatError, match="its parts are not those that were written"):
        read_manifest(store)


def hostile(store: Path, table: pa.Table, group: int = 4096, **changes: object) -> None:
    """Write a manifest of one part whose list has the right hashes: somebody made it on purpose."""
    (store / "manifest").mkdir(parents=True)
    path = store / "manifest" / "train-00000-0.parquet"
    pq.write_table(table, path, compression="zstd", row_group_size=group)
    part = Part(f"manifest/{path.name}", len(table), path.stat().st_size, manifest_parts.sha256(path))
    with pytest.MonkeyPatch.context() as patch:
        listed = [replace(part, **changes)]  # type: ignore[arg-type]
        patch.setattr("crnet.data.manifest.write_parts", lambda *_: listed)
        patch.setattr("crnet.data.manifest.delete_other_parts", lambda *_: None)
        write_manifest(store, WHOLE, rows_per_part=1)


def repeated(count: int, **values: object) -> pa.Table:
    one = table_of([replace(row(0), **values)])  # type: ignore[arg-type]
    return one.take(pa.array(np.zeros(count, np.int32)))


def in_splits(table: pa.Table, *splits: str) -> pa.Table:
    index = table.schema.get_field_index("split")
    return table.set_column(index, table.schema.field("split"), pa.array(splits))


READ = (
    "import sys, pyarrow.parquet; from crnet.data.manifest import *; from crnet.errors import FormatError\n"
    "from crnet.utils.process_memory import peak_mib; before = peak_mib()\n"
    "for store in sys.argv[1:]:\n"
    "    try: list(read_manifest(store).clips)\n"
    "    except FormatError as error: print(error)\n"
    "print(peak_mib() - before)"
)


def test_small_parts_that_stand_for_much_are_refused_in_bounded_memory(tmp_path: Path) -> None:
    tables = {
        "100 times its size": repeated(60_000, clip_id="x" * 5_000),  # 300 MB of names
        "its rows have more than": distinct(4_000, transcript="x" * 100_000),  # 400 MB of words
        "have more than": distinct(4_000, warnings=("w",) * 4_000),  # 16 million words
    }
    for number, table in enumerate(tables.values()):
        hostile(tmp_path / str(number), table)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")) < 1 << 20
    folders = [str(tmp_path / str(number)) for number in range(len(tables))]
    run = subprocess.run([sys.executable, "-c", READ, *folders], capture_output=True, text=True, check=True)
    *messages, grown_mib = run.stdout.splitlines()
    for message, folder, reason in zip(messages, folders, tables, strict=True):
        assert reason in message and folder in message
    assert float(grown_mib) < 300


def with_file(table: pa.Table, name: str) -> pa.Table:
    index = table.schema.get_field_index("file")
    return table.set_column(index, table.schema.field("file"), pa.array([name] * len(table)))


def distinct(count: int, **values: object) -> pa.Table:
    table = repeated(count, **values)
    names = pa.array([f"{number:05}.mp4" for number in range(count)])
    return table.set_column(0, table.schema.field("clip"), names)


@pytest.mark.parametrize(
    ("table", "changes", "reason"),
    [
        (lambda: repeated(2), {}, "listed twice"),
        (lambda: in_splits(repeated(2), "train", "val"), {}, "a clip is listed twice"),
        (lambda: distinct(2).take(pa.array([1, 0])), {}, "not in order"),
        (lambda: in_splits(distinct(2), "val", "train"), {}, "not in order"),
        (lambda: with_file(distinct(2), "../a"), {}, "not inside the store"),
        (lambda: distinct(2), {"rows": 3}, "has 2 rows instead of 3"),
        (lambda: distinct(2), {"rows": 10**7}, "lists a part of 10000000 rows"),
        (lambda: distinct(2), {"file": "../manifest/train-00000-0.parquet"}, "not inside the store"),
        (lambda: distinct(2).drop_columns(["person"]), {}, "column person is missing"),
        (lambda: distinct(20_000), {}, "row group of 20000 rows"),
    ],
)
def test_a_hostile_part_is_refused(tmp_path: Path, table: object, changes: dict[str, object], reason: str) -> None:
    hostile(tmp_path, table(), group=100_000, **changes)  # type: ignore[operator]
    with pytest.raises(FormatError, match=reason):
        read_manifest(tmp_path)


def test_long_texts_are_divided_so_that_they_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_parts, "WRITTEN_GROUP_BYTES", 1_000)
    monkeypatch.setattr(manifest_parts, "LARGEST_GROUP_BYTES", 5_000)
    rows = tuple(ClipRow(f"{number}.mp4", "clips/a", "train", (0.5,) * 6, transcript="x" * 700) for number in range(9))
    write_manifest(tmp_path, replace(WHOLE, clips=rows), rows_per_part=8)
    assert tuple(read_manifest(tmp_path).clips) == rows
