"""Transcripts from text and subtitle files."""

from __future__ import annotations

import codecs
import html
import re
from pathlib import Path

from crnet.errors import LabelError
from crnet.text.encoders import LONGEST_TEXT_CHARACTERS

SUFFIXES = (".txt", ".srt", ".vtt")
LARGEST_FILE_BYTES = 4 << 20  # subtitles of a whole day

_TIMING = re.compile(r"^\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->\s*(\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # <i>, <v Name>, <00:00:01.000>; {\an8}
_NOTE = re.compile(r"\[[^\[\]]*\]")  # [inaudible 00:00:07], [laughs]
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_transcript(path: Path) -> str:
    """What is said, from a `.txt`, `.srt` or `.vtt` file: one line, without times, tags and transcriber's notes.

    UTF-8, UTF-16 with a byte order mark, or, where a file is neither, Windows-1252.

    Raises:
        LabelError: Missing, unreadable, too large, of another kind, or not text.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LabelError("not a transcript", path=path, remedy=f"give a file that ends in {', '.join(SUFFIXES)}")
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as error:
        raise LabelError(f"cannot be read: {error.strerror or error}", path=path) from error
    if len(content) > LARGEST_FILE_BYTES:
        raise LabelError(f"larger than {LARGEST_FILE_BYTES >> 20} MB", path=path, remedy="cut it to what is said")
    text = _decode(content, path)
    lines = text.splitlines()
    if path.suffix.lower() != ".txt":
        lines = _spoken(lines)
    return clean_transcript(" ".join(lines))


def find_sidecar(video: Path) -> Path | None:
    """The transcript beside a video: `talk.mp4` or `talk` followed by `.txt`, `.srt` or `.vtt`, in this order."""
    for suffix in SUFFIXES:
        for candidate in (video.with_suffix(suffix), video.with_name(video.name + suffix)):
            if candidate.is_file():
                return candidate
    return None


def clean_transcript(text: str) -> str:
    """A transcript without the transcriber's notes in square brackets, in one line of single spaces."""
    return " ".join(_NOTE.sub(" ", text).split())[:LONGEST_TEXT_CHARACTERS]


def _decode(content: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise LabelError(f"not text: {error}", path=path, remedy="save it as UTF-8") from error
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise LabelError("not text: it holds zero bytes", path=path, remedy="save it as UTF-8")
    return text


def _spoken(lines: list[str]) -> list[str]:
    """The lines of a subtitle file that are spoken: those of each cue after its timing, up to a blank line."""
    spoken: list[str] = []
    in_cue = False
    for line in lines:
        if _TIMING.match(line):
            in_cue = True
        elif not line.strip():
            in_cue = False
        elif in_cue:
            said = html.unescape(_TAG.sub("", line)).strip()
            # Rolling captions show a line again in the next cue.
            if said and (not spoken or spoken[-1] != said):
                spoken.append(said)
    return spoken
