from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.data import csv_table
from crnet.data.sources import csv_folder
from crnet.data.sources.csv_folder import open_folder
from crnet.data.sources.dataset import Dataset, Failure, VideoGroup
from crnet.data.sources.open_dataset import open_dataset
from crnet.data.video_files import find_files
from crnet.errors import LabelError, UsageError
from crnet.types import TARGETS

HEADER = "clip,split,person," + ",".join(TARGETS) + ",transcript,group_age"


def read_videos(dataset: Dataset, work: Path) -> dict[str, Path]:
    (group,) = (group for group in dataset.video_groups(work) if isinstance(group, VideoGroup))
    return {video.clip_id: video.location for video in group.videos}  # type: ignore[misc]


def write(root: Path, text: str, *videos: str, encoding: str = "utf-8") -> Path:
    for name in videos:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"video")
    (root / "clips.csv").write_bytes(text.encode(encoding))
    return root / "clips.csv"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_table_of_clips(tmp_path: Path, encoding: str, delimiter: str, newline: str) -> None:
    rows = [
        HEADER,
        "a.mp4,train,ann,0,0.2,0.3,0.4,0.5,1,Hello [noise]  you,old",
        "sub/b.MOV,val,,0.1,0.2,0.3,0.4,0.5,0.6,,",
        "c.mp4,,,,,,,,,,",
        "",
    ]
    text = newline.join(rows).replace(",", delimiter)
    write(tmp_path, text, "a.mp4", "sub/b.MOV", "c.mp4", encoding=encoding)
    dataset = open_folder(tmp_path)
    a, b, c = dataset.clips.values()
    assert (a.clip_id, a.split, a.person, a.transcript, a.groups) == (
        "a.mp4",
        "train",
        "ann",
        "Hello you",
        {"age": "old"},
    )
    assert a.scores == (0.0, 0.2, 0.3, 0.4, 0.5, 1.0)
    assert (b.clip_id, b.split, b.person, b.groups) == ("sub/b.MOV", "val", None, {})
    assert (c.split, c.scores) == (None, None)
    assert dataset.source == "folder"
    assert read_videos(dataset, tmp_path) == {name: tmp_path / name for name in ("a.mp4", "sub/b.MOV", "c.mp4")}
    assert open_dataset(tmp_path / "clips.csv").clips == dataset.clips


def test_quotes_and_the_smallest_table(tmp_path: Path) -> None:
    write(tmp_path, 'clip\n"a, b.mp4"\n./c.mp4\nd\\e.mp4\n', "a, b.mp4", "c.mp4", "d/e.mp4")
    dataset = open_folder(tmp_path)
    assert set(read_videos(dataset, tmp_path)) == {"a, b.mp4", "c.mp4", "d/e.mp4"} == set(dataset.clips)


SCORES = "0.1,0.2,0.3,0.4,0.5,0.6"
TARGET_HEADER = "clip,split," + ",".join(TARGETS)

