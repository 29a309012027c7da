"""Guess the language of a transcript from its most common words; good enough for a warning, not for more."""

from __future__ import annotations

import unicodedata
from collections import Counter

from crnet.text.words import split_words

MIN_WORDS = 8
MIN_COMMON_SHARE = 0.15  # share of the words; running speech in any of these languages has 0.3 or more
MAX_CHARACTERS = 4_000  # more text does not change the guess

_COMMON = {
    "English": "the and to of a i you it that is in was for on we my have this with are so be but they what just not",
    "Spanish": "el la los las de que y en un una por con para no es lo como más pero su me yo muy está esto porque",
    "French": "le la les de des et en un une que qui pour dans est je vous nous pas ce il elle sur avec mais très",
    "German": "der die das und ich nicht ist es ein eine zu wir sie mit auf für den dem auch aber wie haben sind war",
    "Italian": "il la le gli di che e un una per con non è sono mi ma come più questo anche si della io lo perché",
    "Portuguese": "o a os as de que e em um uma para com não é eu mas como mais muito isso você por está se também",
    "Dutch": "de het een en van ik dat niet is in op te we met voor zijn ook maar die er aan als wat heb naar",
}
LANGUAGE_CODES = {
    "English": "en",
    "Spanish": "es",
    "French": "fr",
    "German": "de",
    "Italian": "it",
    "Portuguese": "pt",
    "Dutch": "nl",
}
"""The ISO 639-1 code of each language."""
COMMON_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def guess_language(text: str) -> str | None:
    """Return the language's English name, or its script ("Cyrillic script") if that is not Latin; None if unclear."""
    sample = text[:MAX_CHARACTERS]
    script = _script(sample)
    if script not in (None, "Latin"):
        return f"{script} script"
    words = split_words(sample)
    if len(words) < MIN_WORDS:
        return None
    shares = {name: sum(word in common for word in words) / len(words) for name, common in COMMON_WORDS.items()}
    best, second = sorted(shares, key=lambda name: -shares[name])[:2]
    return best if shares[best] >= MIN_COMMON_SHARE and shares[best] > shares[second] else None


def _script(text: str) -> str | None:
    """Return the script of most of the letters; None if there are no letters."""
    letters = Counter(unicodedata.name(c, "unknown").split()[0] for c in text if c.isalpha())
    return letters.most_common(1)[0][0].capitalize() if letters else None
