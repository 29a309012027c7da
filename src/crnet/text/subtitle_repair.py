"""Rewrite subtitle files so that pysubs2 reads every word in them, and no other.

Real files lack blank lines, numbers or milliseconds, contain blank lines inside a cue, or write times in their own
way. pysubs2 skips a time that it does not recognise, takes the last line of a cue for the next number if it holds
nothing but digits, keeps WebVTT's comments and names of cues, and expects the fields of SubStation events in one order.
The functions here return SubRip or SubStation text in which none of this occurs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LATEST_MS = 99 * 3_600_000 + 59 * 60_000 + 59_999  # SubRip's hours have two digits

_SPACE = r"[ \t\xa0\u3000]{0,4}"
_COLON = rf"{_SPACE}[:：]{_SPACE}"
_POINT = rf"{_SPACE}[.,:;，．。٫]{_SPACE}"
_DIGITS = r"(\d{{1,{}}}(?!\d))"
# Hours, minutes, seconds and fraction; hours and fraction may lack.
_TIME = (
    rf"(?<![\d:])(?:{_DIGITS.format(4)}{_COLON})?{_DIGITS.format(4)}{_COLON}{_DIGITS.format(2)}"
    rf"(?:{_POINT}{_DIGITS.format(9)})?"
)
_ARROW = r"(?P<arrow>[-–—−=]{1,3} ?-?(?:>|&gt;|＞)|→)"
_ARROW_HEAD = re.compile("[>→＞]|&gt;")
_GARBAGE = r"(?::|[^\W\d]+[.,]\d+)?"  # left by faulty programs right behind a time: "14,0:", "19abc,580"
_SETTING = r"[ \t]+(?:[XY][12]|align|position|line|size|vertical|region|[ADLST]):\S+"
_TIMING = re.compile(rf"{_TIME}{_SPACE}{_ARROW}{_SPACE}-?{_TIME}{_GARBAGE}(?:{_SETTING})*", re.IGNORECASE)
_REPAIRED = re.compile(r"\d\d:\d\d:\d\d,\d{3} --> \d\d:\d\d:\d\d,\d{3}")
_PART_OF_TIME = re.compile(r"\d\s{0,4}:\s{0,4}\d|^[\d\s:.,;>-]*$")
_CUT_TIME = re.compile(r"\d+:[\d:.,\s>-]*")
_TIME_ALONE = re.compile(_TIME)
_WORD = re.compile(r"\w")

_WEBVTT_BLOCK = re.compile(r"(?:WEBVTT|NOTE)(?:[ \t]|$)|(?:STYLE|REGION)\s*$")
_TIME_TAG = re.compile(r"<(?:\d+:)?\d+:\d+\.\d+>")  # of karaoke and automatic captions: <00:00:01.000>
_PYSUBS2_TIME = re.compile(r"\d{1,2}:\d{1,2}:\d{1,2}[.,]\d{1,3}")

_EVENT_FIELDS = ("layer", "start", "end", "style", "name", "marginl", "marginr", "marginv", "effect", "text")
_EVENT_LINE = re.compile(r"(dialogue|format|comment|picture|sound|movie|command|style)\s*:\s*(.*)", re.IGNORECASE)


@dataclass(frozen=True)
class Repaired:
    """A subtitle file after the repair.

    Attributes:
        text: SubRip or SubStation text that pysubs2 reads as it is.
        cues: Number of cues in it.
        untimed: Lines of text without a time, which are not in `text`: those before the first time.
        unreadable: Number of cues whose time could not be read. SubRip and WebVTT cues of this kind get the end of the
            cue before them; so do SubStation events, except those that lack fields, which are not in `text`.
    """

    text: str
    cues: int
    untimed: tuple[str, ...]
    unreadable: int


def repair_subrip(text: str, *, is_webvtt: bool) -> Repaired:
    """Repair SubRip or WebVTT text: one number, one time and then the words of each cue, without anything else."""
    lines, unreadable = _with_repaired_times(text)
    out: list[str] = []
    untimed: list[str] = []
    cues = 0
    skips_block = False
    numbers = _CueNumbers(lines, is_webvtt)
    for place, line in enumerate(lines):
        if is_time_line(line):
            cues += 1
            skips_block = False
            out += ["", str(cues), line]
        elif not line:
            skips_block = False
        elif skips_block or numbers.is_number(place):
            continue
        elif is_webvtt and not (place and lines[place - 1]) and _WEBVTT_BLOCK.match(line):
            skips_block = True
        elif cues:
            out += _without_times(line)
        else:
            untimed.append(line)
    # pysubs2 removes a number at the end of each cue. With this line the last cue has one, too.
    out += ["", str(cues + 1), ""]
    return Repaired("\n".join(out), cues, tuple(untimed), unreadable)


def is_webvtt_text(text: str) -> bool:
    """Whether a text begins as WebVTT does."""
    return text.lstrip().startswith("WEBVTT")


def is_time_line(line: str) -> bool:
    """Whether a line holds nothing but the times of a cue, in the form of `repaired_lines`."""
    return len(line) == 29 and _REPAIRED.fullmatch(line) is not None


def repaired_lines(text: str) -> list[str]:
    """Return the lines of a text, stripped, with every readable time on a line of its own (`is_time_line`)."""
    lines: list[str] = []
    for line in text.split("\n"):
        if _ARROW_HEAD.search(line):
            lines += _split_at_times(line)
        else:
            lines.append(line.strip())
    return lines


def _with_repaired_times(text: str) -> tuple[list[str], int]:
    """Return `repaired_lines`, with unreadable times replaced by the end of the cue before, and their number.

    Without any readable time, unreadable times stay as they are.
    """
    lines = repaired_lines(text)
    end = next((line.split()[0] for line in lines if is_time_line(line)), None)
    unreadable = 0
    for place, line in enumerate(lines):
        if is_time_line(line):
            end = line.split()[-1]
        elif "-->" in line and _PART_OF_TIME.search(line):
            unreadable += 1
            if end is not None:
                lines[place] = f"{end} --> {end}"
    filled = [place for place, line in enumerate(lines) if line][-2:]
    if end is not None and _CUT_TIME.fullmatch(lines[filled[-1]]) and _is_decimal(lines[filled[0]]):
        lines[filled[-1]] = f"{end} --> {end}"  # the file ends in the middle of a time
        unreadable += 1
    return lines, unreadable


def _split_at_times(line: str) -> list[str]:
    """Return the times of cues in a line as SubRip writes them, and the words around them, each as a line."""
    lines: list[str] = []
    end = 0
    for match in _TIMING.finditer(line):
        # Somebody may say "10:30 -> 11:45", so an arrow of another form must stand alone with its times.
        if match["arrow"] != "-->" and (line[: match.start()].strip("- \t\xa0\u3000") or line[match.end() :].strip()):
            continue
        groups = [group for place, group in enumerate(match.groups(), 1) if place != match.re.groupindex["arrow"]]
        times = (_milliseconds(*groups[:4]), _milliseconds(*groups[4:]))
        lines += [line[end : match.start()].strip(), " --> ".join(map(_subrip_time, times))]
        end = match.end()
    if not lines:
        return [line.strip()]
    return [part for part in (*lines, line[end:].strip()) if _WORD.search(part)]


def _milliseconds(hours: str | None, minutes: str, seconds: str, fraction: str | None) -> int:
    whole_s = int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds)
    return min(whole_s * 1000 + round(float(f"0.{fraction or 0}") * 1000), LATEST_MS)


def _subrip_time(time_ms: int) -> str:
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{milliseconds:03}"


def _without_times(line: str) -> list[str]:
    """Return a line without time tags, and cut it where pysubs2 would take two times in one line for a new cue."""
    line = _TIME_TAG.sub("", line)
    return _PYSUBS2_TIME.sub(r"\n\g<0>", line).split("\n") if len(_PYSUBS2_TIME.findall(line)) > 1 else [line]


class _CueNumbers:
    """Tells the numbers and names of cues from words.

    Args:
        lines: `repaired_lines`.
        is_webvtt: Names other than numbers occur only in WebVTT.
    """

    def __init__(self, lines: list[str], is_webvtt: bool) -> None:
        self._lines = lines
        self._is_webvtt = is_webvtt
        self._next_filled = _next_filled(lines)
        times = [place for place, line in enumerate(lines) if is_time_line(line)]
        numbered = sum(place > 0 and _is_decimal(lines[place - 1]) for place in times)
        apart = sum(place > 1 and not lines[place - 1] and _is_decimal(lines[place - 2]) for place in times)
        self._is_numbered = 2 * (numbered + apart) > len(times)
        self._previous: int | None = None

    def is_number(self, place: int) -> bool:
        """Whether the line is the number or the name of the cue that follows. Ask once for each line, in order."""
        lines, line, following = self._lines, self._lines[place], self._next_filled[place]
        follows_blank = place == 0 or not lines[place - 1]
        if following is None:  # the file may be cut after a number
            return self._is_numbered and follows_blank and line == str((self._previous or 0) + 1)
        if not is_time_line(lines[following]):
            return False
        is_close = following == place + 1
        if not _is_decimal(line):
            return self._is_webvtt and is_close and follows_blank and not _WEBVTT_BLOCK.match(line)
        if not self._is_numbered:
            return is_close and follows_blank
        number = int(line)
        is_next = self._previous is not None and number == self._previous + 1
        # A number right after a time may be all that is said.
        if not (is_next or follows_blank or (is_close and not is_time_line(lines[place - 1]))):
            return False
        self._previous = number
        return True


def _is_decimal(line: str) -> bool:
    return line.isdecimal() and len(line) < 10


def _next_filled(lines: list[str]) -> list[int | None]:
    """Return for each line the place of the next line that is not blank."""
    places: list[int | None] = []
    following: int | None = None
    for place in reversed(range(len(lines))):
        places.append(following)
        if lines[place]:
            following = place
    return places[::-1]


def repair_substation(text: str) -> Repaired:
    """Repair SubStation text (`.ass`, `.ssa`): the dialogue alone, its fields in the order that pysubs2 expects."""
    fields: tuple[str, ...] = _EVENT_FIELDS
    events: list[list[str]] = []  # start, end, text
    unreadable = 0
    in_events = continues = False
    end = _substation_time(0)
    for line in map(str.strip, text.split("\n")):
        if re.fullmatch(r"\[[\w+ ]+\]", line):
            in_events, continues = line.lower() == "[events]", False
        elif (match := _EVENT_LINE.match(line)) is None:
            if in_events and continues and line and not line.startswith(";"):
                events[-1][2] += rf"\N{line}"  # a line break that somebody typed
        elif match[1].lower() == "format" and in_events:
            fields = tuple(name.strip().lower() for name in match[2].split(","))
        elif match[1].lower() == "dialogue":
            values = dict(zip(fields, match[2].split(",", len(fields) - 1), strict=False))
            continues = "text" in values
            times = [_TIME_ALONE.fullmatch(values.get(name, "").strip()) for name in ("start", "end")]
            unreadable += not (continues and all(times))
            start, end = (end if time is None else _substation_time(_milliseconds(*time.groups())) for time in times)
            if continues:
                events.append([start, end, values["text"]])
        else:
            continues = False
    lines = [f"Dialogue: 0,{start},{end},Default,,0,0,0,,{words}" for start, end, words in events]
    return Repaired("\n".join(["[Events]", *lines]), len(events), (), unreadable)


def _substation_time(time_ms: int) -> str:
    return _subrip_time(time_ms).replace(",", ".")
