"""The features of all training clips in a temporary file: at full size, 12 kB for each clip and stream."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from crnet.errors import FormatError, StorageError
from crnet.types import TARGETS
from crnet.utils.files import write_error_remedy

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64
    from numpy.typing import ArrayLike, DTypeLike, NDArray

CLIPS_AT_ONCE = 1_024


class FeatureFile:
    """An array [N, 6, F] that is written and read in blocks. The file has no name, so that it ends with the process.

    Args:
        folder: Folder on a disk with enough space.

    Raises:
        StorageError: The disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # open as long as the features are needed
        self._shape: tuple[int, ...] = ()
        self._clips = 0

    def append(self, features: Float32[np.ndarray, "n 6 F"]) -> None:
        """Add the features of the next clips."""
        self._shape = features.shape[1:]
        self._clips += len(features)
        try:
            self._file.write(np.ascontiguousarray(features, dtype=np.float32).data)
            self._file.flush()
        except OSError as error:
            reason = f"cannot write the features of the training clips: {error.strerror or error}"
            raise StorageError(reason, path=self._folder, remedy=write_error_remedy(error)) from error

    def __len__(self) -> int:
        return self._clips

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.concatenate(list(self.blocks())).astype(dtype or np.float32, copy=False)

    def blocks(self) -> Iterator[Float32[np.ndarray, "n 6 F"]]:
        """Yield the features of some clips at a time, in their order."""
        self._file.seek(0)
        size = int(np.prod(self._shape))
        for start in range(0, self._clips, CLIPS_AT_ONCE):
            count = min(CLIPS_AT_ONCE, self._clips - start)
            yield np.fromfile(self._file, np.float32, count * size).reshape(count, *self._shape)


@dataclass(frozen=True)
class Moments:
    """What standardising the features of N clips takes, computed with some clips in memory at a time.

    Attributes:
        clips: N.
        mean, deviation, largest: Float64 [6, F]: mean, deviation and largest magnitude of each feature. Mean and
            deviation are those of `np.mean` and `np.std` over the first axis, which also add clip after clip.
    """

    clips: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    largest: NDArray[np.float64]

    @classmethod
    def of(cls, stream: str, features: FeatureFile | ArrayLike) -> Self:
        """Return the moments of features [N, 6, F].

        Raises:
            FormatError: They have another shape, or are not finite.
        """
        clips = 0
        total = largest = np.zeros(())
        for block in _blocks(features):
            check_features(stream, block)
            clips += len(block)
            total = _add_rows(total, block)
            largest = np.maximum(largest, np.abs(block).max(axis=0))
        mean = total / clips
        squares = np.zeros(())
        for block in _blocks(features):
            squares = _add_rows(squares, np.square(block - mean))
        return cls(clips, mean, np.sqrt(squares / clips), largest)


def check_features(stream: str, features: NDArray[Any]) -> None:
    """Refuse features of another shape than [clips, 6, features], and such that are not finite.

    Raises:
        FormatError: They are.
    """
    if features.ndim != 3 or features.shape[1] != len(TARGETS) or 0 in features.shape:
        raise FormatError(f"{stream} features have the shape {features.shape}, expected [clips, 6, features]")
    if not np.isfinite(features).all():
        raise FormatError(f"{stream} features are not finite", remedy="the training of this stream diverged")


def _blocks(features: FeatureFile | ArrayLike) -> Iterator[Float64[np.ndarray, "n 6 F"]]:
    if isinstance(features, FeatureFile):
        for block in features.blocks():
            yield block.astype(np.float64)
        return
    array = np.asarray(features)
    for start in range(0, max(len(array), 1), CLIPS_AT_ONCE):
        yield array[start : start + CLIPS_AT_ONCE].astype(np.float64)


def _add_rows(total: NDArray[np.float64], rows: Float64[np.ndarray, "n 6 F"]) -> Float64[np.ndarray, "6 F"]:
    """Return the sum of a total and of all rows, added one after another."""
    return np.add.reduce(np.concatenate([total[None], rows]) if total.ndim else rows, axis=0)
