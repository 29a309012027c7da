"""Transcripts as vectors of 4,800 numbers."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crnet.errors import ConfigError, FormatError
from crnet.types import TEXT_DIMENSIONS

LONGEST_TEXT_CHARACTERS = 100_000  # some two hours of speech: bounds the time that any input can take
WORD_NGRAMS = (1, 2)
CHARACTER_NGRAMS = (3, 4, 5)
PLACED_KINDS = ("skip-thoughts", "sentence")
KNOWN = "hashed-ngrams-v1, skip-thoughts:FOLDER, sentence:FOLDER or sentence:NAME"


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
    """The encoder that a user, a store or a bundle names.

    Args:
        name: `hashed-ngrams-v1`, `skip-thoughts:FOLDER` or `sentence:FOLDER OR NAME`; the latter two with `#` and the
            digest of their weights where they must be those.

    Raises:
        ConfigError: There is no such encoder, or it has other weights than those named.
        FormatError: Its files are missing, damaged or foreign.
        MissingDependencyError: It needs a package that is not installed.
    """
    kind, place, digest = _parsed(name)
    if name == HashedNgrams.name:
        return HashedNgrams()
    if not place or kind not in PLACED_KINDS:
        raise ConfigError(f"unknown text encoder {name!r}", remedy=f"known: {KNOWN}")
    found: TextEncoder
    if kind == "skip-thoughts":
        from crnet.text.skip_thoughts.encoder import SkipThoughts

        found = SkipThoughts(Path(place).expanduser())
    else:
        from crnet.text.sentence import SentenceEncoder

        found = SentenceEncoder(place)
    if digest and not is_same_encoder(found.name, name):
        raise ConfigError(
            f"the weights there are not those that were used: {label_of(found.name)}, not {label_of(name)}",
            path=place,
            remedy="put the old ones back, or name where they are with --encoder",
        )
    return found


def find_encoder(recorded: str, given: str | None = None) -> TextEncoder:
    """The encoder of a store or a bundle, from where it was or from where the user says that it is now.

    Raises:
        ConfigError: It has other weights than those recorded.
        FormatError, MissingDependencyError: See `encoder_by_name`.
    """
    if given is None:
        try:
            return encoder_by_name(recorded)
        except FormatError as error:
            where = f"its text encoder {label_of(recorded)} is not where it was: {error.reason}"
            raise FormatError(where, path=error.path, remedy="name where it is now with --encoder") from error
    found = encoder_by_name(given)
    if not is_same_encoder(found.name, recorded):
        raise ConfigError(
            f"the text encoder given is {label_of(found.name)}, the system was trained with {label_of(recorded)}",
            path=given,
            remedy="give the encoder that it was trained with, or train again",
        )
    return found


def content_name(kind: str, place: str, digest: str) -> str:
    """An encoder's name: its kind, where it was found, and what stands for its weights."""
    return f"{kind}:{place}#{digest}"


def label_of(name: str) -> str:
    """An encoder's name without the place, which differs between machines: what settings, tables and pages show."""
    kind, _, digest = _parsed(name)
    return f"{kind}#{digest}" if digest else name


def is_same_encoder(one: str, other: str) -> bool:
    """Whether two names stand for the same vectors, wherever the files are."""
    return label_of(one) == label_of(other)


def _parsed(name: str) -> tuple[str, str, str]:
    """Kind, place, digest; what is not there is empty."""
    kind, _, rest = name.partition(":")
    place, mark, digest = rest.rpartition("#")
    return (kind, place, digest) if mark and re.fullmatch("[0-9a-f]{16}", digest) else (kind, rest, "")


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
