"""Find the transcripts beside a video by their names: `talk.srt`, `talk.mp4.srt` or `talk.en.srt` beside `talk.mp4`."""

from __future__ import annotations

import logging
import os
import re
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from crnet.utils.storage import RemotePath

SUFFIXES = (".txt", ".srt", ".vtt", ".ass", ".ssa")  # in capitals, too
SETTLED_NS = 2_000_000_000  # a folder changed longer ago than this has another time after its next change

_LANGUAGE = r"[a-z]{2,3}(?:[-_][a-z0-9]{2,8}){0,3}|english|spanish|french|german|italian|portuguese|dutch"
_MARK = "sdh|cc|hi|forced|auto|asr|default|orig"
_TAG = re.compile(rf"(?:{_LANGUAGE})(?:\.(?:{_MARK}))?|{_MARK}", re.IGNORECASE)
_ENGLISH = re.compile(r"en(?:g|glish)?\b")

_log = logging.getLogger(__name__)


def find_sidecars(video: Path) -> list[Path]:
    """Return the transcripts beside a video, best first.

    The names are, in this order: the video's name with another suffix (`talk.srt`), with a further suffix
    (`talk.mp4.srt`), and each of the two with a language tag before the suffix (`talk.en.srt`, `talk.pt-BR.sdh.vtt`).
    Of names of one kind, English comes first, then the order of the alphabet, forced subtitles last, because they hold
    only some of the words. Of equal names, the order is that of `SUFFIXES`, and suffixes in small letters come first.
    A name that belongs to another video (`talk.en.mp4`) does not count. A special file, or a link to another folder, is
    skipped with a warning.
    """
    folder = _list_folder(video.parent)
    ranked = []
    for has_suffix, base in enumerate((video.stem, video.name)):
        for tag, name in folder.transcripts.get(_normalised(base), ()):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122  # a name, not a path
            if tag and stem + video.suffix in folder.names:
                continue
            if not is_beside(video.with_name(name), video):
                _log.warning("%s is skipped: not a regular file, or a link to another folder", video.with_name(name))
                continue
            language = ("forced" in tag, not _ENGLISH.match(tag), tag)
            ranked.append((bool(tag), has_suffix, language, SUFFIXES.index(suffix.lower()), suffix.isupper(), name))
    return [video.with_name(name) for *_, name in sorted(ranked)]


def is_beside(path: Path, video: Path) -> bool:
    """Whether a path is a regular file in the folder of a video. A link must not lead out of this folder."""
    try:
        return path.is_file() and path.resolve(strict=True).parent == video.parent.resolve()
    except (OSError, RuntimeError):  # RuntimeError: a circle of links
        return False


@dataclass(frozen=True)
class _Folder:
    """The names in a folder.

    Attributes:
        names: All names.
        transcripts: For each beginning of a name, the transcripts that may belong to it: language tag and name.
    """

    names: frozenset[str] = frozenset()
    transcripts: Mapping[str, list[tuple[str, str]]] = field(default_factory=dict)


def _list_folder(folder: Path) -> _Folder:
    """Return the names in a folder, none if it cannot be read. One folder may hold all videos of a data set."""
    if isinstance(folder, RemotePath):
        return _list_objects(folder)
    try:
        changed_ns = folder.stat().st_mtime_ns
        if time.time_ns() - changed_ns > SETTLED_NS:
            return _list_settled_folder(folder.resolve(), changed_ns)
        return _list_now(folder)
    except OSError:
        return _Folder()


@lru_cache(maxsize=4)
def _list_settled_folder(folder: Path, changed_ns: int) -> _Folder:
    """Return the names in a folder that has not changed since `changed_ns`."""
    return _list_now(folder)


@lru_cache(maxsize=4)
def _list_objects(folder: RemotePath) -> _Folder:
    """Return the names in a folder of object storage. A command lists it once."""
    try:
        return _transcripts_among(frozenset(path.name for path in folder.iterdir()))
    except FileNotFoundError:
        return _Folder()


def _list_now(folder: Path) -> _Folder:
    return _transcripts_among(frozenset(os.listdir(folder)))  # noqa: PTH208  # names, not paths


def _transcripts_among(names: frozenset[str]) -> _Folder:
    transcripts: dict[str, list[tuple[str, str]]] = {}
    for name in sorted(names):
        stem, suffix = os.path.splitext(name)  # noqa: PTH122
        if suffix.lower() in SUFFIXES:
            for base, tag in _split_tag(_normalised(stem)):
                transcripts.setdefault(base, []).append((tag, name))
    return _Folder(names, transcripts)


def _split_tag(stem: str) -> Iterator[tuple[str, str]]:
    """Yield what may be the name of the video and the language tag in the name of a transcript."""
    yield stem, ""
    for parts in (1, 2):
        base, *tag = stem.rsplit(".", parts)
        if len(tag) == parts and _TAG.fullmatch(".".join(tag)):
            yield base, ".".join(tag).lower()


def _normalised(name: str) -> str:
    return unicodedata.normalize("NFC", name)  # macOS writes accents as characters of their own
