"""The clips of a split as batches, in an order that depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from crnet.data.store import ClipFile, ClipRow
from crnet.data.transforms import VISUAL_STREAMS, Sample, TransformConfig, collate, derived_rng, read_sample
from crnet.errors import ConfigError, CrnetError, LabelError
from crnet.types import TARGETS, Batch, Stream, VisualStream

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64, UInt8

EpochIndex = tuple[int, int]
"""Epoch and place of a clip: the epoch travels with the request, so that loader processes need no message."""


def stack_scores(rows: Sequence[ClipRow]) -> Float64[np.ndarray, "N 6"]:
    """The annotated scores, float64.

    Raises:
        LabelError: A clip has none.
    """
    missing = [row.clip_id for row in rows if row.scores is None]
    if missing:
        raise LabelError(
            f"{len(missing)} of {len(rows)} clips have no scores, the first is {missing[0]}",
            remedy="give their scores and prepare again, or take them out of the split",
        )
    return np.array([row.scores for row in rows], dtype=np.float64).reshape(len(rows), len(TARGETS))


def longest_audio_samples(store: Path, rows: Sequence[ClipRow]) -> int:
    """Length of the longest sound among `rows` at 16 kHz, at least 1: what `TransformConfig.audio_samples` becomes."""
    return max((len(ClipFile(store / row.file).read_audio()) for row in rows), default=1) or 1


class ClipDataset(Dataset[Sample | CrnetError]):
    """The clips of a store that `rows` name, as samples.

    A clip that cannot be read comes out as its error, because loader processes would rewrite a raised one beyond
    recognition; `Batches` raises it.

    Args:
        store: The clip store.
        rows: Which clips, in the order that evaluation keeps.
        config: What a model sees of a clip.
        streams: Which streams to read.
        seed: Of the order of clips and of the choice of frames; used in training only.
        classes: int64 [N, 6], the class of each score; None: samples carry neither scores nor classes.
        training: Random frames and a new order each epoch, instead of middle frames in the order of `rows`.

    Raises:
        LabelError: `classes` are given, but a clip has no scores.
    """

    def __init__(
        self,
        store: Path,
        rows: Sequence[ClipRow],
        config: TransformConfig,
        streams: Collection[Stream],
        seed: int = 0,
        classes: Int64[np.ndarray, "N 6"] | None = None,
        training: bool = False,
    ) -> None:
        self.store = store
        self.rows = tuple(rows)
        self.config = config
        self.streams = tuple(streams)
        self.seed = seed
        self.scores = None if classes is None else stack_scores(self.rows)
        self.classes = classes
        self.training = training
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, whose order and frames the next pass shows."""
        self.epoch = epoch

    def order(self) -> list[int]:
        """The places of all clips in the order of this epoch."""
        if not self.training:
            return list(range(len(self.rows)))
        return derived_rng(self.seed, self.epoch, "order of clips").permutation(len(self.rows)).tolist()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: EpochIndex) -> Sample | CrnetError:
        return self._read(place, None)

    def __getitems__(self, places: Sequence[EpochIndex]) -> Batch | CrnetError:
        """A batch; all its pictures are decoded into one piece of memory.

        Large pieces come from the system in large pages. Decoding each clip into a piece of its own and joining them
        afterwards would take the loader a third longer.
        """
        shape = (len(places), self.config.frames, self.config.pixels, self.config.pixels, 3)
        room = {stream: np.empty(shape, dtype=np.uint8) for stream in VISUAL_STREAMS if stream in self.streams}
        samples: list[Sample] = []
        for number, place in enumerate(places):
            seen = self._read(place, {stream: pictures[number] for stream, pictures in room.items()})
            if isinstance(seen, CrnetError):
                return seen
            samples.append(seen)
        try:
            return collate(samples, room)
        except CrnetError as error:
            return error

    def _read(
        self, place: EpochIndex, room: Mapping[VisualStream, UInt8[np.ndarray, "T H W 3"]] | None
    ) -> Sample | CrnetError:
        epoch, index = place
        row = self.rows[index]
        rng = derived_rng(self.seed, epoch, f"frames of {row.clip_id}") if self.training else None
        try:
            seen = read_sample(ClipFile(self.store / row.file), self.config, rng, self.streams, row.clip_id, room)
        except CrnetError as error:
            error.path = error.path or self.store / row.file
            return error
        if self.scores is None or self.classes is None:
            return seen
        return replace(seen, scores=self.scores[index], classes=self.classes[index])


