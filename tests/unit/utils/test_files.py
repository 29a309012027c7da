"""Files that are never half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from crnet.errors import FormatError, LabelError, StorageError
from crnet.utils.files import (
    atomic_write,
    open_for_parts,
    parse_json,
    read_at_most,
    read_json,
    read_part,
    remove_leftovers,
    sha256,
    write_json,
    write_text,
)


def test_a_file_is_replaced_completely_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")

    def fail_midway() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("half of the n")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        fail_midway()
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_new_file_has_the_permissions_of_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_writing_to_an_impossible_path_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_text(tmp_path / "file" / "below", "")


def test_nan_is_never_written_to_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"score": float("nan")})
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe\x00", b"[NaN]", b"[-Infinity]", b"[" * 100_000])
def test_json_that_cannot_be_read_names_the_file(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=r"x\.json.*a bundle"):
        read_json(path, "a bundle")


def test_sha256_agrees_with_the_example_of_the_standard(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".tmp-abc.json").write_text("half")
    (tmp_path / ".tmp-folder").mkdir()
    write_text(tmp_path / "deep" / "file.txt", "whole")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".tmp-folder", "deep", "file.txt"]


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes(bytes(2 << 20))
    assert len(read_at_most(path, 2 << 20, "keep only the words")) == 2 << 20
    path.write_bytes(bytes((2 << 20) + 1))
    with pytest.raises(LabelError, match=r"larger than 2 MB \(keep only the words\)"):
        read_at_most(path, 2 << 20, "keep only the words")
    with pytest.raises(LabelError, match="cannot be read: No such file"):
        read_at_most(tmp_path / "gone", 1, "")


def test_json_is_parsed_unless_it_is_nested_too_deeply() -> None:
    assert parse_json(b'{"a": [1, 2.5]}') == {"a": [1, 2.5]}
    for brackets in ("[]", '{"a":}'):
        opening, closing = brackets[:-1], brackets[-1]
        parse_json(opening * 99 + "[]" + closing * 99)
        for depth in (101, 2000, 100_000):  # Python 3.13 reads 2000, and recursive functions cannot walk through them
            with pytest.raises(ValueError, match="nested too deeply"):
                parse_json(opening * (depth - 1) + "[]" + closing * (depth - 1))


@pytest.mark.parametrize("has_pread", [True, False])
def test_parts_of_a_file_are_read_on_every_system(
    has_pread: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "f").write_bytes(b"ab\r\ncd")
    if not has_pread:
        monkeypatch.delattr(os, "pread")  # as on Windows
    file = open_for_parts(tmp_path / "f")
    assert [read_part(file, 4, 2), read_part(file, 1, 3), read_part(file, 5, 9)] == [b"cd", b"b\r\n", b"d"]
    os.close(file)


def test_systems_without_some_signals_have_worker_processes() -> None:
    program = "import signal; del signal.SIGBUS, signal.SIGKILL; import crnet.utils.process_pool"
    subprocess.run([sys.executable, "-c", program], check=True)
