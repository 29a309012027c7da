from __future__ import annotations

import dataclasses
import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_clips import FakeSettings, fake_clip
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from crnet.data.clip_row import column_types
from crnet.data.manifest import ClipRow, Manifest, read_manifest, read_manifest_file, write_manifest
from crnet.data.store import ClipFile, as_clip_source, clip_path, read_clip, write_clip
from crnet.data.transforms import decode_frame
from crnet.errors import FormatError, StorageError
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import Clip
from crnet.utils.files import atomic_write


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    video = tmp_path / "video"
    video.write_bytes(b"content")
    return fake_clip(video, clip_id="a b.mp4", transcript="hello", encoder=HashedNgrams(), settings=FakeSettings())


@pytest.fixture
def path(tmp_path: Path, clip: Clip) -> Path:
    path = tmp_path / "clip.safetensors"
    write_clip(path, clip, fingerprint="made from this")
    return path


def assert_equal(first: Clip, second: Clip) -> None:
    for field in dataclasses.fields(Clip):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if isinstance(a, np.ndarray):
            assert a.dtype == b.dtype, field.name
            np.testing.assert_array_equal(a, b, err_msg=field.name)
        else:
            assert a == b and type(a) is type(b), field.name


def test_a_clip_reads_back_the_same(path: Path, clip: Clip) -> None:
    assert_equal(read_clip(path), clip)


