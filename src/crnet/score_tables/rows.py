"""The rows of a table of scores, and what a table of any format can do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from crnet.types import PREDICTION_COLUMNS, Prediction

PROVENANCE_COLUMNS = (
    "model_fingerprint",
    "crnet_version",
    "scored_at",
    "seconds",
    "file_sha256",
    "input_fingerprint",
)
COLUMNS = (*PREDICTION_COLUMNS, *PROVENANCE_COLUMNS)


@dataclass(frozen=True)
class ScoreRow:
    """The scores of a clip, or why there are none, and what they come from.

    Attributes:
        prediction: The scores.
        model_fingerprint: Fingerprint of the bundle.
        crnet_version: Version of crnet that scored the clip.
        scored_at: When the clip was scored, in UTC: "2026-01-31T02:00:00Z".
        seconds: How long it took to read and score the clip.
        file_sha256: SHA-256 of the video; "" if it cannot be read.
        input_fingerprint: Fingerprint of the video, its transcript and the options that change scores.
    """

    prediction: Prediction
    model_fingerprint: str
    crnet_version: str
    scored_at: str
    seconds: float
    file_sha256: str
    input_fingerprint: str

    def provenance(self) -> dict[str, Any]:
        """Return where the scores come from; the keys are `PROVENANCE_COLUMNS`."""
        return {name: getattr(self, name) for name in PROVENANCE_COLUMNS}

    def to_row(self) -> dict[str, Any]:
        """Return the cells of the row; the keys are `COLUMNS`, a missing value is None, text is valid UTF-8."""
        cells = {**self.prediction.to_row(), **self.provenance()}
        return {
            name: cell.encode(errors="backslashreplace").decode() if isinstance(cell, str) else cell
            for name, cell in cells.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return the row as a JSON document: that of the prediction, and the provenance."""
        return {**self.prediction.to_dict(), **self.provenance()}


IsRetried = Callable[[Mapping[str, Any]], bool]
"""Whether a row, given as the cells that `Done.add` takes and `error`, must be removed: its clip is scored again."""


@dataclass
class Done:
    """What a table holds of one model.

    Attributes:
        model_fingerprint: The model.
        inputs: The input fingerprints of its rows, by clip.
        failed: The clips with a row that says why there are no scores.
    """

    model_fingerprint: str
    inputs: dict[str, frozenset[str]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def add(self, clip: str, model_fingerprint: str, input_fingerprint: str) -> None:
        """Add a row that a table holds."""
        if model_fingerprint == self.model_fingerprint:
            self.inputs[clip] = self.inputs.get(clip, frozenset()) | {input_fingerprint}


class ScoreTable(Protocol):
    """A table of scores."""

    def recover(self, done: Done, is_retried: IsRetried) -> None:
        """Remove what a killed run left half-written and the rows to be scored again; tell `done` the others.

        It comes first, and again after `close` when a failed clip is scored again in the same run.

        Raises:
            FormatError: It is no such table, or damaged.
            StorageError: It cannot be read or written.
        """

    def append(self, row: ScoreRow) -> None:
        """Add a row. It is on disk when this returns.

        Raises:
            StorageError: It cannot be written.
        """

    def close(self) -> None:
        """Finish the table."""
