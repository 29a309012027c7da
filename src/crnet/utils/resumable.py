"""Resume the work in a folder, or refuse a folder that was made with another configuration.

A command that can be interrupted records its settings in a JSON file in its folder. When the command runs again, it
compares that record with its own settings: equal settings resume the work, different settings are refused by name.
Smaller results (a clip file, a network, a section) carry a fingerprint of their settings instead of the settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.errors import ConfigError, FormatError, UsageError
from crnet.utils.files import TEMPORARY_PREFIX, read_json

SHORT_DIGITS = 16
LISTED_CHANGES = 3  # an error names this many changed settings and counts the others


def fingerprint(document: Any) -> str:
    """Return 64 hexadecimal digits that identify a JSON document of settings or inputs, with its keys in any order."""
    return content_fingerprint([json.dumps(document, sort_keys=True).encode()])


def list_fingerprint(items: Iterable[Any]) -> str:
    """Return the `fingerprint` of the list of some items, with one of them in memory at a time."""
    return content_fingerprint(json_list(items))


def json_list(items: Iterable[Any]) -> Iterator[bytes]:
    """Yield the JSON of the list of some items in parts, with one of them in memory at a time."""
    yield b"["
    for index, item in enumerate(items):
        yield f"{', ' if index else ''}{json.dumps(item, sort_keys=True)}".encode()
    yield b"]"


def short_fingerprint(document: Any) -> str:
    """Return the first 16 digits of `fingerprint`, for names and metadata."""
    return fingerprint(document)[:SHORT_DIGITS]


def content_fingerprint(parts: Iterable[bytes | memoryview]) -> str:
    """Return 64 hexadecimal digits that identify bytes; how the bytes are divided into parts does not matter."""
    sha256 = hashlib.sha256()
    for part in parts:
        sha256.update(part)
    return sha256.hexdigest()


def differences(recorded: Any, current: Any, name: str = "") -> Iterator[str]:
    """Yield every setting that differs between two JSON documents, with both values: "model.width was 8 and is now 16".

    A missing setting equals None, so that a new optional setting does not refuse older folders.

    Args:
        recorded: The earlier document.
        current: The document to compare with.
        name: Dotted name of the documents within a larger one.
    """
    if isinstance(recorded, dict) and isinstance(current, dict):
        for key in dict.fromkeys((*current, *recorded)):
            yield from differences(recorded.get(key), current.get(key), f"{name}.{key}" if name else key)
    elif isinstance(recorded, list) and isinstance(current, list) and len(recorded) == len(current):
        for index, values in enumerate(zip(recorded, current, strict=True)):
            yield from differences(*values, f"{name}.{index}" if name else str(index))
    elif recorded != current:
        yield f"{name or 'the document'} was {recorded!r} and is now {current!r}"


def as_json(document: Any) -> Any:
    """Return a document as it reads back from a JSON file: tuples become lists, paths become text."""
    return json.loads(json.dumps(document, default=str))


def _whole(document: Any) -> Any:
    return document


@dataclass(frozen=True)
class ResumableFolder:
    """A kind of folder whose work can be resumed.

    Attributes:
        contents: Name of such a folder's content, for errors: "a clip store".
        settings_file: Name of the JSON file in the folder that records the settings.
        result_settings: Returns the part of such a document that must be equal to resume; versions, for example, may
            differ.
        exclusive: Whether to refuse a folder that contains other files and no settings file.
    """

    contents: str
    settings_file: str
    result_settings: Callable[[Any], Any] = _whole
    exclusive: bool = True

    def check(self, folder: Path, settings: dict[str, Any], earlier: dict[str, Any] | None = None) -> bool:
        """Return True if the folder was begun with the same settings, False if the command has to record its own.

        Args:
            folder: It need not exist.
            settings: The document that this command would record.
            earlier: The document that an earlier version recorded for the same command, if this version can go on in
                such a folder.

        Raises:
            ConfigError: The folder was made with another configuration.
            UsageError: It is a file, or contains something else.
            FormatError: The settings file is damaged.
        """
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"is a file, not a folder for {self.contents}", path=folder, remedy="name a new folder")
        path = folder / self.settings_file
        if not path.is_file():
            if self.exclusive and _has_other_files(folder):
                reason = f"is not empty, and has no {self.settings_file} as {self.contents} would"
                raise UsageError(reason, path=folder, remedy="name a new or an empty folder")
            return False
        recorded = read_json(path, f"the settings of {self.contents}")
        if earlier is not None and recorded == earlier:
            return False
        try:
            earlier = self.result_settings(recorded)
        except (KeyError, TypeError, AttributeError) as error:
            raise FormatError(f"does not contain the settings of {self.contents}", path=path) from error
        changed = list(differences(earlier, self.result_settings(as_json(settings))))
        if changed:
            raise ConfigError(
                f"this folder holds {self.contents} made with another configuration: {_shorten(changed)}",
                path=path,
                remedy="repeat those settings, choose another folder, or delete this one to start again",
            )
        return True


def _has_other_files(folder: Path) -> bool:
    return folder.is_dir() and any(not path.name.startswith(TEMPORARY_PREFIX) for path in folder.iterdir())


def _shorten(changed: list[str]) -> str:
    more = len(changed) - LISTED_CHANGES
    listed = "; ".join(changed[:LISTED_CHANGES])
    return listed if more <= 0 else f"{listed}; and {more} more"