class _GlobalBatches(Sampler[list[EpochIndex]]):
    """One rank's share of each global batch, so that all ranks together see what one process would.

    Training cuts the epoch's order into batches of `batch_size` and leaves out the incomplete last one unless it is
    the only one; a rank gets the same contiguous part of each. Evaluation deals the rows out in turn (rank r gets
    r, r + ranks, ...) and leaves nothing out.
    """

    def __init__(self, dataset: ClipDataset, batch_size: int, rank: int, ranks: int) -> None:
        self.dataset = dataset
        self.size = min(batch_size, len(dataset)) if dataset.training else batch_size
        self.rank = rank
        self.ranks = ranks
        if not 0 <= rank < ranks:
            raise ConfigError(f"rank {rank} of {ranks}")
        if self.size < 1:
            raise ConfigError("no clips to train on" if not len(dataset) else f"batch size {batch_size}")
        if self.size % ranks:
            raise ConfigError(
                f"a batch of {self.size} clips cannot be shared evenly by {ranks} processes",
                remedy="choose a batch size that the number of processes divides, at most the number of clips",
            )
        self.share = self.size // ranks

    def __len__(self) -> int:
        if self.dataset.training:
            return len(self.dataset) // self.size
        return -(-len(range(self.rank, len(self.dataset), self.ranks)) // self.share)

    def __iter__(self) -> Iterator[list[EpochIndex]]:
        epoch, order = self.dataset.epoch, self.dataset.order()
        if self.dataset.training:
            mine = [order[start : start + self.size] for start in range(0, len(self) * self.size, self.size)]
            mine = [batch[self.rank * self.share : (self.rank + 1) * self.share] for batch in mine]
        else:
            dealt = order[self.rank :: self.ranks]
            mine = [dealt[start : start + self.share] for start in range(0, len(dealt), self.share)]
        for batch in mine:
            yield [(epoch, index) for index in batch]


class Batches:
    """Iterable of one rank's batches of the epoch that `dataset.set_epoch` chose. Made by `loader`."""

    def __init__(self, dataset: ClipDataset, loader: DataLoader[Sample | CrnetError]) -> None:
        self.dataset = dataset
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches.

        Raises:
            CrnetError: A clip cannot be read; names its file.
        """
        for batch in self._loader:
            if isinstance(batch, CrnetError):
                raise batch
            yield batch


def load_batches(dataset: ClipDataset, batch_size: int, *, workers: int = 0, rank: int = 0, ranks: int = 1) -> Batches:
    """Batches of a data set; the same ones whatever the number of workers.

    Args:
        dataset: The clips.
        batch_size: Clips of a global batch, shared evenly by the ranks.
        workers: Processes that read and decode; 0 does it in this one.
        rank: Number of this training process.
        ranks: Number of training processes.

    Raises:
        ConfigError: The batch cannot be shared evenly, or there is nothing to train on.
    """
    batches = _GlobalBatches(dataset, batch_size, rank, ranks)
    return Batches(
        dataset,
        DataLoader(
            dataset,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=_as_it_is,
            persistent_workers=workers > 0,
            # Nothing random happens in a worker; its own generator keeps torch's global one as it is.
            generator=torch.Generator(),
        ),
    )


def _as_it_is(batch: Any) -> Any:
    """`ClipDataset.__getitems__` makes whole batches; nothing is left to collate."""
    return batch
