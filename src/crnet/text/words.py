"""Words of a text in any language."""

from __future__ import annotations

import re
import unicodedata

from crnet.text.encoder_interface import LONGEST_TEXT_CHARACTERS


def split_words(text: str) -> list[str]:
    """Return the words of a text in lower case, without punctuation; apostrophes inside a word stay.

    Text beyond `LONGEST_TEXT_CHARACTERS` is ignored.
    """
    plain = unicodedata.normalize("NFKC", text[:LONGEST_TEXT_CHARACTERS]).lower().replace("’", "'")
    return re.findall(r"\w+(?:'\w+)*", plain)
