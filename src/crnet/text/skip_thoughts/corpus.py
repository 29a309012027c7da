"""A plain text as numbered words and sentences with their neighbours, to train skip-thoughts on."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.errors import UsageError
from crnet.text.skip_thoughts.tokens import split_sentences, tokens_of_sentence
from crnet.text.skip_thoughts.weights import END, UNKNOWN

LONGEST_PARAGRAPH = 1 << 20  # characters held at a time; where no blank line comes, the text is cut at a line's end
FEWEST_SENTENCES = 12
END_ROW, UNKNOWN_ROW = 0, 1

Rows = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentences as rows of a table of words.

    Attributes:
        words: The dictionary; row 0 is the end of a sentence, row 1 stands for words that are not in it.
        rows: int32, the words of all sentences in a line.
        starts: int64 [n + 1], where each sentence starts in `rows`.
    """

    words: list[str]
    rows: Rows
    starts: NDArray[np.int64]

    def sentence(self, number: int) -> Rows:
        """The words of one sentence and the row of its end."""
        words = self.rows[self.starts[number] : self.starts[number + 1]]
        return np.append(words, np.int32(END_ROW))

    def triples(self, longest: int) -> NDArray[np.int64]:
        """Numbers of the sentences that have both neighbours, all three of at most `longest` words."""
        short = np.diff(self.starts) <= longest
        return np.flatnonzero(short[:-2] & short[1:-1] & short[2:]) + 1


def read_corpus(path: Path, words: int, a_sentence_a_line: bool = False) -> Corpus:
    """Read a text twice: count its words, then number them.

    Args:
        path: UTF-8. Blank lines separate paragraphs, other line ends are spaces.
        words: Size of the dictionary, the two marks included; the commonest words are in it.
        a_sentence_a_line: Line ends separate sentences.

    Raises:
        UsageError: It cannot be read, is no text, or has too few sentences.
    """
    counts = Counter(token for sentence in _sentences(path, a_sentence_a_line) for token in sentence)
    for mark in (END, UNKNOWN):
        del counts[mark]
    # Equally common words in the order of the alphabet: the same text always gives the same dictionary.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    dictionary = [END, UNKNOWN, *ranked[: max(0, words - 2)]]
    row_of = {word: row for row, word in enumerate(dictionary)}
    rows, starts = array("i"), array("q", [0])  # 4 bytes a word, so that books in their thousands fit into memory
    for sentence in _sentences(path, a_sentence_a_line):
        rows.extend(row_of.get(token, UNKNOWN_ROW) for token in sentence)
        starts.append(len(rows))
    if len(starts) - 1 < FEWEST_SENTENCES:
        raise UsageError(
            f"has {len(starts) - 1} sentences", path=path, remedy="give a longer text, of running sentences"
        )
    return Corpus(dictionary, np.frombuffer(rows, dtype=np.int32), np.frombuffer(starts, dtype=np.int64))


def _sentences(path: Path, a_sentence_a_line: bool) -> Iterator[list[str]]:
    for paragraph in _paragraphs(path, a_sentence_a_line):
        sentences = [paragraph] if a_sentence_a_line else split_sentences(paragraph)
        for sentence in sentences:
            if tokens := tokens_of_sentence(sentence):
                yield tokens


def _paragraphs(path: Path, a_line_each: bool) -> Iterator[str]:
    lines: list[str] = []
    held = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(LONGEST_PARAGRAPH):
                if line.strip():
                    lines.append(line.strip())
                    held += len(line)
                if lines and (a_line_each or not line.strip() or held > LONGEST_PARAGRAPH):
                    yield " ".join(lines)
                    lines, held = [], 0
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", path=path) from error
    except UnicodeDecodeError as error:
        raise UsageError("is not UTF-8 text", path=path, remedy="save it as UTF-8") from error
    if lines:
        yield " ".join(lines)