def test_equal_clips_give_equal_bytes_in_any_process(path: Path, clip: Clip, tmp_path: Path) -> None:
    write_clip(tmp_path / "again", clip, fingerprint="made from this")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    code = (
        "import sys; from pathlib import Path; from crnet.data.store import read_clip, write_clip;"
        "write_clip(Path(sys.argv[2]), read_clip(Path(sys.argv[1])), fingerprint='made from this')"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", code, path, tmp_path / "other"], check=True, env=environment)
    assert (tmp_path / "other").read_bytes() == path.read_bytes()


def test_the_safetensors_package_reads_the_file(path: Path, clip: Clip) -> None:
    arrays = load_file(path)
    np.testing.assert_array_equal(arrays["time_s"], clip.time_s)
    np.testing.assert_array_equal(arrays["text"], clip.text)
    assert len(arrays) == 11
    header_bytes = struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert header_bytes % 8 == 0
    metadata = json.loads(path.read_bytes()[8 : 8 + header_bytes])["__metadata__"]
    assert metadata["format"] == "1" and metadata["origin"] == "made from this"
    assert all(isinstance(text, str) for text in metadata.values())


def test_a_clip_file_reads_its_parts_on_request(path: Path, clip: Clip) -> None:
    for source in (ClipFile(path), as_clip_source(clip)):
        assert source.jpegs("scene", [0])[0] == clip.scene_jpeg[:5].tobytes()
        assert source.jpegs("face", [11])[0] == clip.face_jpeg[55:60].tobytes()
        np.testing.assert_array_equal(source.read_audio(), clip.audio)
        np.testing.assert_array_equal(source.read_text(), clip.text)
        np.testing.assert_array_equal(source.time_s, clip.time_s)
        np.testing.assert_array_equal(source.segment, clip.segment)
        assert (source.segments, source.duration_s) == (4, clip.duration_s)
    np.testing.assert_array_equal(ClipFile(path).read_face_boxes(), clip.face_box)


def test_the_remedy_fits_the_reason_why_writing_failed(tmp_path: Path, clip: Clip, path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for target in (path / "below a file", tmp_path / "folder"):
        with pytest.raises(StorageError, match="choose another path"):
            write_clip(target, clip)
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(StorageError, match="free some space"), atomic_write(tmp_path / "full"):
        raise full


def test_a_clip_may_have_no_sound(clip: Clip, tmp_path: Path) -> None:
    silent = dataclasses.replace(clip, audio=np.zeros(0, dtype=np.int16), has_audio=False)
    write_clip(tmp_path / "silent", silent)
    assert ClipFile(tmp_path / "silent").read_audio().shape == (0,)


def edit_header(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1 and len(old) == len(new)
    path.write_bytes(content.replace(old, new))


def replace_header(path: Path, header: bytes) -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + path.read_bytes()[8:])


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("a clip, honestly"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "cut in the header": lambda path: path.write_bytes(path.read_bytes()[:100]),
    "huge header": lambda path: path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:]),
    "missing": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "header of another kind": lambda path: replace_header(path, b"[1, 2]"),
    "bottomless header": lambda path: replace_header(path, b"[" * 100_000),
    "offsets that are not numbers": lambda path: replace_header(path, b'{"time_s":{"data_offsets":["", null]}}'),
    "array outside": lambda path: replace_header(path, b'{"time_s":{"dtype":"F64","shape":[1],"data_offsets":[-8,0]}}'),
    "foreign": lambda path: edit_header(path, b'"clip_id"', b'"clap_id"'),
    "other version": lambda path: edit_header(path, b'"format":"1"', b'"format":"2"'),
    "wrong type": lambda path: edit_header(path, b'"text":{"dtype":"F32"', b'"text":{"dtype":"I32"'),
    "number that is none": lambda path: edit_header(path, b'"segments":"4"', b'"segments":"x"'),
    "another number": lambda path: edit_header(path, b'"fps":"10.0"', b'"fps":"11.0"'),
    "no content hash": lambda path: edit_header(path, b'"sha256"', b'"sha257"'),
    "one bit": lambda path: path.write_bytes(path.read_bytes()[:-20] + b"~" + path.read_bytes()[-19:]),
    "offsets that do not divide": lambda path: path.write_bytes(
        path.read_bytes().replace(struct.pack("<qq", 5, 10), struct.pack("<qq", 5, 5))
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_error_of_a_damaged_file_names_it(path: Path, kind: str) -> None:
    DAMAGE[kind](path)
    with pytest.raises(FormatError) as caught:
        read_clip(path)
    assert caught.value.path == path and caught.value.remedy
    with pytest.raises(FormatError) as caught:
        file = ClipFile(path)
        file.read_text()
        file.jpegs("scene", [0])
        file.check()
    assert caught.value.path == path and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_or_time_that_is_not_finite_is_refused(tmp_path: Path, clip: Clip, value: float) -> None:
    text, time_s = clip.text.copy(), clip.time_s.copy()
    text[7] = time_s[-1] = value
    object.__setattr__(clip, "text", text)
    write_clip(tmp_path / "text", clip)
    with pytest.raises(FormatError, match=r"text contains values that are not finite") as caught:
        ClipFile(tmp_path / "text").read_text()
    assert caught.value.path == tmp_path / "text"
    with pytest.raises(FormatError, match="text contains values that are not finite"):
        read_clip(tmp_path / "text")
    object.__setattr__(clip, "time_s", time_s)
    write_clip(tmp_path / "time", clip)
    for read in (ClipFile, read_clip):
        with pytest.raises(FormatError, match="time_s contains values that are not finite"):
            read(tmp_path / "time")


@pytest.mark.parametrize("change", [{"segments": 10**9}, {"segments": 0}, {"duration_s": -1.0}, {"duration_s": 1e12}])
def test_an_impossible_number_of_segments_or_duration_is_refused(
    tmp_path: Path, clip: Clip, change: dict[str, float]
) -> None:
    for name, value in change.items():
        object.__setattr__(clip, name, value)  # past the checks of `Clip`, which count every segment
    write_clip(tmp_path / "c", clip)
    for read in (ClipFile, read_clip):
        with pytest.raises(FormatError, match="segments and lasts"):
            read(tmp_path / "c")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_a_device_is_refused_and_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for read in (ClipFile, read_clip, read_manifest_file):
            with pytest.raises(FormatError, match="not a regular file") as caught:
                read(path)
            assert caught.value.path == path


def test_the_error_of_a_damaged_frame_names_the_remedy() -> None:
    with pytest.raises(FormatError, match="crnet prepare"):
        decode_frame(b"no picture", 16)


def test_every_clip_id_stays_inside_the_store() -> None:
    for clip_id in (
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        ".",
        "",
        "a/../../b",
        "C:\\x",
        "a\0b",
        ".hidden",
        "é" * 300,
    ):
        parts = clip_path(clip_id).split("/")
        assert len(parts) == 3 and parts[0] == "clips" and len(parts[1]) == 2
        assert not parts[2].startswith(".") and parts[2].endswith(".safetensors") and len(parts[2]) < 255
        assert "\\" not in parts[2] and "\0" not in parts[2] and ":" not in parts[2]


@given(st.text(), st.text())
def test_different_ids_have_different_paths_even_if_case_is_ignored(first: str, second: str) -> None:
    assert (clip_path(first).lower() == clip_path(second).lower()) == (first == second)


ROW = ClipRow("b", "clips/00/b", "train", (0.1, 0.2, 0.3, 0.4, 0.5, 0.7), warnings=("w",))


def test_a_manifest_reads_back_the_same_and_sorted(tmp_path: Path) -> None:
    rows = (
        ClipRow("z", "clips/00/z"),
        ClipRow("c", "clips/00/c", "test", (0.0,) * 6, "p", {"gender": "female"}, "said", 15.3, 459, 30, 32),
        ROW,
        ClipRow("a", "clips/00/a", "train", (63 / 90,) * 6, groups={"age": "old"}),
    )
    manifest = Manifest(rows, "folder", {"pixels": 112, "detection": {"every_s": 0.25}}, "abc", "hashed")
    write_manifest(tmp_path, manifest)
    again = read_manifest(tmp_path)
    assert again == manifest
    assert [row.clip_id for row in again.clips] == ["a", "b", "c", "z"]
    assert [row.clip_id for row in again.rows("train")] == ["a", "b"]
    assert [row.clip_id for row in again.rows(None)] == ["z"]
    assert again.clips[0].scores == (63 / 90,) * 6  # exact in float64
    first = (tmp_path / "manifest.parquet").read_bytes()
    write_manifest(
        tmp_path, Manifest(rows[::-1], "folder", {"detection": {"every_s": 0.25}, "pixels": 112}, "abc", "hashed")
    )
    assert (tmp_path / "manifest.parquet").read_bytes() == first


def test_a_manifest_may_be_empty(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest((), "folder", {}, "", ""))
    assert read_manifest(tmp_path).clips == ()


@pytest.mark.parametrize(
    "arguments",
    [
        {"split": "dev"},
        {"scores": (0.1,) * 5},
        {"scores": (0.1, 0.1, 0.1, 0.1, 0.1, 1.1)},
        {"scores": (0.1, 0.1, 0.1, 0.1, 0.1, float("nan"))},
        {"file": "../out"},
        {"file": "/etc/passwd"},
        {"file": ""},
    ],
)
def test_a_bad_row_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        dataclasses.replace(ROW, **arguments)


def bloated_manifest(path: Path, *, rows: int, transcript: str, warnings: int) -> None:
    """Write a small file that stands for many rows, each with the same values."""
    columns = {name: pa.array([0.5], kind) for name, kind in column_types() if pa.types.is_floating(kind)}
    columns |= {name: pa.array([1], kind) for name, kind in column_types() if pa.types.is_integer(kind)}
    columns |= {name: pa.array([transcript if name == "transcript" else "train"]) for name in TEXT_COLUMNS}
    columns["warnings"] = pa.array([["a"] * warnings], pa.list_(pa.string()))
    metadata = {"crnet.format": "1", "crnet.source": "folder", "crnet.settings": "{}"}
    schema = pa.schema(column_types(), metadata={**metadata, "crnet.fingerprint": "", "crnet.encoder": ""})
    one = pa.Table.from_arrays([columns[name] for name, _ in column_types()], schema=schema)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        group = 2_000_000 // (len(transcript) + 5 * warnings + 9)
        for start in range(0, rows, group):
            writer.write_table(one.take(pa.array(np.zeros(min(group, rows - start), np.int32))))


TEXT_COLUMNS = ("clip", "file", "split", "person", "transcript")


@pytest.mark.parametrize(
    ("rows", "transcript", "warnings", "reason"),
    [
        (2_000_000, "x", 0, "lists 2000000 clips"),
        (15_000, "x" * 20_000, 0, "its rows have more than"),
        (50_000, "x", 200, "its rows have more than"),
    ],
)
def test_a_small_manifest_of_endless_rows_is_refused_in_bounded_memory(
    tmp_path: Path, rows: int, transcript: str, warnings: int, reason: str
) -> None:
    bloated_manifest(tmp_path / "manifest.parquet", rows=rows, transcript=transcript, warnings=warnings)
    assert (tmp_path / "manifest.parquet").stat().st_size < 1 << 20
    script = (
        "import sys, pyarrow.parquet; from crnet.data.manifest import *; from crnet.errors import FormatError\n"
        "from crnet.utils.process_memory import peak_mib; before = peak_mib()\n"
        "try: read_manifest(sys.argv[1])\n"
        "except FormatError as error: print(error, peak_mib() - before, sep='|')"
    )
    run = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    message, grown_mib = run.stdout.split("|")
    assert reason in message and str(tmp_path / "manifest.parquet") in message
    assert float(grown_mib) < 500


def test_a_clip_listed_twice_is_refused() -> None:
    with pytest.raises(FormatError, match="twice"):
        Manifest((ROW, ROW), "folder", {}, "", "")


def rewritten(path: Path, change: object) -> None:
    table = pq.read_table(path)
    pq.write_table(change(table), path)  # type: ignore[operator]


def with_metadata(key: str, value: str | None) -> object:
    def change(table: pa.Table) -> pa.Table:
        metadata = dict(table.schema.metadata)
        metadata.pop(key.encode())
        return table.replace_schema_metadata(metadata if value is None else {**metadata, key: value})

    return change


MANIFEST_DAMAGE = {
    "another format version": lambda p: rewritten(p, with_metadata("crnet.format", "2")),
    "not ours": lambda p: rewritten(p, with_metadata("crnet.format", None)),
    "unknown source": lambda p: rewritten(p, with_metadata("crnet.source", "dreams")),
    "settings no json": lambda p: rewritten(p, with_metadata("crnet.settings", "{")),
    "column missing": lambda p: rewritten(p, lambda table: table.drop_columns(["openness"])),
    "column of another type": lambda p: rewritten(
        p, lambda table: table.set_column(0, "clip", pa.array([1] * len(table)))
    ),
    "score missing": lambda p: rewritten(
        p, lambda t: t.set_column(t.schema.get_field_index("openness"), "openness", pa.nulls(len(t), pa.float64()))
    ),
    "truncated": lambda p: p.write_bytes(p.read_bytes()[:-20]),
    "text": lambda p: p.write_text("no"),
    "empty": lambda p: p.write_bytes(b""),
}


@pytest.mark.parametrize("kind", MANIFEST_DAMAGE)
def test_the_error_of_a_damaged_manifest_names_it(tmp_path: Path, kind: str) -> None:
    write_manifest(tmp_path, Manifest((ROW,), "folder", {}, "", ""))
    MANIFEST_DAMAGE[kind](tmp_path / "manifest.parquet")
    with pytest.raises(FormatError) as caught:
        read_manifest(tmp_path)
    assert caught.value.path == tmp_path / "manifest.parquet" and caught.value.remedy


@pytest.mark.parametrize(("version", "remedy"), [("0", "crnet prepare"), ("x", "crnet prepare"), ("3", "newer crnet")])
def test_the_error_of_another_manifest_format_names_the_version_to_use(
    tmp_path: Path, version: str, remedy: str
) -> None:
    write_manifest(tmp_path, Manifest((ROW,), "folder", {}, "", ""))
    rewritten(tmp_path / "manifest.parquet", with_metadata("crnet.format", version))
    with pytest.raises(FormatError, match=f"format {version}") as caught:
        read_manifest(tmp_path)
    assert remedy in str(caught.value.remedy)


def test_an_unfinished_store_and_a_foreign_folder_have_different_errors(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a clip store"):
        read_manifest(tmp_path)
    (tmp_path / "clips").mkdir()
    with pytest.raises(FormatError, match="unfinished"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("column", "values"),
    [("interview", [0.7, 0.6]), ("transcript", ["b", "a"]), ("file", ["clips/00/c", "clips/00/b"]), ("frames", [2, 1])],
)
def test_a_manifest_with_the_values_of_other_clips_is_refused(
    tmp_path: Path, column: str, values: list[object]
) -> None:
    rows = tuple(
        ClipRow(name, f"clips/00/{name}", "train", (0.1,) * 5 + (score,), transcript=words, frames=frames)
        for name, score, words, frames in (("b", 0.6, "a", 1), ("c", 0.7, "b", 2))
    )
    write_manifest(tmp_path, Manifest(rows, "folder", {}, "", ""))

    def change(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(column)
        return table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))

    rewritten(tmp_path / "manifest.parquet", change)
    with pytest.raises(FormatError, match="not those that were written") as caught:
        read_manifest(tmp_path)
    assert caught.value.path == tmp_path / "manifest.parquet" and "prepare" in str(caught.value.remedy)


def test_a_manifest_that_an_earlier_version_wrote_has_no_hash(tmp_path: Path) -> None:
    write_manifest(tmp_path, Manifest((ROW,), "folder", {}, "", ""))
    rewritten(tmp_path / "manifest.parquet", with_metadata("crnet.sha256", None))
    assert read_manifest(tmp_path).clips == (ROW,)


def test_the_file_of_another_clip_is_refused(path: Path) -> None:
    assert ClipFile(path, "a b.mp4").metadata["clip_id"] == read_clip(path, "a b.mp4").clip_id == "a b.mp4"
    for read in (ClipFile, read_clip):
        with pytest.raises(FormatError, match=r"holds the clip a b\.mp4, not b\.mp4") as caught:
            read(path, "b.mp4")
        assert caught.value.path == path and caught.value.remedy
