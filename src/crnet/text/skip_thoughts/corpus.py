"""Read a plain text as numbered words and sentences, the training data of skip-thoughts."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crnet.errors import UsageError
from crnet.text.skip_thoughts.tokens import split_sentences, tokenize_sentence
from crnet.text.skip_thoughts.weights import END, UNKNOWN

MAX_PARAGRAPH = 1 << 20  # characters in memory at a time; a longer paragraph is split at a line's end
MIN_SENTENCES = 12
END_ROW, UNKNOWN_ROW = 0, 1

Rows = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Sentences as rows of a table of words.

    Attributes:
        words: The dictionary; row 0 is the end of a sentence, row 1 stands for words that are not in it.
        rows: int32, the words of all sentences, concatenated.
        starts: int64 [n + 1], where each sentence starts in `rows`.
    """

    words: list[str]
    rows: Rows
    starts: NDArray[np.int64]

    def sentence(self, number: int) -> Rows:
        """Return the words of one sentence, followed by the row of its end."""
        words = self.rows[self.starts[number] : self.starts[number + 1]]
        return np.append(words, np.int32(END_ROW))

    def triples(self, longest: int) -> NDArray[np.int64]:
        """Return the numbers of the sentences with two neighbours, where all three have at most `longest` words."""
        short = np.diff(self.starts) <= longest
        return np.flatnonzero(short[:-2] & short[1:-1] & short[2:]) + 1


def read_corpus(path: str | Path, words: int, sentence_per_line: bool = False) -> Corpus:
    """Read a text twice: first to count its words, then to number them.

    Args:
        path: UTF-8. Blank lines separate paragraphs, other line ends are spaces.
        words: Size of the dictionary, including the entries for unknown words and the end of a sentence. The most
            common words are in it.
        sentence_per_line: Line ends separate sentences.

    Raises:
        UsageError: The file cannot be read, is not text, or has too few sentences.
    """
    path = Path(path)
    counts = Counter(token for sentence in _sentences(path, sentence_per_line) for token in sentence)
    for entry in (END, UNKNOWN):
        del counts[entry]
    # Equally common words are in alphabetical order, so that the same text always gives the same dictionary.
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    dictionary = [END, UNKNOWN, *ranked[: max(0, words - 2)]]
    row_by_word = {word: row for row, word in enumerate(dictionary)}
    rows, starts = array("i"), array("q", [0])  # 4 bytes per word, so that thousands of books fit into memory
    for sentence in _sentences(path, sentence_per_line):
        rows.extend(row_by_word.get(token, UNKNOWN_ROW) for token in sentence)
        starts.append(len(rows))
    if len(starts) - 1 < MIN_SENTENCES:
        raise UsageError(
            f"has only {len(starts) - 1} sentences", path=path, remedy="give a longer text of running sentences"
        )
    return Corpus(dictionary, np.frombuffer(rows, dtype=np.int32), np.frombuffer(starts, dtype=np.int64))


def _sentences(path: Path, sentence_per_line: bool) -> Iterator[list[str]]:
    """Yield the tokens of each sentence."""
    for paragraph in _paragraphs(path, sentence_per_line):
        sentences = [paragraph] if sentence_per_line else split_sentences(paragraph)
        for sentence in sentences:
            if tokens := tokenize_sentence(sentence):
                yield tokens


def _paragraphs(path: Path, paragraph_per_line: bool) -> Iterator[str]:
    lines: list[str] = []
    characters = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            while line := file.readline(MAX_PARAGRAPH):
                if line.strip():
                    lines.append(line.strip())
                    characters += len(line)
                if lines and (paragraph_per_line or not line.strip() or characters > MAX_PARAGRAPH):
                    yield " ".join(lines)
                    lines, characters = [], 0
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror or error}", path=path) from error
    except UnicodeDecodeError as error:
        raise UsageError("is not UTF-8 text", path=path, remedy="save it as UTF-8") from error
    if lines:
        yield " ".join(lines)
