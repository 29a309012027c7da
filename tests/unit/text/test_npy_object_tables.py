from __future__ import annotations

import os
import pickle
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from crnet.errors import FormatError
from crnet.text.skip_thoughts.encoder import SkipThoughts
from crnet.text.skip_thoughts.npy_object_tables import convert_table, is_object_table
from skip_thoughts_files import python2_pickle, write_kiros_files, write_object_table

TABLE = np.random.default_rng(0).normal(size=(7, 70)).astype(np.float32)


def objects(rows: list[object]) -> np.ndarray:
    table = np.empty(len(rows), dtype=object)
    table[:] = rows
    return table


def test_tables_saved_by_python_2_are_converted(tmp_path: Path) -> None:
    write_object_table(tmp_path / "old.npy", TABLE)
    content = (tmp_path / "old.npy").read_bytes()
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in content and b"T\x18\x01\x00\x00" in content
    assert is_object_table(tmp_path / "old.npy")
    assert convert_table(tmp_path / "old.npy", tmp_path / "new.npy") == (7, 70)
    np.testing.assert_array_equal(np.load(tmp_path / "new.npy", allow_pickle=False), TABLE)
    assert not is_object_table(tmp_path / "new.npy")


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4", ">f8"])
@pytest.mark.parametrize("shape", [(70,), (1, 70)])
def test_tables_saved_by_current_numpy_are_converted(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "t.npy", objects([row.reshape(shape).astype(dtype) for row in TABLE]), allow_pickle=True)
    convert_table(tmp_path / "t.npy", tmp_path / "new.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "new.npy"), TABLE)


def test_an_encoder_requires_the_converted_tables(tmp_path: Path) -> None:
    plain = SkipThoughts(write_kiros_files(tmp_path / "plain")).encode(["I know you."])
    folder = write_kiros_files(tmp_path / "objects", objects=True)
    with pytest.raises(FormatError, match=r"utable.npy: holds pickled objects.*crnet text fetch"):
        SkipThoughts(folder)
    for name in ("utable", "btable"):
        convert_table(folder / f"{name}.npy", folder / f"{name}.plain.npy")
    np.testing.assert_array_equal(SkipThoughts(folder).encode(["I know you."]), plain)


def test_memory_does_not_grow_with_the_length_of_the_vectors(tmp_path: Path) -> None:
    wide = np.zeros((40, 60_000), np.float32)  # 9.6 MB
    np.save(tmp_path / "t.npy", objects(list(wide)), allow_pickle=True)
    tracemalloc.start()
    convert_table(tmp_path / "t.npy", tmp_path / "new.npy")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000


class _Import:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("made-by-a-pickle",)


def pickled(content: bytes, rows: int = 2) -> bytes:
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({rows},), }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


ROW = np.arange(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickled(pickle.dumps(objects([ROW, _Import()]))), "refused: it imports .*mkdir"),
        (pickled(pickle.dumps(_Import(), 2)), "refused: it imports .*mkdir"),
        (pickled(pickle.dumps(objects([ROW, ROW]))), "refused: it holds a row twice"),
        (
            pickled(pickle.dumps(objects([ROW, ROW[:2].copy()]))),
            "refused: row 1 has 2 numbers, but the first row has 3",
        ),
        (pickled(pickle.dumps(objects([ROW, ROW.copy()])), 3), "refused: it holds 2 rows, but its header says 3"),
        (pickled(pickle.dumps(objects([ROW, 5.0]))), "refused: it uses the instruction BINFLOAT"),
        (pickled(pickle.dumps(objects([ROW, "word"]))), "refused: it lists something other than its rows"),
        (
            pickled(pickle.dumps(objects([ROW.astype(int), ROW]))),
            "refused: it holds a row that is not a vector of floats",
        ),
        (pickled(pickle.dumps([1, 2])), "refused"),
        (pickled(pickle.dumps({}, 2)), "refused: it uses the instruction EMPTY_DICT"),
        (pickled(b"\x80\x02T\xff\xff\xff\x7f"), "refused: one value in it has 2147483647 bytes"),
        (pickled(b"\x80\x020."), "refused: it uses the instruction POP"),
        (pickled(b"\x80\x02)q\x00" + b"h\x00\x86q\x00" * 40 + b"."), "refused: it holds a row twice"),
        (pickled(b"\x80\x02)" + b"\x85" * 60_000 + b"."), "refused: it holds a tuple that a row does not need"),
        (pickled(b"\x80\x02(" + b"N" * 17 + b"t."), "refused: it holds a tuple that a row does not need"),
        (pickled(b"\x80\x02" + b"N" * 5_000 + b"."), "refused: it has more instructions than 2 rows need"),
        (
            pickled(b"\x80\x02" + b"N" * 200_000 + b".", 10_000),
            "refused: it has more instructions than 10000 rows need",
        ),
        (pickled(b"\x80\x02" + (b"T\x00\x00\x0f\x00" + b"x" * 0xF0000) * 2), "refused: it holds a long value that is"),
        (pickled(b"\x80\x02R."), "refused: its stack runs empty"),
        (pickled(b"\x80\x02t."), "damaged, or not a table of word vectors"),
        (pickled(b"\x80\x02q\x01."), "damaged, or not a table of word vectors"),
        (pickled(b""), "damaged, or not a table of word vectors"),
        (pickled(b"", 0), "refused: it has 0 rows"),
        (b"not an array", "damaged, or not a table of word vectors"),
    ],
)
def test_bad_tables_are_refused_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.npy").write_bytes(content)
    with pytest.raises(FormatError, match=reason):
        convert_table(tmp_path / "t.npy", tmp_path / "new.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.npy"]


def test_a_header_that_ends_within_a_bracket_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "table.npy"
    write_object_table(path, TABLE)
    path.write_bytes(path.read_bytes().replace(b"(7,)", b"(7, "))  # the tokenizer waits for the bracket
    with pytest.raises(FormatError, match=r"table\.npy"):
        is_object_table(path)


def test_every_truncated_table_is_refused(tmp_path: Path) -> None:
    write_object_table(tmp_path / "whole.npy", TABLE[:2])
    whole = (tmp_path / "whole.npy").read_bytes()
    assert python2_pickle(b"x")  # the writer itself works
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.npy").write_bytes(whole[:end])
        with pytest.raises(FormatError):
            convert_table(tmp_path / "cut.npy", tmp_path / "new.npy")
