"""What a model card is filled from: the bundle of a run, its configuration, its evaluation and its audit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.audit import AUDIT_FILE, AUDIT_FOLDER
from crnet.bundle.verify import (
    BUNDLE_FILE,
    CALIBRATION_FILE,
    find_bundle,
    is_exported,
    model_info,
    read_document,
    run_of,
)
from crnet.config import RUN_FILE, Config, from_dict
from crnet.errors import FormatError
from crnet.evaluation.evaluation import EVALUATION_FOLDER, METRICS_FILE
from crnet.fusion.conformal import Calibration
from crnet.types import ModelInfo, Split
from crnet.utils.files import read_json

Document = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class CardDocuments:
    """Everything that is known about a run.

    Attributes:
        model: Name and fingerprint of the system.
        split: The split of evaluation and audit.
        bundle: The content of `bundle.json`.
        config: The configuration.
        exported: Whether the networks are graphs.
        size_bytes: Size of all files of the bundle.
        calibration: Calibration of the intervals; None without intervals.
        run: The content of `run.json`; None if there is none.
        metrics: The content of `metrics.json`; None if the run was not evaluated.
        metrics_path: Where it is or would be.
        audit: The content of `audit.json`; None if the run was not audited.
        audit_path: Where it is or would be.
    """

    model: ModelInfo
    split: Split
    bundle: Document
    config: Config
    exported: bool
    size_bytes: int
    calibration: Calibration | None
    run: Document | None
    metrics: Document | None
    metrics_path: Path
    audit: Document | None
    audit_path: Path


def read_card_documents(run: Path, split: Split) -> CardDocuments:
    """Read the documents of a run.

    Args:
        run: A run folder, or its bundle, beside which an evaluation may lie.
        split: The split whose evaluation and audit count.

    Raises:
        FormatError: There is no bundle, a document is damaged, or an evaluation or audit is of another system.
    """
    folder = find_bundle(run)
    run = run_of(folder)
    bundle = read_document(folder)
    model = model_info(folder, bundle)
    calibration = folder / CALIBRATION_FILE
    has_intervals = CALIBRATION_FILE in bundle["files"]
    metrics, audit = run / EVALUATION_FOLDER / split / METRICS_FILE, run / AUDIT_FOLDER / split / AUDIT_FILE
    return CardDocuments(
        model,
        split,
        bundle,
        from_dict(Config, bundle["config"], folder / BUNDLE_FILE),
        is_exported(bundle),
        sum(path.stat().st_size for name in bundle["files"] if (path := folder / name).is_file()),
        Calibration.from_dict(read_json(calibration, "a calibration"), calibration) if has_intervals else None,
        _read(run / RUN_FILE, "a run's configuration", None),
        _read(metrics, "the figures of an evaluation", model),
        metrics,
        _read(audit, "an audit", model),
        audit,
    )


def _read(path: Path, what: str, model: ModelInfo | None) -> Document | None:
    """Read a document if it exists; with a model, refuse the figures of another one.

    Raises:
        FormatError: The document is damaged, or is about another model.
    """
    if not path.is_file():
        return None
    document = read_json(path, what)
    if not isinstance(document, dict):
        raise FormatError(f"is not {what}", path=path)
    measured = document.get("model", {})  # earlier versions did not record it; the audit of a table records None
    named = measured.get("fingerprint") if isinstance(measured, dict) else None
    if model is not None and measured != {} and named != model.fingerprint:
        raise FormatError("is about another system than this bundle", path=path, remedy="evaluate or audit again")
    return document
