"""Text from the program as Markdown that shows its signs as they are."""

from __future__ import annotations

import re


def escaped(text: str) -> str:
    """Return Markdown that shows a text; `<` and `>` need names, because a backslash before them would be shown."""
    return re.sub(r"([\\*_{}\[\]#|~])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")
