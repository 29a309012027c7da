"""Errors that a user can act on: what is wrong, with which file, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
"""Characters that command a terminal, begin a line or turn the direction of writing."""


def printable(text: str) -> str:
    """Return text with its control characters escaped: a file's name must not command a terminal or forge a log."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class CrnetError(Exception):
    """Base class of every error that `crnet` raises on purpose.

    Args:
        reason: What is wrong, in one line without a full stop.
        path: The file, folder or object, if any.
        remedy: What the user can do, in one line without a full stop.
    """

    def __init__(self, reason: str, *, path: object = None, remedy: str | None = None) -> None:
        self.reason = reason
        self.path: Any = Path(path) if isinstance(path, str) and "://" not in path else path
        self.remedy = remedy
        super().__init__(reason, path, remedy)

    def __str__(self) -> str:
        path = "" if self.path is None else f"{self.path}: "
        remedy = "" if self.remedy is None else f" ({self.remedy})"
        return printable(" ".join(f"{path}{self.reason}{remedy}".split()))

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.reason, self.path, self.remedy)


def _rebuild(kind: type[CrnetError], reason: str, path: object, remedy: str | None) -> CrnetError:
    return kind(reason, path=path, remedy=remedy)


class UsageError(CrnetError):
    """The command or call does not make sense."""


class ConfigError(CrnetError):
    """A configuration value is out of range or contradicts another."""


class MediaError(CrnetError):
    """A video or audio file cannot be read."""


class NotScoredError(MediaError):
    """A file can be read, but a score of it would mean nothing: a still picture, or a video without a face."""


class LabelError(CrnetError):
    """An annotation, a transcript or a table of clips cannot be used."""


class FormatError(CrnetError):
    """A file of `crnet` (clip, manifest, checkpoint, bundle) is damaged, foreign or of another version."""


class ArchiveError(CrnetError):
    """An archive is damaged, locked or dangerous to unpack."""


class DamagedArchiveError(ArchiveError):
    """An archive, or one of its members, is incomplete or damaged; others beside it may be intact."""


class StorageError(CrnetError):
    """Writing failed, for example because the disk is full or permission is missing."""


class MissingDependencyError(CrnetError):
    """An optional package is required and not installed."""
