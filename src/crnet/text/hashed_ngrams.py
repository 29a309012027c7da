"""The default text encoder: hashed word and character n-grams."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from crnet.text.words import split_words
from crnet.types import TEXT_DIMENSIONS

WORD_NGRAMS = (1, 2)
CHARACTER_NGRAMS = (3, 4, 5)


class HashedNgrams:
    """Hashed word and character n-grams: no download, no vocabulary, the same on every machine.

    Each word 1- and 2-gram and each character 3- to 5-gram inside a word adds +1 or -1 at one of 4,800 positions. The
    CRC-32 of the n-gram decides sign and position (feature hashing, Weinberger et al. 2009). Words and characters are
    scaled separately, so that neither outweighs the other, and the sum is scaled to length 1.
    """

    name = "hashed-ngrams-v1"

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, 4800] of length 1; a text without letters or digits gives zeros."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            vector[:] = _encode(text)
        return vectors


def _encode(text: str) -> NDArray[np.float64]:
    words = split_words(text)
    return _normalise(_normalise(_hash(_word_ngrams(words))) + _normalise(_hash(_character_ngrams(words))))


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


def _hash(ngrams: Iterator[str]) -> NDArray[np.float64]:
    """Add up the signs of n-grams at their positions."""
    # Python's own hash() differs between processes.
    codes = np.fromiter((zlib.crc32(ngram.encode("utf-8", "replace")) for ngram in ngrams), dtype=np.int64)
    signs = 1.0 - 2.0 * (codes & 1)
    counts = np.zeros(TEXT_DIMENSIONS)
    np.add.at(counts, (codes >> 1) % TEXT_DIMENSIONS, signs)
    return counts


def _normalise(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale a vector to length 1; zeros stay zeros."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
