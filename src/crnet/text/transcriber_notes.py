"""Remove what a transcriber notes about a recording and nobody says, such as `[inaudible 00:00:07]` or `(laughs)`.

The transcripts of First Impressions v2 contain such notes, mostly in square brackets, sometimes in round ones, and
sometimes without the closing bracket. Round brackets may also hold words of the speaker, so only those with a known
note are removed. A bracket that is not closed removes no words but a known note right after it.
"""

from __future__ import annotations

import re

LONGEST_NOTE_CHARACTERS = 80
"""Square brackets further apart do not belong together: one lacks its partner, and a speaker's words lie between."""

LONGEST_REMARK_CHARACTERS = 30  # after a known note in round brackets: (inaudible due to noise)

_TIME = r"\d{1,2}:\d\d:\d\d"  # with hours, unlike a time of day that somebody says
_UNHEARD = r"\b(?:inaudible|unintelligible|indistinct|incomprehensible|crosstalk)\b"
_UNHEARD_AT = rf"{_UNHEARD}(?:\s*\d{{1,2}}(?::\d\d)+)?"
_SOUND = (
    r"(?:laugh(?:s|ing|ter)?|chuckl(?:es|ing)|giggl(?:es|ing)|sigh(?:s|ing)|cough(?:s|ing)|applause|cheering"
    r"|music|singing|silence|pause)"
)
_BRACKET = re.compile(r"([\[\]])")
_UNPAIRED_BRACKET = re.compile(rf"\[\s*(?:{_UNHEARD_AT}|{_TIME})?|(?:{_UNHEARD_AT}|\b{_TIME})?\s?\]", re.IGNORECASE)
_PARENTHESIS = re.compile(
    rf"\(\s*{_UNHEARD}[^()\[\]]{{0,{LONGEST_REMARK_CHARACTERS}}}\)"  # (inaudible due to noise)
    rf"|\(\s*(?:{_SOUND}|{_TIME}|{_SOUND}\s+{_TIME})\s*\)"  # (laughs), (00:00:07)
    rf"|\(\s*{_UNHEARD_AT}",  # not closed
    re.IGNORECASE,
)


def without_notes(text: str) -> str:
    """Replace each note, and each square bracket without a partner, by a space and the line breaks inside it."""
    text = _without_pairs(text)
    for pattern in (_PARENTHESIS, _UNPAIRED_BRACKET):
        text = pattern.sub(lambda match: _blank(match[0]), text)
    return text


def _without_pairs(text: str) -> str:
    """Remove all text in pairs of square brackets, also nested ones; keep the brackets of pairs that are too long."""
    parts: list[str] = []
    length = 0
    opened: list[tuple[int, int]] = []  # of each open bracket: its place in `parts`, and the length before it
    for part in _BRACKET.split(text):
        if part == "[":
            opened.append((len(parts), length))
        parts.append(part)
        length += len(part)
        if part == "]" and opened:
            start, length_before = opened.pop()
            if length - length_before <= LONGEST_NOTE_CHARACTERS:
                parts[start:] = [_blank("".join(parts[start:]))]
                length = length_before + len(parts[-1])
    return "".join(parts)


def _blank(note: str) -> str:
    return " " + "\n" * note.count("\n")
