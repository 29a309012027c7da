"""The log of a training: `log.jsonl`, TensorBoard if it is installed, and a warning of overfitting.

A row of `log.jsonl` is one epoch:

    stage, epoch, epochs   number of the stage and of the epoch, from 1; epochs in this stage
    lr, lambda             learning rate and weight of the cross-entropy (Eq. 9)
    train, val             see `metrics_row`; val is null without a validation split
    best                   true if this is the best network so far
    overfitting            a sentence, or null
    samples_per_s          training clips per second
    waiting_share          share of the training time spent waiting for data, 0 to 1
    seconds                duration of the whole epoch

The training metrics are computed during training steps, so the network changes between their batches.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crnet.errors import FormatError, StorageError
from crnet.metrics import accuracy, spread
from crnet.training.old_names import with_current_names
from crnet.types import TARGETS, TRAITS
from crnet.utils.files import parse_json, write_text

LOG_NAME = "log.jsonl"

OVERFITTING_EPOCHS = 3  # the best validation must be at least so many epochs ago
OVERFITTING_DROP = 0.002  # in 1 - MAE; a smaller drop is noise of the validation split
OVERFITTING_DROP_CROSS_ENTROPY = 0.1  # summed over six targets; 8.3 at chance
OVERFITTING_GAP = 0.02  # in 1 - MAE, training minus validation; the paper's whole gain over the floor is 0.035

Row = dict[str, Any]


@dataclass(frozen=True)
class EpochMetrics:
    """Losses and predictions of one pass over a split, over all processes.

    Attributes:
        terms: Mean of each loss: total, l1, mse, bell, classification.
        scores: float [N, 6], predicted.
        truth: float [N, 6], annotated.
        class_accuracy: Share of correct classes over clips and targets.
        outside_bell: Share of scores so far off that the Bell loss no longer pulls (4 sigma).
    """

    terms: Mapping[str, float]
    scores: np.ndarray
    truth: np.ndarray
    class_accuracy: float
    outside_bell: float


def metrics_row(metrics: EpochMetrics) -> Row:
    """Return the metrics of an epoch as JSON values.

    Returns:
        The losses by name, `class_accuracy` and `outside_bell`; and `accuracy` (1 - MAE, Eq. 10) and `spread` (standard
        deviation of the predictions over that of the truth), each by target and with the `average` of the five traits.
    """
    row: Row = {**metrics.terms, "class_accuracy": metrics.class_accuracy, "outside_bell": metrics.outside_bell}
    for name, measure in (("accuracy", accuracy), ("spread", spread)):
        by_target = {t: measure(metrics.truth[:, i], metrics.scores[:, i]) for i, t in enumerate(TARGETS)}
        trait_values = [value for trait in TRAITS if (value := by_target[trait]) is not None]
        average = float(np.mean(trait_values)) if len(trait_values) == len(TRAITS) else None
        row[name] = {**by_target, "average": average}
    return row


def overfitting_warning(rows: Sequence[Row]) -> str | None:
    """Return a sentence if the last of `rows`, the epochs of one stage, shows overfitting.

    There are two signs: validation has fallen from its best of some epochs ago while training kept rising, or training
    is far above validation. A stage of classification alone is judged by its cross-entropy and by the first sign.
    """
    rows = [row for row in rows if row["val"] is not None]
    if not rows:
        return None
    # lambda is 1 only where the cross-entropy is alone; elsewhere it is at least 4 (Eq. 9).
    classifies = rows[-1]["lambda"] == 1
    name, drop = ("cross-entropy", OVERFITTING_DROP_CROSS_ENTROPY) if classifies else ("1 - MAE", OVERFITTING_DROP)
    train, val = (
        [-row[split]["classification"] if classifies else row[split]["accuracy"]["average"] for row in rows]
        for split in ("train", "val")
    )
    best = int(np.argmax(val))
    if len(rows) - 1 - best >= OVERFITTING_EPOCHS and val[best] - val[-1] > drop and train[-1] > train[best]:
        sign, worse, better = (-1, "rose", "fell") if classifies else (1, "fell", "rose")
        return (
            f"validation {name} {worse} from {sign * val[best]:.4f} (epoch {rows[best]['epoch']}) to "
            f"{sign * val[-1]:.4f} while training {name} {better} from {sign * train[best]:.4f} to "
            f"{sign * train[-1]:.4f}"
        )
    if not classifies and train[-1] - val[-1] > OVERFITTING_GAP:
        return f"training {name} {train[-1]:.4f} is far above validation {val[-1]:.4f}"
    return None


class RowWriter(Protocol):
    """Writes rows of the log, one at a time."""

    def __call__(self, row: Row) -> None:
        """Write one row."""


@contextmanager
def open_log(folder: Path, rows: Sequence[Row], tensorboard: bool) -> Iterator[RowWriter]:
    """Open the log of a run whose state holds `rows`. Rows that an interrupted run logged after them are dropped.

    Args:
        folder: Folder of `log.jsonl` and, if requested and installed, `tensorboard/`.
        rows: The epochs so far.
        tensorboard: Also write TensorBoard files.

    Raises:
        StorageError: The disk is full or the folder cannot be written, now or when a row is written.
    """
    path = folder / LOG_NAME
    write_text(path, "".join(map(_line, rows)))
    board = _summary_writer(folder / "tensorboard", first_step=len(rows) + 1) if tensorboard else None
    step = len(rows)

    def write(row: Row) -> None:
        nonlocal step
        step += 1
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(_line(row))
        except OSError as error:
            raise StorageError(f"cannot write: {error.strerror}", path=path, remedy="free some space") from error
        if board is not None:
            for name, value in _scalars(row):
                board.add_scalar(name, value, step)

    try:
        yield write
    finally:
        if board is not None:
            board.close()


def read_log(folder: Path | str) -> list[Row]:
    """Read the rows of the log in a stream's folder, with current names; an empty list if there is no log.

    Raises:
        FormatError: The log is not one epoch per line in JSON.
    """
    path = Path(folder) / LOG_NAME
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [with_current_names(parse_json(line)) for line in lines if line]
        if not all(isinstance(row["stage"], int) and isinstance(row["train"], dict) for row in rows):
            raise ValueError("a row is not an epoch")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"not a training log: {error}", path=path) from error
    return rows


def count_epochs(folder: Path) -> int:
    """Return the number of epochs in the log of a stream's folder; 0 if there is no log."""
    try:
        return (folder / LOG_NAME).read_bytes().count(b"\n")
    except OSError:
        return 0


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _summary_writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # TensorBoard is an extra
        return None
    return SummaryWriter(str(folder), purge_step=first_step)


def _scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, float(value)