BAD = {
    "duplicate id": ("clip\na.mp4\nb.mp4\n./a.mp4\n", 4, "already in line 2"),
    "score above 1": (f"{TARGET_HEADER}\na.mp4,train,{SCORES[:-3]}1.01\n", 2, "interview is 1.01"),
    "score below 0": (f"{TARGET_HEADER}\na.mp4,train,-0.1,{SCORES[4:]}\n", 2, "extraversion is -0.1"),
    "NaN": (f"{TARGET_HEADER}\nb.mp4,val,{SCORES}\na.mp4,train,nan,{SCORES[4:]}\n", 3, "extraversion is nan"),
    "infinite": (f"{TARGET_HEADER}\na.mp4,train,inf,{SCORES[4:]}\n", 2, "extraversion is inf"),
    "decimal comma": (f"{TARGET_HEADER}\na.mp4,train,0,{SCORES}\n", 2, "has 9 cells, the header 8"),
    "underscore": (f"{TARGET_HEADER}\na.mp4,train,0_1,{SCORES[4:]}\n", 2, "extraversion '0_1' is not a number"),
    "digits of another script": (f"{TARGET_HEADER}\na.mp4,train,\u0661,{SCORES[4:]}\n", 2, "is not a number"),
    "hexadecimal": (f"{TARGET_HEADER}\na.mp4,train,0x1p-1,{SCORES[4:]}\n", 2, "is not a number"),
    "zero byte in the header": ("c\0l\0i\0p\0\n", 1, "contains a zero byte"),
    "zero byte in line 3": ("clip\na.mp4\nb\0.mp4\n", 3, "contains a zero byte"),
    "no number": (f"{TARGET_HEADER}\na.mp4,train,high,{SCORES[4:]}\n", 2, "'high' is not a number"),
    "some targets in the header": ("clip,openness,interview\na.mp4,0.1,0.2\n", 1, "lacks extraversion"),
    "some targets in a row": (f"{TARGET_HEADER}\na.mp4,train,{SCORES[:-3]}\n", 2, "no score for interview"),
    "unknown split": (f"{TARGET_HEADER}\na.mp4,dev,{SCORES}\n", 2, "split 'dev' is unknown"),
    "split without scores": ("clip,split\na.mp4,train\n", 2, "without scores"),
    "no clip column": ("file,split\na.mp4,train\n", 1, "no column clip"),
    "empty": ("", 1, "is empty"),
    "header only": ("clip,split\n", 1, "lists no clip"),
    "column twice": ("clip,split,split\na.mp4,,\n", 1, "split twice"),
    "leaves its folder": ("clip\n../a.mp4\n", 2, "not inside"),
    "leaves its folder from within": ("clip\nb/../../a.mp4\n", 2, "not inside"),
    "absolute": ("clip\n/etc/a.mp4\n", 2, "not inside"),
    "URL": ("clip\ns3://bucket/a.mp4\n", 2, "is a URL"),
    "other drive": ("clip\nC:\\a.mp4\n", 2, "not inside"),
    "zero byte": ("clip\na\0.mp4\n", 2, ""),
    "no id": ("clip,split\n,train\n", 2, "has no clip"),
    "too few cells": (f"{TARGET_HEADER}\na.mp4,train\n", 2, "has 2 cells"),
    "open quote": ('clip,transcript\nb.mp4,x\na.mp4,"never ends\n', 3, ""),
    "line after a long cell": ('clip,transcript\na.mp4,"two\nlines"\na.mp4,x\n', 4, "already in line 2"),
    "huge cell": (f"clip,transcript\na.mp4,{'x' * 200_000}\n", 2, "field larger"),
}


@pytest.mark.parametrize("kind", BAD)
def test_the_error_of_a_bad_table_has_file_line_and_remedy(tmp_path: Path, kind: str) -> None:
    text, line, reason = BAD[kind]
    path = write(tmp_path, text, "a.mp4", "b.mp4")
    with pytest.raises(LabelError) as caught:
        open_folder(tmp_path)
    error = caught.value
    assert error.path == path and error.remedy
    assert f"line {line} " in error.reason and reason in error.reason
    assert len(str(error).splitlines()) == 1


ROW = f"a.mp4,train,{SCORES}"


@pytest.mark.parametrize(
    ("table", "remedy"),
    [
        (f"{TARGET_HEADER}\n{ROW},,\n", "remove the separators at the end of the line"),
        (f"{TARGET_HEADER}\n{ROW.replace(',', ';')}\n", "separate all lines with the same character as the header"),
        (f"{TARGET_HEADER}\n{ROW.replace('.', ',')}\n", "write numbers with a decimal point, like 0.5"),
        (f"{TARGET_HEADER}\n{ROW},x\n", "quote cells that hold a separator"),
        (f"{TARGET_HEADER}\na.mp4,train,0.1\n", "add the missing cells"),
        (f"{TARGET_HEADER}\n{ROW}\n".replace(",", ";").replace("0.1", "0,1"), "write numbers like 0.5, with a point"),
    ],
)
def test_the_remedy_fits_the_separators(tmp_path: Path, table: str, remedy: str) -> None:
    write(tmp_path, table, "a.mp4")
    with pytest.raises(LabelError, match="line 2 ") as caught:
        open_folder(tmp_path)
    assert remedy in str(caught.value.remedy)


