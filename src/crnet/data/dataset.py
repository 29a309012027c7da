"""The clips of a split as a PyTorch dataset, and as batches whose order depends on the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from crnet.data.clip_rows import ClipRows, are_annotated, light_rows, place_of, scores_at, scores_or_nan
from crnet.data.manifest import ClipRow
from crnet.data.store import ClipFile
from crnet.data.transforms import VISUAL_STREAMS, Sample, TransformConfig, derived_rng, read_sample, stack_samples
from crnet.errors import ConfigError, CrnetError, LabelError
from crnet.types import STREAMS, Batch, Stream, VisualStream
from crnet.utils.parallel_requests import map_files
from crnet.utils.storage import as_path

if TYPE_CHECKING:
    from jaxtyping import Float64, Int64, Integer, UInt8

Result = TypeVar("Result")

EpochIndex = tuple[int, int]
"""Epoch and index of a clip. The epoch is part of the request, so that running loader processes need no message."""


def stack_scores(rows: Sequence[ClipRow]) -> Float64[np.ndarray, "N 6"]:
    """Return the annotated scores, float64 [N, 6] in [0, 1].

    Raises:
        LabelError: A clip has no scores.
    """
    require_scores(rows)
    return scores_or_nan(rows)


def require_scores(rows: Sequence[ClipRow]) -> None:
    """Check that all clips are annotated.

    Raises:
        LabelError: A clip has no scores.
    """
    missing = np.flatnonzero(~are_annotated(rows))
    if len(missing):
        raise LabelError(
            f"{len(missing)} of {len(rows)} clips have no scores, the first is {place_of(rows, int(missing[0]))[0]}",
            remedy="give their scores and prepare again, or take them out of the split",
        )


def longest_audio_samples(store: Path | str, rows: Sequence[ClipRow]) -> int:
    """Return the length of the longest sound among `rows` at 16 kHz, at least 1; see `TransformConfig`."""
    return max(_read_files(store, rows, lambda file: file.audio_samples), default=1) or 1


def read_texts(store: Path | str, rows: Sequence[ClipRow]) -> Float64[np.ndarray, "N 4800"]:
    """Return the text vectors of the clips."""
    return np.stack(list(_read_files(store, rows, ClipFile.read_text))).astype(np.float64)


def _read_files(store: Path | str, rows: Sequence[ClipRow], read: Callable[[ClipFile], Result]) -> Iterator[Result]:
    """Yield what a function reads from each clip file."""
    folder = as_path(store)
    return map_files(lambda row: read(ClipFile(folder / row.file, row.clip_id)), light_rows(rows), folder)


def collate(
    samples: Sequence[Sample], out: Mapping[VisualStream, UInt8[np.ndarray, "B T H W 3"]] | None = None
) -> Batch:
    """Combine samples into a batch of tensors, which share the arrays' memory; the `collate_fn` of a `DataLoader`.

    Args:
        samples, out: See `stack_samples`.

    Raises:
        FormatError: No samples, or samples with different streams or sizes.
    """
    return stack_samples(samples, out).to("cpu")


class ClipDataset(Dataset[Sample]):
    """Clips of a store as samples, for `load_batches` or for any `torch.utils.data.DataLoader`:

        dataset = ClipDataset("store", read_manifest("store").rows("train"), config, ["scene"])
        loader = DataLoader(dataset, batch_size=4, shuffle=True, collate_fn=crnet.data.dataset.collate)

    Args:
        store: The clip store.
        rows: The clips, in the order that evaluation keeps.
        config: How a clip becomes a sample.
        streams: The streams to read.
        seed: Seed of the order of clips and of the choice of frames; used in training only.
        classes: Int [N, 6], the class of each score; None: samples have neither scores nor classes.
        training: True: random frames, anew every epoch. False: middle frames.

    Raises:
        LabelError: `classes` are given, but a clip has no scores.
        ConfigError: There is no such stream.
    """

    def __init__(
        self,
        store: Path | str,
        rows: Sequence[ClipRow],
        config: TransformConfig,
        streams: Collection[Stream] = STREAMS,
        seed: int = 0,
        classes: Integer[np.ndarray, "N 6"] | None = None,
        training: bool = False,
    ) -> None:
        self.store = as_path(store)
        self.rows = rows if isinstance(rows, ClipRows) else tuple(rows)
        self.config = config
        self.streams = tuple(streams)
        if unknown := [stream for stream in self.streams if stream not in STREAMS]:
            raise ConfigError(f"unknown stream {unknown[0]!r}", remedy=f"give a list of {', '.join(STREAMS)}")
        self.seed = seed
        self.classes = classes
        self.training = training
        self.epoch = 0
        if classes is not None:
            require_scores(self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, from 0, that decides order and frames of the next pass."""
        self.epoch = epoch

    def order(self) -> Int64[np.ndarray, " N"]:
        """Return the indices of all clips in the order of this epoch."""
        if not self.training:
            return np.arange(len(self.rows))
        return derived_rng(self.seed, self.epoch, "order of clips").permutation(len(self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Read one clip.

        Raises:
            FormatError: The clip file is missing, damaged or another clip's.
            ConfigError: The number of frames does not divide the clip's number of segments.
        """
        return self.read(index, self.epoch)

    def read(
        self, index: int, epoch: int, out: Mapping[VisualStream, UInt8[np.ndarray, "T H W 3"]] | None = None
    ) -> Sample:
        """Read one clip as an epoch shows it.

        Args:
            index: Index of the clip.
            epoch: The epoch, from 0.
            out: Arrays to decode the frames of each visual stream into; None: new arrays.

        Raises:
            FormatError, ConfigError: As for indexing.
        """
        clip_id, name = place_of(self.rows, index)
        rng = derived_rng(self.seed, epoch, f"frames of {clip_id}") if self.training else None
        try:
            file = ClipFile(self.store / name, clip_id)
            sample = read_sample(file, self.config, rng, self.streams, clip_id, out)
        except CrnetError as error:
            error.path = error.path or self.store / name
            raise
        if self.classes is None:
            return sample
        return replace(sample, scores=scores_at(self.rows, index), classes=self.classes[index].astype(np.int64))


class _BatchReader(Dataset[Batch | CrnetError]):
    """Reads whole batches of a dataset, in a loader process.

    An error is returned, because a loader process would rewrite the text of a raised one; `Batches` raises it.
    """

    def __init__(self, dataset: ClipDataset) -> None:
        self.dataset = dataset

    def __getitems__(self, indices: Sequence[EpochIndex]) -> Batch | CrnetError:
        """Read a batch; all its frames are decoded into one array.

        The system provides large arrays in large pages. Decoding each clip into its own array and stacking them
        afterwards would take the loader a third longer.
        """
        config = self.dataset.config
        shape = (len(indices), config.frames, config.pixels, config.pixels, 3)
        out = {stream: np.empty(shape, dtype=np.uint8) for stream in VISUAL_STREAMS if stream in self.dataset.streams}

        def read(numbered: tuple[int, EpochIndex]) -> Sample:
            number, (epoch, index) = numbered
            return self.dataset.read(index, epoch, {stream: frames[number] for stream, frames in out.items()})

        try:
            samples = list(map_files(read, enumerate(indices), self.dataset.store))
            return collate(samples, out)
        except CrnetError as error:
            return error


class _GlobalBatches(Sampler[list[EpochIndex]]):
    """One rank's share of each global batch, so that all ranks together see what one process would see.

    Training divides the epoch's order into batches of `batch_size` and drops the incomplete last one unless it is the
    only one; each rank gets the same contiguous part of each batch. Evaluation gives rank r the rows r, r + ranks, ...
    and drops none.
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
            starts = range(self.rank * self.share, len(self) * self.size, self.size)
        else:
            order = order[self.rank :: self.ranks]
            starts = range(0, len(order), self.share)
        for start in starts:
            yield [(epoch, index) for index in order[start : start + self.share].tolist()]


class Batches:
    """One rank's batches of the epoch that `dataset.set_epoch` chose. Made by `load_batches`."""

    def __init__(self, dataset: ClipDataset, loader: DataLoader[Batch | CrnetError]) -> None:
        self.dataset = dataset
        self._loader = loader

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches.

        Raises:
            CrnetError: A clip cannot be read; the error names its file.
        """
        for batch in self._loader:
            if isinstance(batch, CrnetError):
                raise batch
            yield batch


def load_batches(dataset: ClipDataset, batch_size: int, *, workers: int = 0, rank: int = 0, ranks: int = 1) -> Batches:
    """Return the batches of a dataset. They are the same with any number of workers.

    Args:
        dataset: The clips.
        batch_size: Clips of a global batch, shared evenly by the ranks.
        workers: Processes that read and decode; 0: this process does it.
        rank: Number of this training process, from 0.
        ranks: Number of training processes.

    Raises:
        ConfigError: The batch cannot be shared evenly, or there is nothing to train on.
    """
    batches = _GlobalBatches(dataset, batch_size, rank, ranks)
    return Batches(
        dataset,
        DataLoader(
            _BatchReader(dataset),
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=_unchanged,
            persistent_workers=workers > 0,
            # Nothing in a worker is random. With its own generator the loader does not change torch's global one.
            generator=torch.Generator(),
        ),
    )


def _unchanged(batch: Any) -> Any:
    """Return what `_BatchReader` read: it is a whole batch."""
    return batch
