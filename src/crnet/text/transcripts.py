"""Find and read transcripts: plain text and subtitles (`.txt`, `.srt`, `.vtt`).

The parser of subtitles accepts more than the formats allow. pysubs2 1.8.1 was tried in its place and gave other words
for real files: it reads an automatic caption with two word timings in one line as a new cue and loses its words, keeps
word timings, entities and repeated lines in the text, appends NOTE and STYLE blocks to the cue before them, and misses
SubRip times without hours. See docs/text.md.
"""

from __future__ import annotations

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from crnet.errors import LabelError
from crnet.text.encoder_interface import LONGEST_TEXT_CHARACTERS
from crnet.text.transcriber_notes import without_notes
from crnet.utils.files import read_at_most

SUFFIXES = (".txt", ".srt", ".vtt")
LARGEST_FILE_BYTES = 4 << 20  # subtitles of a whole day
LONGEST_FILE_NAME = 255  # characters; file systems allow no more, so a longer text is not a path

_TIME = r"(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}"
_TIMING = re.compile(rf"^\s*(?P<start>{_TIME})\s*-->\s*(?P<end>{_TIME})")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # <i>, <v Name>, <00:00:01.000>; {\an8}
_BYTE_ORDER_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


@dataclass(frozen=True)
class Cue:
    """A line of subtitles and the time it is shown, in seconds from the beginning of the video."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """The words of one video and where they come from.

    Attributes:
        text: The words in one line; "" if nothing is said or nothing is known.
        file: The file that holds them; None if the caller gave the text itself, or if there is no transcript.
        is_missing: True if neither the caller nor a file beside the video gives a transcript. Speech recognition may
            then supply one.
    """

    text: str = ""
    file: Path | None = None
    is_missing: bool = False


def find_transcript(video: Path | str, transcript: str | Path | None = None) -> Transcript:
    """Find and read the transcript of a video.

    Args:
        video: The video file.
        transcript: The text itself, or a `.txt`, `.srt` or `.vtt` file. None looks for a file beside the video; ""
            means that nothing is said.

    Raises:
        LabelError: The transcript names a file that does not exist or cannot be read.
    """
    file = find_sidecar(video) if transcript is None else _named_file(transcript)
    if file is not None:
        return Transcript(read_transcript(file), file)
    return Transcript(clean_transcript(str(transcript or "")), is_missing=transcript is None)


def _named_file(transcript: str | Path) -> Path | None:
    """Return the file that a transcript argument names; None if the argument is the text itself.

    Raises:
        LabelError: The argument looks like the name of a transcript file, and there is no such file.
    """
    if isinstance(transcript, Path):
        return transcript
    name = transcript.strip()
    if not 0 < len(name) <= LONGEST_FILE_NAME or "\n" in name:
        return None
    if Path(name).exists():
        return Path(name)  # of any kind: `read_transcript` then refuses a folder or a video
    # A single word that ends like a transcript file is meant as a file, even if it does not exist.
    if name.lower().endswith(SUFFIXES) and " " not in name:
        raise LabelError("transcript not found", path=name, remedy="give a file that exists, or the text itself")
    return None


def find_sidecar(video: Path | str) -> Path | None:
    """Return the transcript beside a video: `talk.mp4` or `talk` plus `.txt`, `.srt` or `.vtt`, in this order."""
    video = Path(video)
    for suffix in SUFFIXES:
        for candidate in (video.with_suffix(suffix), video.with_name(video.name + suffix)):
            if candidate.is_file():
                return candidate
    return None


def read_transcript(path: Path | str) -> str:
    """Read the words of a `.txt`, `.srt` or `.vtt` file as one line, without times, tags and transcriber's notes.

    The file is UTF-8, or UTF-16 with a byte order mark; anything else is read as Windows-1252.

    Raises:
        LabelError: The file is missing, unreadable, too large, of another kind, or not text.
    """
    path = Path(path)
    lines = _read(path).splitlines()
    if path.suffix.lower() != ".txt":
        lines = [cue.text for cue in _parse_cues(lines)]
    return clean_transcript(" ".join(lines))


def read_cues(path: Path | str) -> tuple[Cue, ...]:
    """Read the lines of an `.srt` or `.vtt` file with their times, without tags and notes; a `.txt` file has none.

    Raises:
        LabelError: See `read_transcript`.
    """
    path = Path(path)
    if path.suffix.lower() == ".txt":
        return ()
    cues = list(_parse_cues(_read(path).splitlines()))
    if not cues:
        return ()
    # All at once, because a note may span several cues.
    texts = without_notes("\n".join(" ".join(cue.text.split()) for cue in cues)).split("\n")
    cleaned = (replace(cue, text=" ".join(text.split())) for cue, text in zip(cues, texts, strict=True))
    return tuple(cue for cue in cleaned if cue.text)


def clean_transcript(text: str) -> str:
    """Return a transcript in one line of single spaces, without the transcriber's notes (`without_notes`)."""
    return " ".join(without_notes(text).split())[:LONGEST_TEXT_CHARACTERS]


def _read(path: Path) -> str:
    """Read a transcript file as it is.

    Raises:
        LabelError: See `read_transcript`.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise LabelError("not a transcript", path=path, remedy=f"give a file that ends in {', '.join(SUFFIXES)}")
    return _decode(read_at_most(path, LARGEST_FILE_BYTES, "keep only the words"), path)


def _decode(content: bytes, path: Path) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise LabelError(f"not text: {error}", path=path, remedy="save it as UTF-8") from error
        text = content.decode("cp1252", errors="replace")
    if "\0" in text:
        raise LabelError("not text: it contains zero bytes", path=path, remedy="save it as UTF-8")
    return text


def _parse_cues(lines: list[str]) -> Iterator[Cue]:
    """Yield the spoken lines of a subtitle file: those between a timing line and the next blank line."""
    previous: str | None = None
    times: tuple[float, float] | None = None
    for line in lines:
        if timing := _TIMING.match(line):
            times = (_parse_time(timing["start"]), _parse_time(timing["end"]))
        elif not line.strip():
            times = None
        elif times is not None:
            text = html.unescape(_TAG.sub("", line)).strip()
            # Rolling captions show a line again in the next cue.
            if text and text != previous:
                previous = text
                yield Cue(*times, text)


def _parse_time(time: str) -> float:
    """Convert a time such as 01:02:03,400 or 02:03.400 to seconds."""
    parts = [float(part.replace(",", ".")) for part in time.split(":")]
    return sum(part * 60**power for power, part in enumerate(reversed(parts)))