@pytest.mark.parametrize("number", ["0.25", ".25", "+0.25", "2.5e-1", "25E-2", " 0.25 ", "0.250000"])
def test_numbers_as_spreadsheets_write_them(tmp_path: Path, number: str) -> None:
    write(tmp_path, f"{TARGET_HEADER}\na.mp4,train,{number},{SCORES[4:]}\n", "a.mp4")
    assert open_folder(tmp_path).clips["a.mp4"].scores == (0.25, 0.2, 0.3, 0.4, 0.5, 0.6)


def test_separators_after_the_last_column_of_every_line_are_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, f"{TARGET_HEADER},,\n{ROW},,\n", "a.mp4")
    with caplog.at_level(logging.WARNING):
        assert open_folder(tmp_path).clips["a.mp4"].split == "train"
    assert not caplog.records


def test_a_table_in_another_encoding_names_the_line(tmp_path: Path) -> None:
    write(tmp_path, "clip,transcript\na.mp4,x\nb.mp4,né\n", "a.mp4", encoding="latin1")
    with pytest.raises(LabelError, match="line 3 is not UTF-8"):
        open_folder(tmp_path)


def test_a_huge_table_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "LARGEST_CSV_BYTES", 20)
    write(tmp_path, "clip\n" + "a.mp4\n" * 10, "a.mp4")
    with pytest.raises(LabelError, match="larger than"):
        open_folder(tmp_path)


def test_one_of_several_tables_must_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, "clip\na.mp4\n", "a.mp4")
    (tmp_path / "more.csv").write_text("clip\na.mp4\n")
    with pytest.raises(LabelError, match=r"clips\.csv, more\.csv"):
        open_folder(tmp_path)
    assert set(open_dataset(tmp_path / "more.csv").clips) == {"a.mp4"}


def test_clips_without_video_and_videos_without_clip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "clip,mood\na.mp4,x\ngone.mp4,x\n", "a.mp4", "unlisted.mp4")
    with caplog.at_level(logging.WARNING):
        dataset = open_folder(tmp_path)
    assert set(dataset.clips) == {"a.mp4", "gone.mp4"} and set(read_videos(dataset, tmp_path)) == {"a.mp4"}
    assert dataset.expected_path("gone.mp4") == str(tmp_path / "gone.mp4")
    assert "mood" in caplog.text
    failures = [group for group in dataset.video_groups(tmp_path) if isinstance(group, Failure)]
    assert [(failure.clip, failure.reason) for failure in failures] == [("unlisted.mp4", "has no row in the CSV")]


def test_a_row_may_name_any_file_in_the_folder(tmp_path: Path) -> None:
    names = ["a.gif", ".hidden.mp4", ".hidden/b.mp4", "c.video", "\u00e9.mp4", "e\u0301e.GIF"]
    on_disk = [*names[:4], "e\u0301.mp4", "\u00e9e.GIF"]  # accents as two characters, as on macOS, and as one
    write(tmp_path, "\n".join(["clip", *names]), *on_disk)
    dataset = open_folder(tmp_path)
    assert read_videos(dataset, tmp_path) == {name: tmp_path / file for name, file in zip(names, on_disk, strict=True)}
    assert not [group for group in dataset.video_groups(tmp_path) if isinstance(group, Failure)]


