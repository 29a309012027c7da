"""Words and weights of a skip-thoughts encoder, whichever files they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from crnet.utils.resumable import SHORT_DIGITS, content_fingerprint

Table = NDArray[np.float32]

UNKNOWN, END = "UNK", "<eos>"
"""Dictionary entries for all words that are not in it, and for the end of a sentence."""

DIRECTIONS = {"uni": ("forwards",), "bi": ("forwards", "backwards")}
"""The two parts of the combine-skip encoder, uni-skip and bi-skip, and their GRUs in the order of their states."""


@dataclass(frozen=True, eq=False)
class GruWeights:
    """A GRU's weights in PyTorch's order (reset, update, proposal): [3 units, words], [3 units, units], [3 units]."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor


@dataclass(frozen=True, eq=False)
class SkipThoughtsWeights:
    """An encoder's words and weights.

    Attributes:
        words: The row of each word in both tables.
        tables: Word vectors [words, dimensions] of "uni" and "bi", possibly mapped from disk.
        grus: GRUs of "uni" and "bi", in the order of `DIRECTIONS`.
        fingerprint: 16 hexadecimal digits that identify the content of all files.
    """

    words: Mapping[str, int]
    tables: Mapping[str, Table]
    grus: Mapping[str, Sequence[GruWeights]]
    fingerprint: str


def files_fingerprint(sha256s: Sequence[str]) -> str:
    """Return 16 hexadecimal digits that identify files with these SHA-256 hashes."""
    return content_fingerprint(sha256.encode() for sha256 in sha256s)[:SHORT_DIGITS]
