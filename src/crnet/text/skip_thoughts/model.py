"""The network that trains skip-thoughts: it predicts the words of a sentence's neighbours from its vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from crnet.text.skip_thoughts.weights import DIRECTIONS

NEIGHBOURS = ("before", "after")
INIT_RANGE = 0.1  # word vectors and output weights start uniformly in +-0.1


@dataclass(frozen=True, eq=False)
class Triples:
    """Sentences and their neighbours as rows of the table, each ending with the row of the end mark.

    Attributes:
        middle: [T, B], padded with 0.
        lengths: int64 [B], lengths of the middle sentences, on the CPU.
        neighbours: [T', B] for each neighbour, padded with -1.
    """

    middle: Tensor
    lengths: Tensor
    neighbours: dict[str, Tensor]

    @staticmethod
    def pad(middle: Sequence[Tensor], before: Sequence[Tensor], after: Sequence[Tensor]) -> Triples:
        """Pad sentences of any lengths to a batch."""
        neighbours = {
            "before": pad_sequence(list(before), padding_value=-1),
            "after": pad_sequence(list(after), padding_value=-1),
        }
        return Triples(pad_sequence(list(middle)), torch.tensor([len(words) for words in middle]), neighbours)

    def to(self, device: torch.device) -> Triples:
        """Return the same batch on a device."""
        moved = {name: words.to(device) for name, words in self.neighbours.items()}
        return Triples(self.middle.to(device), self.lengths, moved)


class SkipThoughtsModel(nn.Module):
    """One encoder and two decoders that share its word vectors (Kiros et al. 2015, Sec. 2.1).

    The encoder is a GRU ("uni") or a pair of them ("bi"). Each decoder is a GRU that is conditioned on the sentence's
    vector h: C h is added in each of its gates and in its proposal, here as a part of its input. Both decoders share
    the output layer. Hidden biases stay 0, because the published GRUs have none.

    Args:
        part: "uni" or "bi".
        words: Size of the dictionary.
        word_dimensions: Length of the word vectors.
        units: Units of each of the encoder's GRUs; a decoder has as many as all of them together.
    """

    def __init__(self, part: str, words: int, word_dimensions: int, units: int) -> None:
        super().__init__()
        vector_length = units * len(DIRECTIONS[part])
        self.part = part
        self.table = nn.Embedding(words, word_dimensions)
        self.encoder = nn.GRU(word_dimensions, units, bidirectional=part == "bi")
        self.decoders = nn.ModuleDict(
            {name: nn.GRU(word_dimensions + vector_length, vector_length) for name in NEIGHBOURS}
        )
        self.output = nn.Linear(vector_length, words)
        nn.init.uniform_(self.table.weight, -INIT_RANGE, INIT_RANGE)
        nn.init.uniform_(self.output.weight, -INIT_RANGE, INIT_RANGE)
        nn.init.zeros_(self.output.bias)
        for gru in self.modules():
            if isinstance(gru, nn.GRU):
                _initialise(gru)

    def forward(self, batch: Triples) -> Tensor:
        """Return the mean of -log p over the words of both neighbours and the ends of their sentences, in nats."""
        vector = self.encode(batch)
        total, count = vector.new_zeros(()), 0
        for name, words in batch.neighbours.items():
            logits = self.decode(name, vector, words)
            total = total + nn.functional.cross_entropy(
                logits.flatten(0, 1), words.flatten(), ignore_index=-1, reduction="sum"
            )
            count += int((words >= 0).sum())
        return total / count

    def encode(self, batch: Triples) -> Tensor:
        """Return the vectors of the middle sentences, [B, units of all GRUs]: the states after their last words."""
        packed = pack_padded_sequence(self.table(batch.middle), batch.lengths, enforce_sorted=False)
        _, states = self.encoder(packed)
        return torch.cat(list(states), dim=1)

    def decode(self, name: str, vector: Tensor, words: Tensor) -> Tensor:
        """Return logits [T', B, V] for each word of a neighbour [T', B], given the words before it.

        The first word has zeros as its predecessor.
        """
        previous = self.table(words[:-1].clamp(min=0))
        previous = torch.cat([previous.new_zeros(1, *previous.shape[1:]), previous])
        inputs = torch.cat([previous, vector.expand(len(words), *vector.shape)], dim=2)
        states, _ = self.decoders[name](inputs)
        return self.output(states)

    def encoder_tensors(self) -> dict[str, Tensor]:
        """Return the tensors of the encoder alone, by the names that `write_trained_encoder` expects."""
        tensors = {"table": self.table.weight}
        for direction, suffix in zip(DIRECTIONS[self.part], ("", "_reverse"), strict=False):
            for name in ("weight_ih", "weight_hh", "bias_ih"):
                tensors[f"{direction}.{name}"] = getattr(self.encoder, f"{name}_l0{suffix}")
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def _initialise(gru: nn.GRU) -> None:
    """Set orthogonal recurrent weights for each gate, small uniform input weights, and no biases (Kiros Sec. 3)."""
    for name, tensor in gru.named_parameters():
        if name.startswith("weight_hh"):
            for gate in tensor.data.chunk(3):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.uniform_(tensor, -INIT_RANGE, INIT_RANGE)
        else:
            nn.init.zeros_(tensor)
            tensor.requires_grad_(name.startswith("bias_ih"))
