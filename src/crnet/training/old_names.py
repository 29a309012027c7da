"""Files of earlier versions: names that have changed, and fields that did not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CURRENT_NAMES = {"guide": "classification"}
ADDED_FIELDS: dict[str, dict[str, Any]] = {
    "model": {"text_path": "concat"},
    "fusion": {"fit_on": "training"},
}
"""Fields added to each part of the configuration, with the value that describes what earlier versions did."""


def with_current_names(document: Any) -> Any:
    """Return a JSON document with current names, for configurations and logs that may be old.

    Keys and texts are replaced if the whole key or text is an old name.
    """
    if isinstance(document, dict):
        return {CURRENT_NAMES.get(key, key): with_current_names(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [with_current_names(value) for value in document]
    return CURRENT_NAMES.get(document, document) if isinstance(document, str) else document


def with_current_fields(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a configuration with current names, and with the fields that an older version lacked."""
    current: dict[str, Any] = with_current_names(config)
    parts = {part: current[part] for part in ADDED_FIELDS if isinstance(current.get(part), dict)}
    added = {part: {**ADDED_FIELDS[part], **fields} for part, fields in parts.items()}
    return {**current, **added}
