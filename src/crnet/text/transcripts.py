"""Find and read transcripts: plain text and subtitles (`.txt`, `.srt`, `.vtt`, `.ass`, `.ssa`)."""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crnet.errors import LabelError
from crnet.text.encoder_interface import LONGEST_TEXT_CHARACTERS
from crnet.text.sidecars import SUFFIXES, find_sidecars
from crnet.text.subtitles import Cue, Subtitles, looks_like_subtitles, parse_subtitles, without_invisible
from crnet.text.transcriber_notes import without_notes
from crnet.utils.files import read_at_most
from crnet.utils.storage import as_path

LARGEST_FILE_BYTES = 4 << 20  # subtitles of a whole day
LONGEST_FILE_NAME = 255  # characters; file systems allow no more, so a longer text is not a path
MOST_CONTROL_SHARE = 0.01  # more control characters than this are no text

_ONLY_TIME = re.compile(r"(?:\s*[^\W\d_][^:]{0,40}\s{2,})?[\s\[(]*\d{1,2}(?::\d\d){1,2}(?:[.,]\d{1,3})?[\s\])]*")
"""0:05 · [00:00:05.120] · Speaker 1  0:05"""
_BYTE_ORDER_MARKS = (  # UTF-32 first, because its mark begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f\ufffd]")

_log = logging.getLogger(__name__)


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
        transcript: The text itself, or a file of it (`SUFFIXES`). None looks for a file beside the video; "" means that
            nothing is said.

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
    if os.path.exists(name):  # noqa: PTH110  # unlike Path.exists, returns False for a text of too many bytes
        return Path(name)  # of any kind: `read_transcript` then refuses a folder or a video
    # A single word that ends like a transcript file is meant as a file, even if it does not exist.
    if name.lower().endswith(SUFFIXES) and " " not in name:
        raise LabelError("transcript not found", path=name, remedy="give a file that exists, or the text itself")
    return None


def find_sidecar(video: Path | str) -> Path | None:
    """Return the transcript beside a video, the first of `find_sidecars`; None if there is none.

    The log says which one is used: a warning if another one has other words, else a message for debugging.
    """
    found = find_sidecars(as_path(video))
    if not found:
        return None
    used, *others = found
    if different := _with_other_words(used, others):
        _log.warning("%s: the transcript is %s; other words are in %s", video, used.name, ", ".join(different))
    else:
        _log.debug("%s: the transcript is %s", video, used.name)
    return used


def _with_other_words(used: Path, others: Sequence[Path]) -> list[str]:
    """Return the names of the files that hold other words than the one used; a file that cannot be read has none."""
    words = _words_or_none(used) if others else None
    if words is None:
        return []
    return [other.name for other in others if _words_or_none(other) not in (None, words)]


def _words_or_none(path: Path) -> str | None:
    try:
        return read_transcript(path)
    except LabelError:
        return None


def read_transcript(path: Path | str) -> str:
    """Read the words of a transcript file as one line, without times, markup and transcriber's notes.

    A `.txt` file is read as subtitles if it begins like subtitles; a subtitle file without any time is read as plain
    text. The file is UTF-8, UTF-16, or UTF-32 with a byte order mark; anything else is read as Windows-1252.

    Raises:
        LabelError: The file is missing, unreadable, too large, of another kind, damaged, or not text.
    """
    subtitles = _read(as_path(path))
    return clean_transcript(subtitles.text or " ".join(cue.text for cue in subtitles.cues))


def read_cues(path: Path | str) -> tuple[Cue, ...]:
    """Read the lines of a subtitle file with their times, without markup and notes; plain text has none.

    Raises:
        LabelError: See `read_transcript`.
    """
    cues = _read(Path(path)).cues
    if not cues:
        return ()
    # All at once, because a note may span several cues.
    texts = without_notes("\n".join(" ".join(cue.text.split()) for cue in cues)).split("\n")
    cleaned = (replace(cue, text=" ".join(text.split())) for cue, text in zip(cues, texts, strict=True))
    return tuple(cue for cue in cleaned if cue.text)


def clean_transcript(text: str) -> str:
    """Return a transcript in one line of single spaces, without the transcriber's notes (`without_notes`)."""
    return " ".join(without_notes(text).split())[:LONGEST_TEXT_CHARACTERS]


def _read(path: Path) -> Subtitles:
    """Read a transcript file.

    Raises:
        LabelError: See `read_transcript`.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise LabelError("not a transcript", path=path, remedy=f"give a file that ends in {', '.join(SUFFIXES)}")
    if path.exists() and not path.is_file():  # reading a pipe could block forever
        raise LabelError("not a regular file", path=path, remedy="give a file")
    text = _decode(read_at_most(path, LARGEST_FILE_BYTES, "keep only the words"), path)
    text = "\n".join(text.replace("\r\r\n", "\n").splitlines())
    if suffix == ".txt" and not looks_like_subtitles(text):
        return Subtitles(text=_without_times(text))
    return parse_subtitles(text, path)


def _without_times(text: str) -> str:
    """Return a plain text without lines that are only a time, as video sites and recorders put between the words.

    A single one may be what somebody says.
    """
    lines = text.split("\n")
    is_time = [_ONLY_TIME.fullmatch(line) is not None for line in lines]
    return text if sum(is_time) < 2 else "\n".join(line for line, time in zip(lines, is_time, strict=True) if not time)


def _decode(content: bytes, path: Path) -> str:
    """Return the text of a file without invisible characters.

    Raises:
        LabelError: The file is not text.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    try:
        text = content.decode(encoding or _guess_encoding(content))
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise LabelError(f"not text: {error}", path=path, remedy="save it as UTF-8") from error
        text = _decode_broken(content, path)
    if "\0" in text:
        raise LabelError("not text: it contains zero bytes", path=path, remedy="save it as UTF-8")
    if len(_CONTROL.findall(text)) > max(1, MOST_CONTROL_SHARE * len(text)):
        raise LabelError("not text: it contains control characters", path=path, remedy="save it as UTF-8")
    return without_invisible(text)


def _guess_encoding(content: bytes) -> str:
    """Guess the encoding of a file without a byte order mark: UTF-16 if every second byte of most characters is 0."""
    zeros = (content[::2].count(0), content[1::2].count(0))
    if 4 * max(zeros) > len(content) > 4 * 4 * min(zeros):
        return "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
    return "utf-8"


def _decode_broken(content: bytes, path: Path) -> str:
    """Decode a file that is not UTF-8: as UTF-8 if it is so but for a few bytes, else as Windows-1252."""
    text = content.decode("utf-8", errors="replace")
    broken = text.count("\ufffd")
    if broken < sum(not character.isascii() for character in text) - broken:
        _log.warning("%s: %d characters are damaged", path, broken)
        return text.rstrip("\ufffd")  # the file may be cut within a character
    return content.decode("cp1252", errors="replace")
