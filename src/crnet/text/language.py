"""A guess at the language of a transcript, by its commonest words. Good for a warning, not for more."""

from __future__ import annotations

import unicodedata
from collections import Counter

from crnet.text.encoders import words_of

FEWEST_WORDS = 8
FEWEST_COMMON = 0.15  # share of the words; running speech of any of these languages has 0.3 or more
LONGEST_LOOK = 4_000  # characters; more do not change the guess

_COMMON = {
    "English": "the and to of a i you it that is in was for on we my have this with are so be but they what just not",
    "Spanish": "el la los las de que y en un una por con para no es lo como más pero su me yo muy está esto porque",
    "French": "le la les de des et en un une que qui pour dans est je vous nous pas ce il elle sur avec mais très",
    "German": "der die das und ich nicht ist es ein eine zu wir sie mit auf für den dem auch aber wie haben sind war",
    "Italian": "il la le gli di che e un una per con non è sono mi ma come più questo anche si della io lo perché",
    "Portuguese": "o a os as de que e em um uma para com não é eu mas como mais muito isso você por está se também",
    "Dutch": "de het een en van ik dat niet is in op te we met voor zijn ook maar die er aan als wat heb naar",
}
COMMON_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}


def language_of(text: str) -> str | None:
    """The language's English name, or the script's ("Cyrillic script") if it is not Latin; None if it is not clear."""
    looked_at = text[:LONGEST_LOOK]
    script = _script(looked_at)
    if script not in (None, "Latin"):
        return f"{script} script"
    words = words_of(looked_at)
    if len(words) < FEWEST_WORDS:
        return None
    shares = {name: sum(word in common for word in words) / len(words) for name, common in COMMON_WORDS.items()}
    best, second = sorted(shares, key=lambda name: -shares[name])[:2]
    return best if shares[best] >= FEWEST_COMMON and shares[best] > shares[second] else None


def _script(text: str) -> str | None:
    """The script of most of the letters; None of a text without letters."""
    letters = Counter(unicodedata.name(c, "unknown").split()[0] for c in text if c.isalpha())
    return letters.most_common(1)[0][0].capitalize() if letters else None
