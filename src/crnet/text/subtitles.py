"""Read the words of subtitles with their times: SubRip, WebVTT and SubStation (`.srt`, `.vtt`, `.ass`, `.ssa`).

pysubs2 parses what `crnet.text.subtitle_repair` has put in order. This module then takes the words out of its events:
without markup, names of speakers, drawings, and the lines that rolling captions show again.
"""

from __future__ import annotations

import html
import logging
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crnet.errors import LabelError
from crnet.text.subtitle_repair import (
    Repaired,
    is_time_line,
    is_webvtt_text,
    repair_subrip,
    repair_substation,
    repaired_lines,
)

AT_ONCE_S = 0.05
"""Rolling captions show a line again within this time. Subtitles of speech are at least two frames (0.08 s) apart."""

MOST_ROLLING_LINES = 8
SNIFFED_CHARACTERS = 2000

_SUBSTATION = re.compile(r"^(?:\[(?:script info|v4\+? styles|events)\]|dialogue\s*:\s*\S+,)", re.I | re.M)
_MARKUP = re.compile(r"\s*(?:<[!?]|<(?:html|head|body|sami|tt|div)\b|\{\\rtf|\{\s*\")", re.IGNORECASE)
# Times of other formats: 0:00:01.5,0:00:02 · [00:12.00] · {10}{20} · [10][20]
_OTHER_TIME = re.compile(r"\W{0,3}\d+:\d\d|\{\d+\}\{\d+\}|\[\d+\]\[\d+\]")
_RUBY_READING = re.compile(r"<rt\b[^<>]*>[^<>]*(?:</rt\s*>)?", re.IGNORECASE)  # how the word before is pronounced
_BREAK_TAG = re.compile(r"<(?:/\s*)?(?:br|p|div|li)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"<(?:/\s*)?[a-zA-Z][^<>]*>|<[\s/]*>|\{\\[^{}]*\}|\{[a-zA-Z]:[^{}]*\}")  # <i>, <v Ann>, {\an8}, {y:i}
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_INVISIBLE = re.compile("[\u00ad\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")  # hyphens, directions, marks
_OVERRIDES = re.compile(r"\{[^{}]*\}")  # of SubStation, also comments
_DRAWING = re.compile(r"\\p(\d{1,4})")
_SPEAKER = re.compile(r"[\W_]*([^\W\d_][^:?!,]{1,28}):(?=\s|$)\s*")  # MAN 2: ...
_MOST_WORDS_OF_A_SPEAKER = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cue:
    """A line of subtitles and the time it is shown, in seconds from the beginning of the video."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True)
class Subtitles:
    """The words of a subtitle file.

    Attributes:
        cues: The words with their times.
        text: The words of a file without times; "" if there are `cues`.
    """

    cues: tuple[Cue, ...] = ()
    text: str = ""


def without_invisible(text: str) -> str:
    """Return a text without the invisible characters that would split its words or hide its times."""
    return _INVISIBLE.sub("", text.replace("\u200b", " "))  # a space of no width, which some scripts use between words


def looks_like_subtitles(text: str) -> bool:
    """Whether a text begins as subtitles do: with a heading, or with a time in one of its first three lines."""
    head = text[:SNIFFED_CHARACTERS]
    first_lines = [line for line in head.split("\n") if line.strip()][:3]
    return (
        is_webvtt_text(head)
        or re.match(r"\s*\[script info\]", head, re.IGNORECASE) is not None
        or any(is_time_line("\n".join(repaired_lines(line))) for line in first_lines)
    )


def parse_subtitles(text: str, path: Path) -> Subtitles:
    """Return the words of a subtitle file. What is lost is logged as a warning.

    Args:
        text: Content of the file; its lines end in a line feed.
        path: The file, for messages.

    Raises:
        LabelError: No time can be read although the text contains some, there are times but no words, or the file is
            HTML or the like.
    """
    is_substation = _SUBSTATION.search(text[:SNIFFED_CHARACTERS]) is not None
    is_webvtt = is_webvtt_text(text) or path.suffix.lower() == ".vtt"
    repaired = repair_substation(text) if is_substation else repair_subrip(text, is_webvtt=is_webvtt)
    if not repaired.cues:
        return Subtitles(text=_untimed_words(repaired, text, path))
    shown = list(_parse(repaired.text, is_substation))
    if not any(lines for _, _, lines in shown):
        raise LabelError(
            "has times but no words", path=path, remedy="add the words, or empty the file if nothing is said"
        )
    if repaired.unreadable:
        _log.warning("%s: %d times cannot be read; word times are wrong there", path, repaired.unreadable)
    if repaired.untimed:
        _log.warning("%s: text before the first time is ignored: %.60s", path, " ".join(repaired.untimed))
    return Subtitles(tuple(_without_repeats(shown)))


def _untimed_words(repaired: Repaired, text: str, path: Path) -> str:
    """Return the words of a file without cues.

    Raises:
        LabelError: See `parse_subtitles`.
    """
    if _MARKUP.match(text):
        raise LabelError("is not a subtitle file", path=path, remedy="save it as .srt, .vtt, .ass or plain text")
    timed = sum(_OTHER_TIME.match(line) is not None for line in repaired.untimed)
    if repaired.unreadable or 3 * timed > len(repaired.untimed):
        raise LabelError(
            "no time in it can be read", path=path, remedy="write times like 00:00:01,500 --> 00:00:03,000"
        )
    return " ".join(line for raw in repaired.untimed for line in _spoken_lines(raw))


def _parse(text: str, is_substation: bool) -> Iterator[tuple[float, float, list[str]]]:
    """Yield start and end, in seconds, and the lines of words of each cue."""
    from pysubs2 import SSAFile  # takes 0.1 s to import, and most runs read no subtitles

    events = SSAFile.from_string(text, format_="ass" if is_substation else "srt", keep_html_tags=True).events
    for event in sorted(events, key=lambda event: event.start):  # files can list them in any order
        words = _without_overrides(event.text) if is_substation else event.text
        end_s = max(event.start, event.end) / 1000
        yield event.start / 1000, end_s, _spoken_lines(words.replace(r"\N", "\n").replace(r"\h", " "))


def _without_overrides(text: str) -> str:
    """Return a SubStation text without overrides, comments and drawings. `SSAEvent.is_drawing` takes quadratic time."""
    words: list[str] = []
    end = 0
    draws = False
    for match in _OVERRIDES.finditer(text):
        if not draws:
            words.append(text[end : match.start()])
        end = match.end()
        for scale in _DRAWING.findall(match[0]):
            draws = int(scale) > 0
    return "".join([*words, "" if draws else text[end:]]).replace(r"\n", "\n")


def _spoken_lines(text: str) -> list[str]:
    """Return the lines of a cue that are not blank, without markup and names of speakers."""
    text = _TAG.sub("", _BREAK_TAG.sub(" ", _RUBY_READING.sub("", text)))
    for _ in range(2):  # YouTube writes "&amp;#39;"
        text = _ENTITY.sub(lambda match: html.unescape(match[0]), text)
    text = without_invisible(text)
    has_small_letters = text != text.upper()
    lines = (" ".join(line.split()) for line in text.splitlines())
    return [spoken for line in lines if (spoken := _without_speaker(line) if has_small_letters else line)]


def _without_speaker(line: str) -> str:
    """Return a line without the name of its speaker, which subtitles for the deaf write in capitals: "MAN 2: Hello"."""
    match = _SPEAKER.match(line)
    if match is None or not match[1].isupper() or len(match[1].split()) > _MOST_WORDS_OF_A_SPEAKER:
        return line
    return line[match.end() :]


def _without_repeats(shown: Iterable[tuple[float, float, list[str]]]) -> Iterator[Cue]:
    """Yield the cues without the lines of the cue before that they show again at once, as rolling captions do."""
    previous_start_s = previous_end_s = 0.0
    previous: list[str] = []
    for start_s, end_s, lines in shown:
        repeated = 0
        if previous_start_s <= start_s <= previous_end_s + AT_ONCE_S:
            most = min(len(previous), len(lines), MOST_ROLLING_LINES)
            repeated = next((n for n in range(most, 0, -1) if previous[-n:] == lines[:n]), 0)
        if lines[repeated:]:
            yield Cue(start_s, end_s, " ".join(lines[repeated:]))
        previous_start_s, previous_end_s, previous = start_s, end_s, lines
