"""Skip-thought vectors (Kiros et al. 2015), the combine-skip model: texts as the last states of recurrent networks.

Two encoders read a text's tokens: a GRU of 2,400 units (uni-skip), and a pair of GRUs of 1,200 units, one forwards and
one backwards (bi-skip). The last state of each encoder is scaled to length 1, and both stand side by side: 4,800
numbers of length sqrt(2). As in the authors' code, a whole transcript counts as one text, and the mark for a sentence's
end, although trained with, is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crnet.errors import ConfigError, FormatError
from crnet.text.encoders import LONGEST_TEXT_CHARACTERS, content_name, encoder_by_name
from crnet.text.skip_thoughts import kiros_files, trained_encoder
from crnet.text.skip_thoughts.tokens import tokens_of
from crnet.text.skip_thoughts.weights import UNKNOWN, Gru, Table
from crnet.types import TEXT_DIMENSIONS

KIND = "skip-thoughts"
TEXTS_AT_ONCE = 128  # of equal length, as the authors' code
TOKENS_AT_ONCE = 16_384  # texts of a batch times their tokens: bounds memory for long texts
STEPS_AT_ONCE = 256  # of a long text; the state is carried over


class CombineSkip(nn.Module):
    """The recurrent part: from word vectors to one vector for each text, all of one length in tokens.

    h_t = u h_{t-1} + (1 - u) tanh(Wx x_t + r (Ux h_{t-1}) + bx), with gates r, u = sigmoid(W x_t + U h_{t-1} + b): what
    PyTorch calls a GRU without hidden biases.
    """

    def __init__(self, grus: Mapping[str, Sequence[Gru]]) -> None:
        super().__init__()
        self.uni = _gru_module(*grus["uni"])
        forwards, backwards = grus["bi"]
        self.forwards, self.backwards = _gru_module(forwards), _gru_module(backwards)

    @property
    def dimensions(self) -> int:
        """Numbers in a vector."""
        return self.uni.hidden_size + self.forwards.hidden_size + self.backwards.hidden_size

    def forward(self, uni: Table, bi: Table, tokens: NDArray[np.int64]) -> Tensor:
        """Encode texts of one length.

        Args:
            uni: [V, W] vectors of the words for the uni-skip encoder.
            bi: [V, W'] for the bi-skip encoder.
            tokens: [B, T] rows of both tables, T > 0.

        Returns:
            [B, dimensions]: the uni part and the bi part, each of length 1.
        """
        both = [_last_state(self.forwards, bi, tokens), _last_state(self.backwards, bi, tokens[:, ::-1])]
        parts = (_last_state(self.uni, uni, tokens), torch.cat(both, dim=1))
        return torch.cat([nn.functional.normalize(part, dim=1) for part in parts], dim=1)


class SkipThoughts:
    """Texts as skip-thought vectors, from a folder of the authors' files or one that `crnet text train` wrote.

    Args:
        folder: The files.

    Raises:
        FormatError: A file is missing, damaged or foreign.
        ConfigError: Its vectors are longer than a clip's.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise FormatError("no such folder, so no text encoder", path=folder, remedy="check the name")
        self._parts = trained_encoder.read(folder) if trained_encoder.is_own(folder) else kiros_files.read(folder)
        self._net = CombineSkip(self._parts.grus).eval()
        if self._net.dimensions > TEXT_DIMENSIONS:
            raise ConfigError(
                f"its vectors have {self._net.dimensions} numbers, a clip's text at most {TEXT_DIMENSIONS}",
                path=folder,
                remedy="train one with fewer units: --uni plus twice --bi is at most 4800",
            )
        self.name = content_name(KIND, str(folder.resolve()), self._parts.digest)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32 [n, 4800]; a text without tokens is all zeros, as are the places that a smaller encoder leaves."""
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        tables = self._parts.tables
        for numbers, tokens in _batches([self._rows(text) for text in texts]):
            with torch.inference_mode():
                found = self._net(tables["uni"], tables["bi"], tokens)
            vectors[numbers, : self._net.dimensions] = found.numpy()
        return vectors

    def _rows(self, text: str) -> NDArray[np.int64]:
        words = self._parts.words
        unknown = words[UNKNOWN]
        tokens = tokens_of(text[:LONGEST_TEXT_CHARACTERS])
        return np.array([words.get(token, unknown) for token in tokens], dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the files itself: tables of gigabytes are mapped, not copied.
        return encoder_by_name, (self.name,)


def _gru_module(weights: Gru) -> nn.GRU:
    gru = nn.GRU(weights.weight_ih.shape[1], weights.weight_hh.shape[1])
    state = {
        "weight_ih_l0": weights.weight_ih,
        "weight_hh_l0": weights.weight_hh,
        "bias_ih_l0": weights.bias_ih,
        "bias_hh_l0": torch.zeros_like(weights.bias_ih),
    }
    gru.load_state_dict(state)
    return gru


def _last_state(gru: nn.GRU, table: Table, tokens: NDArray[np.int64]) -> Tensor:
    """The state [B, units] after the last of the tokens [B, T]; only some steps' words are in memory at a time."""
    state = None
    for start in range(0, tokens.shape[1], STEPS_AT_ONCE):
        rows = tokens[:, start : start + STEPS_AT_ONCE].T
        words = torch.from_numpy(np.asarray(table[rows], dtype=np.float32))  # [steps, B, W]
        _, state = gru(words, state)
    if state is None:
        raise ValueError("no tokens")
    return state[0]


def _batches(texts: Sequence[NDArray[np.int64]]) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Texts of equal length together: their numbers, and their tokens [B, T]."""
    of_length: dict[int, list[int]] = defaultdict(list)
    for number, tokens in enumerate(texts):
        if len(tokens):
            of_length[len(tokens)].append(number)
    for length, numbers in of_length.items():
        count = max(1, min(TEXTS_AT_ONCE, TOKENS_AT_ONCE // length))
        for start in range(0, len(numbers), count):
            chosen = numbers[start : start + count]
            yield chosen, np.stack([texts[number] for number in chosen])
