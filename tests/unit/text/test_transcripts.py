from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.errors import LabelError
from crnet.text import transcripts
from crnet.text.transcripts import clean_transcript, find_sidecar, find_transcript, read_transcript

SRT = """1
00:00:00,000 --> 00:00:01,500
<i>Hello,</i> I'm
{\\an8}Ann &amp; Bob.

2
0:01,500 --> 0:03,000 X1:40 X2:600
Hello again [laughs]

7
00:00:03,000 --> 00:00:04,000
42

"""
VTT = """WEBVTT - a title
Kind: captions

NOTE this is
not said

STYLE
::cue { color: red }

intro
00:00.000 --> 00:02.000 align:start
<v Ann>Hello<00:00:01.000><c> there</c></v>

00:02.000 --> 00:04.000
Hello there
how are you
"""
AUTOMATIC_CAPTIONS = """WEBVTT

00:00:01.000 --> 00:00:02.000 align:start position:0%
so<00:00:01.200><c> I</c><00:00:01.400><c> think</c>

00:00:02.000 --> 00:00:02.010
so I think

00:00:02.010 --> 00:00:03.000
so I think
this<00:00:02.400><c> works</c>
"""


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.srt", SRT, "Hello, I'm Ann & Bob. Hello again 42"),
        ("a.SRT", SRT.replace("\n", "\r\n"), "Hello, I'm Ann & Bob. Hello again 42"),
        ("a.vtt", VTT, "Hello there how are you"),
        ("a.txt", " two\n\n lines [inaudible 00:00:07] here\t", "two lines here"),
        ("a.txt", "1 < 2 --> 3", "1 < 2 --> 3"),
        ("a.vtt", AUTOMATIC_CAPTIONS, "so I think this works"),
        ("a.txt", "", ""),
        ("a.srt", "", ""),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_words_of_text_and_subtitle_files(tmp_path: Path, name: str, text: str, words: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode(encoding))
    assert read_transcript(str(path)) == words


def test_characters_outside_ascii_survive_in_three_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for encoding in ("utf-8", "cp1252", "utf-16"):
        path.write_bytes("“José’s”".encode(encoding))
        assert read_transcript(path) == "“José’s”"


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.mp3", b"x"), ("a.txt", b"a\0b"), ("a.txt", b"\xff\xfea"), ("missing.txt", None), ("a.txt", b"x" * 101)],
)
def test_a_file_that_is_not_a_transcript_is_an_error(
    tmp_path: Path, name: str, content: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcripts, "LARGEST_FILE_BYTES", 100)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(LabelError) as raised:
        read_transcript(tmp_path / name)
    assert raised.value.path == tmp_path / name


def test_order_of_transcript_files_beside_a_video(tmp_path: Path) -> None:
    video = tmp_path / "talk.v2.mp4"
    assert find_sidecar(video) is None
    (tmp_path / "talk.v2.mp4.vtt").write_text("x")
    assert find_sidecar(video) == tmp_path / "talk.v2.mp4.vtt"
    (tmp_path / "talk.v2.srt").write_text("x")
    assert find_sidecar(video) == tmp_path / "talk.v2.srt"
    (tmp_path / "talk.v2.txt").mkdir()
    assert find_sidecar(video) == tmp_path / "talk.v2.srt"


@pytest.mark.parametrize("text", ["é" * 200, "日本語" * 80, "a/" * 100, "x\0y"])
def test_a_text_that_no_file_system_takes_for_a_name_is_the_transcript(text: str) -> None:
    # 400 and 720 bytes, but fewer than 256 characters
    assert find_transcript("talk.mp4", text).text == text


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.srt")
    with pytest.raises(LabelError, match="not a regular file"):
        read_transcript(tmp_path / "a.srt")


def test_the_length_is_bounded() -> None:
    assert len(clean_transcript("a" * 1_000_000)) == 100_000


@settings(max_examples=50)
@given(st.binary(max_size=300), st.sampled_from([".txt", ".srt", ".vtt"]))
def test_any_content_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    try:
        words = read_transcript(path)
    except LabelError:
        return
    assert words == " ".join(words.split())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:00\nhello there\n0:05\nbye now\n", "hello there bye now"),
        ("[00:00:01]\nHello.\n[01:00:05.120]\nBye.\n", "Hello. Bye."),
        ("Speaker 1  0:05\nHello there.\n\nSpeaker 2  0:09\nBye now.\n", "Hello there. Bye now."),
        ("When do we meet?\n10:30\nGood.", "When do we meet? 10:30 Good."),
        ("At 10:30\nor at 11:30\nmaybe", "At 10:30 or at 11:30 maybe"),
    ],
)
def test_lines_that_are_only_a_time_are_not_words(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.txt").write_text(text)
    assert read_transcript(tmp_path / "a.txt") == words
