"""Which clips show the same person or come from the same video: those that must not be told apart by a split."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable

from crnet.data.manifest import ClipRow

_OF_A_VIDEO = re.compile(r"(?P<video>.+)\.\d{3}(\.\w+)?")  # First Impressions: <video>.<number of the clip>.mp4


def group_of(row: ClipRow) -> str:
    """Whom or what a clip shows: its person, or the video it was cut from, or itself."""
    return video_of(row) if row.person is None else f"person {row.person}"


def video_of(row: ClipRow) -> str:
    """The video that a clip was cut from, or the clip itself if its name does not tell."""
    cut = _OF_A_VIDEO.fullmatch(row.clip_id)
    return f"video {cut['video'] if cut else row.clip_id}"


def grouped(rows: Iterable[ClipRow], name_of: Callable[[ClipRow], str]) -> dict[str, list[str]]:
    """Names of the clips that go by one name of a group, in the order of `rows`."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        groups[name_of(row)].append(row.clip_id)
    return groups


def by_hash(names: Iterable[str]) -> list[str]:
    """Names in an order that has nothing to do with what they stand for, and is the same on every machine."""
    return sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
