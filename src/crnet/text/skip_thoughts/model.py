"""The network that skip-thoughts are trained with: from a sentence's vector, tell the words of its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence

from crnet.text.skip_thoughts.weights import DIRECTIONS

NEIGHBOURS = ("before", "after")
WORD_RANGE = 0.1  # word vectors and output weights start uniformly in +-0.1


@dataclass(frozen=True, eq=False)
class Triples:
    """Sentences and their neighbours as rows of the table, each ending with the row of the end mark.

    Attributes:
        middle: [T, B], padded with 0.
        lengths: int64 [B] of the middle sentences, on the CPU.
        neighbours: [T', B] of each neighbour, padded with -1.
    """

    middle: Tensor
    lengths: Tensor
    neighbours: dict[str, Tensor]

    @staticmethod
    def of(middle: Sequence[Tensor], before: Sequence[Tensor], after: Sequence[Tensor]) -> Triples:
        """Pad sentences of any lengths to a batch."""
        neighbours = {
            "before": pad_sequence(list(before), padding_value=-1),
            "after": pad_sequence(list(after), padding_value=-1),
        }
        return Triples(pad_sequence(list(middle)), torch.tensor([len(one) for one in middle]), neighbours)

    def to(self, device: torch.device) -> Triples:
        """The same batch on a device."""
        moved = {name: words.to(device) for name, words in self.neighbours.items()}
        return Triples(self.middle.to(device), self.lengths, moved)


class SkipThoughtsModel(nn.Module):
    """One encoder and two decoders that share its word vectors (Kiros et al. 2015, Sec. 2.1).

    The encoder is a GRU ("uni") or a pair of them ("bi"). Each decoder is a GRU that is conditioned on the sentence's
    vector h: C h is added in each of its gates and in its proposal, here as a part of its input. Both decoders share
    the output layer. Hidden biases stay 0, as the published GRUs have none.

    Args:
        part: "uni" or "bi".
        words: Size of the dictionary.
        word_dimensions: Length of the word vectors.
        units: Units of each of the encoder's GRUs; a decoder has as many as the encoder together.
    """

    def __init__(self, part: str, words: int, word_dimensions: int, units: int) -> None:
        super().__init__()
        both = units * len(DIRECTIONS[part])
        self.part = part
        self.table = nn.Embedding(words, word_dimensions)
        self.encoder = nn.GRU(word_dimensions, units, bidirectional=part == "bi")
        self.decoders = nn.ModuleDict({name: nn.GRU(word_dimensions + both, both) for name in NEIGHBOURS})
        self.output = nn.Linear(both, words)
        nn.init.uniform_(self.table.weight, -WORD_RANGE, WORD_RANGE)
        nn.init.uniform_(self.output.weight, -WORD_RANGE, WORD_RANGE)
        nn.init.zeros_(self.output.bias)
        for gru in self.modules():
            if isinstance(gru, nn.GRU):
                _begin(gru)

    def forward(self, batch: Triples) -> Tensor:
        """The mean of -log p over the words of both neighbours and the ends of their sentences, in nats."""
        vector = self.encode(batch)
        total, count = vector.new_zeros(()), 0
        for name, words in batch.neighbours.items():
            told = self.decode(name, vector, words)
            total = total + nn.functional.cross_entropy(
                told.flatten(0, 1), words.flatten(), ignore_index=-1, reduction="sum"
            )
            count += int((words >= 0).sum())
        return total / count

    def encode(self, batch: Triples) -> Tensor:
        """The vectors [B, units of all GRUs] of the middle sentences: the states after their last words."""
        packed = pack_padded_sequence(self.table(batch.middle), batch.lengths, enforce_sorted=False)
        _, states = self.encoder(packed)
        return torch.cat(list(states), dim=1)

    def decode(self, name: str, vector: Tensor, words: Tensor) -> Tensor:
        """Logits [T', B, V] for each word of a neighbour [T', B], told the words before it; zeros before the first."""
        known = self.table(words[:-1].clamp(min=0))
        known = torch.cat([known.new_zeros(1, *known.shape[1:]), known])
        given = torch.cat([known, vector.expand(len(words), *vector.shape)], dim=2)
        states, _ = self.decoders[name](given)
        return self.output(states)

    def encoder_tensors(self) -> dict[str, Tensor]:
        """What an encoder needs of the trained network, by the names that `own_encoder.write` expects."""
        tensors = {"table": self.table.weight}
        for direction, suffix in zip(DIRECTIONS[self.part], ("", "_reverse"), strict=False):
            for name in ("weight_ih", "weight_hh", "bias_ih"):
                tensors[f"{direction}.{name}"] = getattr(self.encoder, f"{name}_l0{suffix}")
        return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def _begin(gru: nn.GRU) -> None:
    """Orthogonal recurrent weights for each gate, small uniform ones for the input, no biases (Kiros et al. Sec. 3)."""
    for name, tensor in gru.named_parameters():
        if name.startswith("weight_hh"):
            for gate in tensor.data.chunk(3):
                nn.init.orthogonal_(gate)
        elif name.startswith("weight_ih"):
            nn.init.uniform_(tensor, -WORD_RANGE, WORD_RANGE)
        else:
            nn.init.zeros_(tensor)
            tensor.requires_grad_(name.startswith("bias_ih"))
