"""Names in files of version 0.1 that have changed since: the loss term "guide" is now "classification"."""

from __future__ import annotations

from typing import Any

CURRENT_NAMES = {"guide": "classification"}
OLD_NAMES = {current: old for old, current in CURRENT_NAMES.items()}


def with_current_names(document: Any) -> Any:
    """Return a JSON document with current names, for configurations and logs that may be old.

    Keys and texts are replaced if the whole key or text is an old name.
    """
    return _renamed(document, CURRENT_NAMES)


def with_old_names(document: Any) -> Any:
    """Return a JSON document with the names of version 0.1, for fingerprints that must stay as they were."""
    return _renamed(document, OLD_NAMES)


def _renamed(document: Any, names: dict[str, str]) -> Any:
    if isinstance(document, dict):
        return {names.get(key, key): _renamed(value, names) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [_renamed(value, names) for value in document]
    return names.get(document, document) if isinstance(document, str) else document
