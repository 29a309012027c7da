"""Any name that the file system allows is the name of one file: no pattern, no protocol, no option."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from video_maker import quadrants, write_video

from crnet.data.prepare import prepare
from crnet.data.video_files import list_videos
from crnet.media.container import open_media
from crnet.text.transcripts import find_transcript

NAMES = [
    b"p%03d.mp4",
    b"*.mp4",
    b"concat:a.mp4",
    b"http:x.mp4",
    b"file:x.mp4",
    b"pipe:0.mp4",
    b"subfile,,start,0,end,0,,:x.mp4",
    b"a|b.mp4",
    b"-dash.mp4",
    b"=1+1.mp4",
    b"new\nline.mp4",
    b"tab\t.mp4",
    b"\"'$(x).mp4",
    b" .mp4",
    b"a\\b.mp4",
    "\u4e2d".encode() * 82 + b"ab.mp4",  # 252 bytes; file systems allow 255
    b"\xff\xfe.mp4",
]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other file systems allow fewer names")


def count_frames(path: Path) -> int:
    with open_media(path) as container:
        return sum(len(packet.decode()) for packet in container.demux(video=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("odd")
    content = write_video(root / "made.mp4", [quadrants(48, 64)] * 5).read_bytes()
    (root / "made.mp4").unlink()
    for name in NAMES:
        (root / os.fsdecode(name)).write_bytes(content)
    return root


def test_every_name_is_opened_as_one_file(folder: Path) -> None:
    assert [count_frames(video) for video in list_videos([folder])] == [5] * len(NAMES)
    assert all(find_transcript(video).is_missing for video in list_videos([folder]))


def test_a_relative_name_is_not_a_protocol(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert [count_frames(Path(os.fsdecode(name))) for name in NAMES] == [5] * len(NAMES)


def test_a_picture_named_like_a_pattern_is_one_picture(tmp_path: Path) -> None:
    for name, value in (("p1.jpg", 10), ("p2.jpg", 90), ("p%d.jpg", 200), ("p[12].jpg", 200)):
        (tmp_path / name).write_bytes(simplejpeg.encode_jpeg(np.full((16, 16, 3), value, np.uint8)))
    for name in ("p%d.jpg", "p[12].jpg"):
        with open_media(tmp_path / name) as container:
            pictures = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        assert len(pictures) == 1 and abs(float(pictures[0].mean()) - 200) < 3


def test_one_odd_name_does_not_end_a_batch(folder: Path, tmp_path: Path) -> None:
    report = prepare(folder, tmp_path / "store", workers=0)
    assert report.done == len(NAMES) - 1
    assert [failure.reason for failure in report.failures] == ["its name is not UTF-8"]
    lines = (tmp_path / "store" / "failures.csv").read_text().splitlines()
    assert len(lines) == 2
