"""Text in the cells of a CSV that a spreadsheet would take for a formula, and run."""

from __future__ import annotations

import re
from typing import Any

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")  # the last four are full-width forms of the first
_PLAIN_NAME = re.compile(r"-[\w./-]*")  # ids of YouTube begin with a dash: no operator or call can follow
_MARK = "'"  # spreadsheets then show the rest as text


def neutral_cell(value: Any) -> Any:
    """Return a cell that no spreadsheet runs: text that begins like a formula gets a leading apostrophe.

    Numbers stay, and so do names such as `-2qsCrkXdWs.001.mp4`, which tables must have in common.
    """
    if not isinstance(value, str) or not _FORMULA.match(value.lstrip(" " + _MARK)) or _PLAIN_NAME.fullmatch(value):
        return value
    return _MARK + value


def original_cell(text: str) -> str:
    """Return the text that `neutral_cell` got."""
    inner = text[1:]
    return inner if text.startswith(_MARK) and neutral_cell(inner) == text else text
