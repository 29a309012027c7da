"""Transcripts as vectors of 4,800 numbers."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crnet.errors import ConfigError
from crnet.schema import TEXT_DIMENSIONS

LONGEST_TEXT_CHARACTERS = 100_000  # some two hours of speech: bounds the time that any input can take
WORD_NGRAMS = (1, 2)
CHARACTER_NGRAMS = (3, 4, 5)


class TextEncoder(Protocol):
    """Turns texts into vectors; the same text always gives the same vector."""

    @property
    def name(self) -> str:
        """What a bundle records, and `encoder_by_name` understands."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32 [n, 4800]; an empty text is all zeros."""


class HashedNgrams:
    """Hashed word and character n-grams: no download, no vocabulary, the same on every machine.

    Each word 1- and 2-gram and each 3- to 5-gram of characters inside a word adds +1 or -1 at a place out of 4,800;
    sign and place come from a CRC-32 of the n-gram (feature hashing, Weinberger et al. 2009). Words and characters
    are scaled apart so that neither drowns the other, and the sum is scaled to length 1.
    """

    name = "hashed-ngrams-v1"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32 [n, 4800] of length 1; a text without a letter or digit is all zeros."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = _encode(text)
        return vectors


def encoder_by_name(name: str) -> TextEncoder:
    """The encoder that a configuration or a bundle names.

    Raises:
        ConfigError: There is no such encoder.
    """
    if name == HashedNgrams.name:
        return HashedNgrams()
    raise ConfigError(f"unknown text encoder {name!r}", remedy=f"known: {HashedNgrams.name}")


def words_of(text: str) -> list[str]:
    """The words of a text in lower case; punctuation is dropped, apostrophes inside a word stay."""
    plain = unicodedata.normalize("NFKC", text[:LONGEST_TEXT_CHARACTERS]).lower().replace("’", "'")
    return re.findall(r"\w+(?:'\w+)*", plain)


def _encode(text: str) -> NDArray[np.float64]:
    words = words_of(text)
    return _unit(_unit(_hashed(_word_ngrams(words))) + _unit(_hashed(_character_ngrams(words))))


def _word_ngrams(words: Sequence[str]) -> Iterator[str]:
    for n in WORD_NGRAMS:
        for start in range(len(words) - n + 1):
            yield "w " + " ".join(words[start : start + n])


def _character_ngrams(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        marked = f"<{word}>"
        for n in CHARACTER_NGRAMS:
            for start in range(len(marked) - n + 1):
                yield "c " + marked[start : start + n]


def _hashed(ngrams: Iterator[str]) -> NDArray[np.float64]:
    # Not Python's hash(): that one differs from process to process.
    codes = np.fromiter((zlib.crc32(ngram.encode("utf-8", "replace")) for ngram in ngrams), dtype=np.int64)
    signs = 1.0 - 2.0 * (codes & 1)
    summed = np.zeros(TEXT_DIMENSIONS)
    np.add.at(summed, (codes >> 1) % TEXT_DIMENSIONS, signs)
    return summed


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
