"""What a run tells: `log.jsonl`, TensorBoard where it is installed, and the early warning of overfitting.

A row of `log.jsonl` is one epoch:

    stage, epoch, epochs   from 1; epochs of this stage in all
    lr, lambda             learning rate and weight of the cross-entropy (Eq. 9)
    train, val             what `figures` returns; val is null without a validation split
    best                   true if this is the best network so far
    overfitting            a sentence, or null
    samples_per_s          clips trained on in a second
    waiting_share          part of the training time spent waiting for data, 0 to 1
    seconds                of the whole epoch

The training figures come from the passes that trained: the network improved while they were made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from crnet.errors import StorageError
from crnet.metrics import accuracy, spread
from crnet.types import TARGETS, TRAITS
from crnet.utils.files import write_text

LOG_NAME = "log.jsonl"

OVERFITTING_EPOCHS = 3  # so long must the best validation be ago
OVERFITTING_DROP = 0.002  # of 1 - MAE; less is the noise of a validation split
OVERFITTING_DROP_GUIDE = 0.1  # of the cross-entropy summed over six targets, 8.3 at chance
OVERFITTING_GAP = 0.02  # of 1 - MAE between training and validation; the paper's whole gain over the floor is 0.035

Row = dict[str, Any]


@dataclass(frozen=True)
class Pass:
    """What one pass over a split came to, over all processes.

    Attributes:
        terms: Mean of each loss: total, l1, mse, bell, guide.
        scores: float [N, 6], predicted.
        truth: float [N, 6], annotated.
        class_accuracy: Share of right classes over clips and targets.
        outside_bell: Share of scores so far off that the Bell loss no longer pulls (4 sigma).
    """

    terms: Mapping[str, float]
    scores: np.ndarray
    truth: np.ndarray
    class_accuracy: float
    outside_bell: float


def figures(seen: Pass) -> Row:
    """The figures of a pass as JSON values.

    Returns:
        The losses by name, `class_accuracy`, `outside_bell`, and by target with `average` (of the five traits)
        `accuracy` (1 - MAE, Eq. 10) and `spread` (sd of the predictions / sd of the truth).
    """
    row: Row = {**seen.terms, "class_accuracy": seen.class_accuracy, "outside_bell": seen.outside_bell}
    for name, measure in (("accuracy", accuracy), ("spread", spread)):
        by_target = {t: measure(seen.truth[:, i], seen.scores[:, i]) for i, t in enumerate(TARGETS)}
        of_traits = [value for trait in TRAITS if (value := by_target[trait]) is not None]
        average = float(np.mean(of_traits)) if len(of_traits) == len(TRAITS) else None
        row[name] = {**by_target, "average": average}
    return row


def overfitting(rows: Sequence[Row]) -> str | None:
    """Say so if the last of `rows`, the epochs of one stage, shows overfitting.

    Two signs: validation has come down from its best of some epochs ago while training went on rising, or the gap
    between the two is wide. A stage of classification alone is judged by its cross-entropy, by the first sign.
    """
    rows = [row for row in rows if row["val"] is not None]
    if not rows:
        return None
    # lambda is 1 exactly where the cross-entropy is alone: elsewhere it is 4 or more (Eq. 9).
    classifies = rows[-1]["lambda"] == 1
    name, drop = ("-cross-entropy", OVERFITTING_DROP_GUIDE) if classifies else ("1-MAE", OVERFITTING_DROP)
    train, val = (
        [-row[split]["guide"] if classifies else row[split]["accuracy"]["average"] for row in rows]
        for split in ("train", "val")
    )
    best = int(np.argmax(val))
    if len(rows) - 1 - best >= OVERFITTING_EPOCHS and val[best] - val[-1] > drop and train[-1] > train[best]:
        return (
            f"validation {name} fell from {val[best]:.4f} (epoch {rows[best]['epoch']}) to {val[-1]:.4f} "
            f"while training rose from {train[best]:.4f} to {train[-1]:.4f}"
        )
    if not classifies and train[-1] - val[-1] > OVERFITTING_GAP:
        return f"training {name} {train[-1]:.4f} is far above validation {val[-1]:.4f}"
    return None


class Writer(Protocol):
    """Takes the rows as they come."""

    def __call__(self, row: Row) -> None:
        """Write one row."""


@contextmanager
def run_log(folder: Path, rows: Sequence[Row], tensorboard: bool) -> Iterator[Writer]:
    """Open the log of a run that already has `rows`; whatever else an interrupted run left in it is dropped.

    Args:
        folder: Where `log.jsonl` and, if wanted and installed, `tensorboard/` go.
        rows: The epochs so far.
        tensorboard: Write TensorBoard's files too.

    Raises:
        StorageError: The disk is full or the folder cannot be written; also later, when a row is.
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


def epochs_logged(folder: Path) -> int:
    """How many epochs the log in a stream's folder holds; 0 if there is none."""
    try:
        return (folder / LOG_NAME).read_bytes().count(b"\n")
    except OSError:
        return 0


def _line(row: Row) -> str:
    return json.dumps(row, allow_nan=False) + "\n"


def _summary_writer(folder: Path, first_step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an extra
        return None
    return SummaryWriter(str(folder), purge_step=first_step)


def _scalars(row: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            yield prefix + name, float(value)
