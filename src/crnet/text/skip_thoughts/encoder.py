"""Skip-thought vectors (Kiros et al. 2015), the combine-skip model: texts as the last states of recurrent networks.

Two encoders read a text's tokens: a GRU of 2,400 units (uni-skip), and a pair of GRUs of 1,200 units, one forwards and
one backwards (bi-skip). The last state of each encoder is scaled to length 1, and the two are concatenated to 4,800
numbers of length sqrt(2). As in the authors' code, a whole transcript counts as one text. The mark for the end of a
sentence takes part in training, but not in encoding.
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

from crnet.errors import FormatError
from crnet.text.encoder_interface import (
    LONGEST_TEXT_CHARACTERS,
    EncoderName,
    check_fingerprint,
    check_finite,
    check_width,
)
from crnet.text.skip_thoughts.kiros_files import read_kiros_files
from crnet.text.skip_thoughts.tokens import tokenize
from crnet.text.skip_thoughts.trained_encoder import is_trained_encoder, read_trained_encoder
from crnet.text.skip_thoughts.weights import UNKNOWN, GruWeights, Table
from crnet.types import TEXT_DIMENSIONS

KIND = "skip-thoughts"
BATCH_TEXTS = 128  # texts of equal length in a batch, as in the authors' code
BATCH_TOKENS = 16_384  # texts in a batch times their tokens: bounds memory for long texts
CHUNK_TOKENS = 256  # tokens of a long text whose vectors are in memory; the state is carried over


class CombineSkip(nn.Module):
    """The recurrent networks: word vectors of texts of one length in tokens -> one vector for each text.

    h_t = u h_{t-1} + (1 - u) tanh(Wx x_t + r (Ux h_{t-1}) + bx), with gates r, u = sigmoid(W x_t + U h_{t-1} + b). In
    PyTorch this is a GRU without hidden biases.
    """

    def __init__(self, grus: Mapping[str, Sequence[GruWeights]]) -> None:
        super().__init__()
        self.uni = _gru_module(*grus["uni"])
        forwards, backwards = grus["bi"]
        self.forwards, self.backwards = _gru_module(forwards), _gru_module(backwards)

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        return self.uni.hidden_size + self.forwards.hidden_size + self.backwards.hidden_size

    def forward(self, uni: Table, bi: Table, tokens: NDArray[np.int64]) -> Tensor:
        """Encode texts of one length.

        Args:
            uni: [V, W] word vectors for the uni-skip encoder.
            bi: [V, W'] word vectors for the bi-skip encoder.
            tokens: [B, T] rows of both tables, T > 0.

        Returns:
            [B, dimensions]: the uni part and the bi part, each of length 1.
        """
        both = [_last_state(self.forwards, bi, tokens), _last_state(self.backwards, bi, tokens[:, ::-1])]
        parts = (_last_state(self.uni, uni, tokens), torch.cat(both, dim=1))
        return torch.cat([nn.functional.normalize(part, dim=1) for part in parts], dim=1)


class SkipThoughts:
    """Texts as skip-thought vectors, from the authors' files or from an encoder that `crnet text train` wrote.

    Args:
        folder: Folder with the encoder's files.
        fingerprint: Fingerprint that the weights must have; None accepts any weights.

    Raises:
        FormatError: A file is missing, damaged or of another kind.
        ConfigError: The vectors are longer than a clip's, or the weights do not have the fingerprint.
    """

    def __init__(self, folder: str | Path, fingerprint: str | None = None) -> None:
        folder = Path(folder).expanduser()
        if not folder.is_dir():
            raise FormatError("no such folder, so no text encoder", path=folder, remedy="check the name")
        read = read_trained_encoder if is_trained_encoder(folder) else read_kiros_files
        self._weights = read(folder)
        self._network = CombineSkip(self._weights.grus).eval()
        remedy = "train an encoder with fewer units: --uni plus twice --bi is at most 4800"
        check_width(self._network.dimensions, folder, remedy)
        self._folder = folder.resolve()
        self.name = str(EncoderName(KIND, str(self._folder), self._weights.fingerprint))
        check_fingerprint(self.name, fingerprint)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, 4800]; a text without tokens gives zeros, and smaller encoders are zero-padded.

        Raises:
            FormatError: The weights are damaged: a number is not finite.
        """
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), dtype=np.float32)
        tables = self._weights.tables
        for indices, tokens in _batches([self._token_rows(text) for text in texts]):
            with torch.inference_mode():
                encoded = self._network(tables["uni"], tables["bi"], tokens)
            vectors[indices, : self._network.dimensions] = encoded.numpy()
        check_finite(vectors, self._folder)
        return vectors

    def _token_rows(self, text: str) -> NDArray[np.int64]:
        """Return the row of each token in the tables, int64 [tokens]."""
        words = self._weights.words
        unknown = words[UNKNOWN]
        tokens = tokenize(text[:LONGEST_TEXT_CHARACTERS])
        return np.array([words.get(token, unknown) for token in tokens], dtype=np.int64)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process opens the files itself: tables of gigabytes are mapped, not copied.
        return SkipThoughts, (self._folder, self._weights.fingerprint)


def _gru_module(weights: GruWeights) -> nn.GRU:
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
    """Return the state [B, units] after the last of the tokens [B, T]; reads `CHUNK_TOKENS` of each text at a time."""
    state = None
    for start in range(0, tokens.shape[1], CHUNK_TOKENS):
        rows = tokens[:, start : start + CHUNK_TOKENS].T
        words = torch.from_numpy(np.asarray(table[rows], dtype=np.float32))  # [steps, B, W]
        _, state = gru(words, state)
    if state is None:
        raise ValueError("no tokens")
    return state[0]


def _batches(texts: Sequence[NDArray[np.int64]]) -> Iterator[tuple[list[int], NDArray[np.int64]]]:
    """Yield batches of texts of equal length: their indices, and their tokens [B, T]."""
    indices_by_length: dict[int, list[int]] = defaultdict(list)
    for index, tokens in enumerate(texts):
        if len(tokens):
            indices_by_length[len(tokens)].append(index)
    for length, indices in indices_by_length.items():
        count = max(1, min(BATCH_TEXTS, BATCH_TOKENS // length))
        for start in range(0, len(indices), count):
            batch = indices[start : start + count]
            yield batch, np.stack([texts[index] for index in batch])
