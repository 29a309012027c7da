"""Subtitles as people write them: every spoken word is read, in its order, and nothing else."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.errors import LabelError
from crnet.text.transcripts import read_cues, read_transcript

FIRST = "00:00:01,000 --> 00:00:02,000"
SECOND = "00:00:03,000 --> 00:00:04,000"
THIRD = "00:00:05,000 --> 00:00:06,000"

SUBRIP = {
    # cues in any order
    f"1\n{SECOND}\nBye.\n\n2\n{FIRST}\nHello.\n": "Hello. Bye.",
    # blank lines and numbers
    f"1\n{FIRST}\nHello there.\n2\n{SECOND}\nBye now.\n": "Hello there. Bye now.",
    f"1\n{FIRST}\nI am stuck,\n\nten minutes late.\n\n2\n{SECOND}\nBye.\n": "I am stuck, ten minutes late. Bye.",
    f"1\n{FIRST}\nHello\n \n2\n{SECOND}\nBye": "Hello Bye",
    f"1\n{FIRST}\nHello\n\n2\n{SECOND}\n\n3\n{THIRD}\nBye": "Hello Bye",
    f"1\n{FIRST}\nHello\n\n305\n{SECOND}\nBye": "Hello Bye",
    f"1\n\n{FIRST}\n\nHello\n\n2\n\n{SECOND}\n\nBye": "Hello Bye",
    f"{FIRST}\nHello\n\n{SECOND}\nBye": "Hello Bye",
    f"{FIRST}\nHello\n\n2\n{SECOND}\nBye": "Hello Bye",  # cut at its beginning
    f"1\n{FIRST}\nHello\n\n2\n00:00:0": "Hello",  # cut at its end
    f"1\n{FIRST}\nHello\n\n2\n": "Hello",
    # numbers that somebody says
    f"1\n{FIRST}\nI have\n42\n\n2\n{SECOND}\n7\n": "I have 42 7",
    f"1\n{FIRST}\nOne\n\n2\n{SECOND}\n\n12\n\n3\n{THIRD}\nThree": "One 12 Three",
    f"{FIRST}\n42\n\n{SECOND}\nI have\n43\n": "42 I have 43",
    # words beside the times
    f"1\n{FIRST} Hello there\n\n2\n{SECOND}Bye": "Hello there Bye",
    f"1 {FIRST}\nHello\n2 {SECOND}\nBye": "Hello Bye",
    f"1\n{FIRST}\nfrom 00:00:01,000 to 00:00:02,000 sharp": "from 00:00:01,000 to 00:00:02,000 sharp",
    f"1\n{FIRST}\nMeet 10:30 -> 11:45 today": "Meet 10:30 -> 11:45 today",
    # markup and what only looks like it
    f'1\n{FIRST}\n<font\ncolor="red">Hello</font><br/>in<i>cred</i>ible': "Hello incredible",
    f"1\n{FIRST}\n{{\\an8}}up {{y:i}}there {{really}}\\Nnew\\hline": "up there {really} new line",
    f"1\n{FIRST}\nR&D &copy I <3 you 1 < 2 > 0 &amp;#39;x&amp;#39;": "R&D &copy I <3 you 1 < 2 > 0 'x'",
    f"1\n{FIRST}\nif a < b and c > d </ i> <> < / >it holds": "if a < b and c > d it holds",
    # speakers
    f"1\n{FIRST}\nJOHN: Hello\n- MAN 2: No.": "Hello No.",
    f"1\n{FIRST}\nJohn: Hello": "John: Hello",
    f"1\n{FIRST}\nI SAID: GO HOME": "I SAID: GO HOME",
    # repeated lines
    f"1\n{FIRST}\nNo.\n\n2\n00:00:20,000 --> 00:00:21,000\nNo.\n": "No. No.",
    f"1\n{FIRST}\nNo.\n\n2\n00:00:02,100 --> 00:00:03,000\nNo.\n": "No. No.",
    f"1\n{FIRST}\nNo.\nNo.\n": "No. No.",
    f"1\n{FIRST}\nNo.\n\n2\n00:00:02,000 --> 00:00:03,000\nNo.\n": "No.",
    # other line ends and invisible characters
    f"1\r{FIRST}\rHello\r\r2\r{SECOND}\rBye": "Hello Bye",
    f"1\r\r\n{FIRST}\r\r\nHello\r\r\n\r\r\n2\r\r\n{SECOND}\r\r\nBye": "Hello Bye",
    f"\ufeff1\n\u200e{FIRST}\nHel\u00adlo\u200bthere": "Hello there",
    # without times
    "Hello there, this is <i>plain</i> text.\n": "Hello there, this is plain text.",
    "": "",
    f"1\n{FIRST}\n[music]\n": "",
}

TIMES = {
    "00:00:01,500 --> 00:00:03,250": (1.5, 3.25),
    "0:0:1,5 -> 0:0:3.25": (1.5, 3.25),
    "00:01.500 --> 00:03": (1.5, 3),
    "00:00:01 --> 00:00:03": (1, 3),
    "00:00:01, 500 --> 00:00:03, 250": (1.5, 3.25),
    "00:00:01:500 --> 00:00:03:250": (1.5, 3.25),
    "00:01:500 --> 00:03:250": (1.5, 3.25),
    "00:00:01,500000-->00:00:03,250000": (1.5, 3.25),
    "00：00：01，500 → 00：00：03，250": (1.5, 3.25),
    "\u202a00:00:01,500 --&gt; 00:00:03,250 X1:100 X2:600": (1.5, 3.25),
    "00:00:01,500 —> 00:00:03,250": (1.5, 3.25),
    "-00:00:01,500 --> 00:00:03,25: align:start position:0%": (1.5, 3.25),
    "00:90:00,000 --> 01:30:01,000 D:vertical": (5400, 5401),
    "00:00:01,500 --> 00:00:03werwer,580": (1.5, 3),
    "00:00:05,000 --> 00:00:04,000": (5, 5),
}

WEBVTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

REGION
id:fred

NOTE not said

intro
00:01.000 --> 00:02.000 region:fred line:0
<v.loud Ann>Hi <c.yellow.bg_blue>you</c></v> &lt;3&lrm;

NOTE
not said

00:03.000 --> 00:04.000
<ruby>word<rt>reading</rt></ruby> <lang fr>oui</lang>
"""
ROLLING = """WEBVTT

00:00.160 --> 00:03.429 align:start position:0%
\x20
Linus,<00:00:00.960><c> do</c><00:00:01.520><c> your</c>

00:03.429 --> 00:03.439 align:start position:0%
Linus, do your
\x20

00:03.439 --> 00:05.749 align:start position:0%
Linus, do your
cool<00:00:03.760><c> or</c>
"""
SUBSTATION = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Style: D,Arial,broken

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Dialogue: 0,0:00:03.00,0:00:04.50,D,Bob,0,0,0,,Second, and {\\i1}last{\\i0}\\Nline
Comment: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,not said
Dialogue: 0,0:00:01.00,0:00:02.00,D,Ann,0,0,0,,First{a remark}
Dialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}
"""


def write(folder: Path, content: str | bytes, name: str = "a.srt") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("text", SUBRIP)
def test_words_of_subrip_files(tmp_path: Path, text: str) -> None:
    assert read_transcript(write(tmp_path, text)) == SUBRIP[text]


@pytest.mark.parametrize("line", TIMES)
def test_times_in_many_forms(tmp_path: Path, line: str) -> None:
    (cue,) = read_cues(write(tmp_path, f"1\n{line}\nHello.\n"))
    assert (cue.start_s, cue.end_s, cue.text) == (*TIMES[line], "Hello.")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.vtt", WEBVTT, "Hi you <3 word oui"),
        ("a.vtt", WEBVTT.replace("WEBVTT - a title\nKind: captions\n\n", ""), "Hi you <3 word oui"),
        ("a.srt", WEBVTT, "Hi you <3 word oui"),
        ("a.vtt", ROLLING, "Linus, do your cool or"),
        ("a.vtt", "WEBVTT\n\n", ""),
        ("a.vtt", "WEBVTT\n\nHello there\n", "Hello there"),
        ("a.ass", SUBSTATION, "First Second, and last line"),
        ("a.srt", SUBSTATION, "First Second, and last line"),
        (
            "a.ssa",
            "[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,Hello, you\nBob\n",
            "Hello, you Bob",
        ),
        ("a.txt", f"1\n{FIRST}\nHello\n", "Hello"),
        ("a.txt", "at 10:30 --> 11:45 we met", "at 10:30 --> 11:45 we met"),
    ],
)
def test_words_of_other_formats(tmp_path: Path, name: str, text: str, words: str) -> None:
    assert read_transcript(write(tmp_path, text, name)) == words


def test_three_rolling_lines_and_joined_segments_are_read_once(tmp_path: Path) -> None:
    rolling = (
        "00:01.000 --> 00:02.000\na\nb\nc\n\n00:02.000 --> 00:03.000\nb\nc\nd\n\n00:03.000 --> 00:04.000\nc\nd\ne\n\n"
    )
    segment = "WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:1,LOCAL:00:00:00.000\n\n"
    again = segment + "00:03.000 --> 00:04.000\nc\nd\ne \n\n00:05.000 --> 00:06.000\nf"
    assert read_transcript(write(tmp_path, segment + rolling + again, "a.vtt")) == "a b c d e f"


def test_times_of_substation_events(tmp_path: Path) -> None:
    cues = read_cues(write(tmp_path, SUBSTATION, "a.ass"))
    assert [(cue.start_s, cue.end_s, cue.text) for cue in cues] == [
        (1, 2, "First"),
        (3, 4.5, "Second, and last line"),
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (f"1\n{FIRST}\nJosé häß ñandú\n".encode() + b"\xc3", "José häß ñandú"),  # cut within a character
        (f"1\n{FIRST}\nJosé\n".encode("latin-1"), "José"),
        (f"1\n{FIRST}\nJosé\n".encode("utf-16-le"), "José"),
        (f"1\n{FIRST}\nJosé\n".encode("utf-16-be"), "José"),
        (f"1\n{FIRST}\nJosé\n".encode("utf-32"), "José"),
    ],
)
def test_encodings(tmp_path: Path, content: bytes, words: str) -> None:
    assert read_transcript(write(tmp_path, content)) == words


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"1\n{FIRST}\n\n2\n{SECOND}\n", "has times but no words"),
        ("1\n00:xx:01 --> 00:00:yy\nHello\n", "no time in it can be read"),
        ("0:00:01.000,0:00:02.000\nHello\n", "no time in it can be read"),
        ("{10}{20}Hello\n{30}{40}you", "no time in it can be read"),
        ("<!DOCTYPE html><html>not found</html>", "is not a subtitle file"),
        (bytes(range(1, 256)) * 20, "not text: it contains control characters"),
    ],
)
def test_a_damaged_file_is_an_error_not_silence(tmp_path: Path, content: str | bytes, reason: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(LabelError) as raised:
        read_transcript(path)
    assert (raised.value.path, raised.value.reason) == (path, reason)


def test_a_damaged_part_is_a_warning_and_its_words_stay(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"credits\n\n1\n{FIRST}\nHello\n\n2\n00:00:xx,500 --> 00:00:03,000\nthere\n\n3\n{THIRD}\nyou\n"
    path = write(tmp_path, text)
    with caplog.at_level(logging.WARNING):
        cues = read_cues(path)
    assert [(cue.start_s, cue.text) for cue in cues] == [(1, "Hello"), (2, "there"), (5, "you")]
    assert caplog.messages == [
        f"{path}: 1 times cannot be read; word times are wrong there",
        f"{path}: text before the first time is ignored: credits",
    ]


WORDS = st.sampled_from(
    ["hello", "I'm", "no.", "José", "10:30", "100%", "42", "(yes)", "…", "well,", "&", "#1", "-", "a"]
)
LINES = st.lists(st.lists(WORDS, min_size=1, max_size=4).map(lambda words: ["so", *words]), min_size=1, max_size=3)
TIME_FORMS = ("{h:02}:{m:02}:{s:02},{ms:03}", "{h}:{m}:{s},{ms}", "{m:02}:{s:02}.{ms:03}", "{h:02} : {m:02} : {s:02}")


@settings(max_examples=100)
@given(
    cues=st.lists(LINES, min_size=1, max_size=5),
    time_form=st.sampled_from(TIME_FORMS),
    arrow=st.sampled_from([" --> ", "-->", "->", " —> ", "  → "]),
    numbered=st.booleans(),
    tag=st.sampled_from(["{}", "<i>{}</i>", "{{\\an8}}{}", '<font color="#ff0">{}</font>']),
    blank_inside=st.booleans(),
    blank_between=st.integers(0, 2),
    line_end=st.sampled_from(["\n", "\r\n", "\r", "\r\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le"]),
)
def test_no_word_is_lost_added_or_moved(
    tmp_path_factory: pytest.TempPathFactory,
    cues: list[list[list[str]]],
    time_form: str,
    arrow: str,
    numbered: bool,
    tag: str,
    blank_inside: bool,
    blank_between: int,
    line_end: str,
    encoding: str,
) -> None:
    parts: list[str] = []
    for number, lines in enumerate(cues):
        start, end = (time_form.format(h=0, m=number, s=second, ms=200) for second in (1, 2))
        parts += [str(number + 1)] * numbered + [f"{start}{arrow}{end}"]
        for line in lines:
            parts += [""] * blank_inside + [tag.format(" ".join(line))]
        parts += [""] * blank_between
    path = tmp_path_factory.getbasetemp() / "any_cues.srt"
    path.write_bytes(line_end.join(parts).encode(encoding))
    assert read_transcript(path) == " ".join(word for lines in cues for line in lines for word in line)
    assert [int(cue.start_s) for cue in read_cues(path)] == [60 * number + 1 for number in range(len(cues))]


@pytest.mark.parametrize(
    "repeated",
    [
        "-->",
        "1:1 ",
        "1 ",
        "<a",
        "< ",
        "</ ",
        "<br ",
        " ",
        "/",
        "{\\",
        "{a:",
        "&a",
        "&#",
        "<rt>",
        "a\n",
        "1\n",
        "\n",
        "[",
        "(inaudible ",
        "00:00:01,000 ",
    ],
)
def test_reading_takes_time_in_proportion_to_the_size(tmp_path: Path, repeated: str) -> None:
    # 200 kB take about 0.1 s; in quadratic time, they would take minutes.
    for before in ("\n", " <"):
        path = write(tmp_path, f"1\n{FIRST}\nHello{before}" + repeated * (200_000 // len(repeated)))
        assert read_transcript(path).startswith("Hello")


def test_overrides_of_substation_take_time_in_proportion_to_their_number(tmp_path: Path) -> None:
    path = write(tmp_path, "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,D,,0,0,0,,Hello" + "{\\i1}" * 40_000, "a.ass")
    assert read_transcript(path) == "Hello"
