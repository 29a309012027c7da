"""What a skip-thoughts encoder is made of, wherever it was read from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Table = NDArray[np.float32]

UNKNOWN, END = "UNK", "<eos>"
"""Words of the dictionary that stand for any other word, and for the end of a sentence."""

DIRECTIONS = {"uni": ("forwards",), "bi": ("forwards", "backwards")}
"""The two encoders and their GRUs, in the order of their states."""


@dataclass(frozen=True, eq=False)
class Gru:
    """A GRU's weights in PyTorch's order (reset, update, proposal): [3 units, words], [3 units, units], [3 units]."""

    weight_ih: Tensor
    weight_hh: Tensor
    bias_ih: Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """An encoder's words and weights.

    Attributes:
        words: The row of each word in both tables.
        tables: [words, dimensions] of "uni" and "bi", possibly mapped from disk.
        grus: Of "uni" and "bi", in the order of `DIRECTIONS`.
        digest: 16 hexadecimal digits that stand for the content of all files.
    """

    words: Mapping[str, int]
    tables: Mapping[str, Table]
    grus: Mapping[str, Sequence[Gru]]
    digest: str


def digest_of(sha256s: Sequence[str]) -> str:
    """16 hexadecimal digits that stand for files with these hashes."""
    return hashlib.sha256("".join(sha256s).encode()).hexdigest()[:16]
