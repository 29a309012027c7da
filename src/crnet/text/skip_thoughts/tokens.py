"""Split English text into sentences and tokens as the authors of skip-thoughts did.

Their encoder splits a text into sentences (NLTK's Punkt) and each sentence into tokens by the rules of the Penn
Treebank (NLTK's `word_tokenize`); case is kept. This module implements the Treebank rules. Punkt is a trained model
that would have to be downloaded, so a few rules replace it; they only decide which full stops become tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_ABBREVIATION_LIST = (
    "mr mrs ms dr prof rev hon st jr sr gen col capt lt sgt gov sen rep messrs mme mlle "
    "vs etc e.g i.e cf viz al no vol fig ed pp inc ltd co corp dept est approx "
    "jan feb mar apr jun jul aug sep sept oct nov dec a.m p.m u.s u.k ph.d b.a m.a"
)
_ABBREVIATIONS = frozenset(_ABBREVIATION_LIST.split())
# A mark that may end a sentence, closing quotes and brackets after it, and the white space before the next word. The
# lookbehind and the possessive ++ avoid quadratic time on a text that consists only of such marks.
_SENTENCE_END = re.compile(r"(?<![.!?])(?P<mark>[.!?]++)[\"'”’)\]}]*+\s+(?=[\"'“‘(\[{]*(?P<next>\S))")
_LAST_WORD = re.compile(r"[^\s\"'“‘(\[{]+$")


def _compile(*rules: tuple[str, str]) -> tuple[tuple[re.Pattern[str], str], ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in rules)


# Treebank rules in their order: opening quotes, punctuation, brackets, closing quotes, contractions.
_RULES = _compile(
    (r'^"', r"``"),
    (r"(``)", r" \1 "),
    (r'([ (\[{<])"', r"\1 `` "),
    (r"([:,])([^\d])", r" \1 \2"),
    (r"([:,])$", r" \1 "),
    (r"\.\.\.", r" ... "),
    (r"[;@#$%&]", r" \g<0> "),
    (r"([^.])(\.)([\])}>\"']*)\s*$", r"\1 \2\3 "),
    (r"[?!]", r" \g<0> "),
    (r"([^'])' ", r"\1 ' "),
    (r"[\]\[(){}<>]", r" \g<0> "),
    (r"--", r" -- "),
)
_CLOSING_RULES = _compile(
    (r'"', r" '' "),
    (r"(\S)('')", r"\1 \2 "),
    (r"([^' ])('[sS]|'[mM]|'[dD]|') ", r"\1 \2 "),
    (r"([^' ])('ll|'LL|'re|'RE|'ve|'VE|n't|N'T) ", r"\1 \2 "),
    (r"(?i)\b(can)(not)\b", r" \1 \2 "),
    (r"(?i)\b(d)('ye)\b", r" \1 \2 "),
    (r"(?i)\b(gim|lem)(me)\b", r" \1 \2 "),
    (r"(?i)\b(gon|wan)(na)\b", r" \1 \2 "),
    (r"(?i)\b(got)(ta)\b", r" \1 \2 "),
    (r"(?i)\b(more)('n)\b", r" \1 \2 "),
    (r"(?i) ('t)(is|was)\b", r" \1 \2 "),
)


def tokenize(text: str) -> list[str]:
    """Return the tokens of a text: words, parts of contractions ("do", "n't"), punctuation marks."""
    return [token for sentence in split_sentences(text) for token in tokenize_sentence(sentence)]


def split_sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text; none is empty.

    A sentence ends at a full stop, question mark or exclamation mark followed by white space, unless the next word
    begins in lower case or the full stop belongs to an abbreviation or an initial.
    """
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if _ends_sentence(text[start : end.start()], end["mark"], end["next"]):
            yield text[start : end.end()].strip()
            start = end.end()
    if last := text[start:].strip():
        yield last


def tokenize_sentence(sentence: str) -> list[str]:
    """Return the tokens of one sentence; of its full stops, only the last becomes a token."""
    for pattern, replacement in _RULES:
        sentence = pattern.sub(replacement, sentence)
    sentence = f" {sentence} "
    for pattern, replacement in _CLOSING_RULES:
        sentence = pattern.sub(replacement, sentence)
    return sentence.split()


def _ends_sentence(before: str, mark: str, following: str) -> bool:
    if following.islower():
        return False
    if mark != ".":
        return True
    word = _LAST_WORD.search(before[-40:])  # longer than any abbreviation
    if word is None:
        return True
    is_initial = len(word[0]) == 1 and word[0].isupper() and word[0] != "I"
    return not is_initial and word[0].lower() not in _ABBREVIATIONS