@pytest.mark.parametrize("suffix", ["ts", "m2ts", "vob", "asf", "mpe", "f4v", "mxf", "dv", "ogm", "qt", "divx", "MOV"])
def test_suffixes_of_videos(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a.{suffix}").write_bytes(b"x")
    assert set(open_folder(tmp_path).clips) == {f"a.{suffix}"}


def test_a_folder_without_a_table_is_for_prediction(tmp_path: Path) -> None:
    for name in ("b.mp4", "a/c.mkv", ".hidden.mp4", "a/._c.mkv", ".git/x.mp4", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nHello\n")
    dataset = open_folder(tmp_path)
    assert set(dataset.clips) == {"b.mp4", "a/c.mkv"}
    assert dataset.clips["b.mp4"].transcript == "Hello"
    assert all(clip.split is None and clip.scores is None for clip in dataset.clips.values())


@pytest.mark.skipif(
    (3, 12) <= sys.version_info < (3, 12, 6), reason="this Python keeps the parts of every path (CPython issue 113993)"
)
def test_the_clips_of_a_folder_without_a_table_are_not_held_in_memory(tmp_path: Path) -> None:
    """Measured in a process of its own: what other tests set up, such as handlers of the log, may keep more."""
    code = """
import sys, tracemalloc
from pathlib import Path
from crnet.data.sources.csv_folder import open_folder
folder, count = Path(sys.argv[1]), int(sys.argv[2])
tracemalloc.start()
dataset = open_folder(folder, (folder / f"{number:08}.mp4" for number in range(count)))
held_bytes = tracemalloc.get_traced_memory()[0]
print(held_bytes, len(dataset.clips), sum(len(group.videos) for group in dataset.video_groups(folder)))
"""
    count = 3_000
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(count)], capture_output=True, text=True, check=True
    )
    held_bytes, clips, videos = map(int, done.stdout.split())
    assert held_bytes < 100 * count  # a path and a clip in memory have some 800 bytes
    assert clips == videos == count


def test_a_file_name_that_is_not_utf8_is_a_clip(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff.mp4")
    dataset = open_folder(tmp_path, [tmp_path / name])
    assert list(dataset.clips) == [name] and dataset.clips[name].clip_id == name
    assert read_videos(dataset, tmp_path) == {name: tmp_path / name}


def test_a_table_without_transcripts_uses_those_beside_the_videos(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path, "clip\na.mp4\nb.mp4\n", "a.mp4", "b.mp4")
    (tmp_path / "a.txt").write_text("hello")
    (tmp_path / "b.txt").write_bytes(b"\0\0")
    assert [clip.transcript for clip in open_folder(tmp_path).clips.values()] == ["hello", ""]
    assert "b.txt" in caplog.text  # a warning, not a failure
    path.write_text("clip,transcript\na.mp4,\nb.mp4,own\n")
    assert [clip.transcript for clip in open_folder(tmp_path).clips.values()] == ["", "own"]


def test_a_csv_given_by_name_is_opened_even_beside_a_release(tmp_path: Path) -> None:
    path = write(tmp_path, "clip\na.mp4\n", "a.mp4")
    (tmp_path / "annotation_training.pkl").write_bytes(b"not opened")
    assert open_dataset(path).source == "folder"
    with pytest.raises(LabelError, match=r"annotation_training\.pkl"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("name", ["nothing", "empty", "a.mp4"])
def test_a_missing_dataset_is_a_usage_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.mp4").write_bytes(b"x")
    with pytest.raises(UsageError) as caught:
        open_dataset(tmp_path / name)
    assert caught.value.path == tmp_path / name and caught.value.remedy


def test_circular_links_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.mp4").write_bytes(b"x")
    (tmp_path / "a" / "back").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "x.mp4")
    assert [file.name for file in find_files(tmp_path)] == ["linked", "x.mp4"]
    assert [file.name for file in find_files(tmp_path, exclude=tmp_path / "a")] == ["linked"]


@given(st.text(max_size=60))
def test_any_text_is_a_table_or_a_label_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.mktemp("any", numbered=True)
    (root / "t.csv").write_bytes(("clip," + text).encode("utf-8", "replace"))
    try:
        clips = csv_folder.read_csv(str(root / "t.csv"))
    except LabelError as error:
        assert "line" in error.reason
    else:
        assert all(clip_id and not clip_id.startswith("/") for clip_id in clips)


def test_the_same_name_with_its_accents_in_two_encodings_is_one_clip(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9.mp4", "cafe\u0301.mp4"
    table = f"{TARGET_HEADER}\n{composed},train,{SCORES}\n{decomposed},test,{SCORES}\n"
    write(tmp_path, table, composed)
    with pytest.raises(LabelError, match=r"line 3 .* is already in line 2"):
        open_folder(tmp_path)
    (tmp_path / decomposed).write_bytes(b"another video")
    assert len(open_folder(tmp_path).clips) == 2
