"""Conditions of a fair evaluation: which clips are scored, what is refused, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crnet.bundle.bundle import Bundle
from crnet.data.clip_rows import are_annotated, select_rows
from crnet.data.failures import FAILURES_NAME, LOCKED_NAME, missing_clips
from crnet.data.manifest import ClipRow, Manifest, read_manifest
from crnet.data.splits import OFFICIAL, SplitProtocol, assign_splits, training_fingerprint
from crnet.errors import ConfigError, LabelError
from crnet.text.encoder_interface import encoder_label, is_same_encoder
from crnet.types import SPLITS, TRAINED_ON_SYNTHETIC_PEOPLE, Split


@dataclass(frozen=True, eq=False)
class EvaluationClips:
    """The clips of an evaluation.

    Attributes:
        split: The split.
        manifest: The store's clips in the splits of the system's protocol.
        rows: The clips that are scored.
        missing: Annotated clips of the split that the store lacks.
        warnings: What a reader must know, most important first.
    """

    split: Split
    manifest: Manifest
    rows: Sequence[ClipRow]
    missing: tuple[str, ...]
    warnings: tuple[str, ...]


def select_clips(bundle: Bundle, store: Path, split: Split, allow_missing: bool) -> EvaluationClips:
    """Select the clips of a split that a system is evaluated on.

    Raises:
        LabelError, ConfigError: The evaluation would not be fair; see the functions below.
    """
    manifest = assign_splits(read_manifest(store), bundle.protocol)
    rows = annotated_rows(manifest, split, store)
    refuse_other_splits(bundle, manifest, store)
    missing = missing_clips(manifest, official_splits(split, bundle.protocol), store)
    if not allow_missing:
        refuse_missing(missing, store)
    warnings = evaluation_warnings(bundle, manifest, split, missing)
    return EvaluationClips(split, manifest, rows, missing, warnings)


def _annotated(rows: Sequence[ClipRow]) -> Sequence[ClipRow]:
    return select_rows(rows, are_annotated(rows))


def annotated_rows(manifest: Manifest, split: Split, store: Path) -> Sequence[ClipRow]:
    """Return the annotated clips of a split.

    Raises:
        LabelError: There are none.
    """
    rows = _annotated(manifest.rows(split))
    if not rows:
        annotated = [name for name in SPLITS if _annotated(manifest.rows(name))]
        raise LabelError(
            f"no annotated clips in the {split} split",
            path=store,
            remedy=f"splits with annotated clips: {', '.join(annotated) or 'none'}",
        )
    return rows


def official_splits(split: Split, protocol: SplitProtocol) -> tuple[Split, ...]:
    """Return the data set's own splits whose missing clips could belong to a split of a protocol.

    Every split under any other protocol than the official one: such a protocol assigns a clip by its person, who is
    unknown until the clip is prepared.
    """
    return (split,) if protocol == OFFICIAL else SPLITS


def refuse_missing(missing: Sequence[str], store: Path) -> None:
    """Refuse an evaluation with missing clips.

    Raises:
        LabelError: Clips are missing.
    """
    if missing:
        raise LabelError(
            f"{len(missing)} annotated clips are not in the store, the first is {missing[0]}",
            path=store,
            remedy=f"repair those in {FAILURES_NAME}, give the keys for those in {LOCKED_NAME} and run `crnet prepare` "
            "again, or allow missing clips and report n with every figure",
        )


def refuse_other_splits(bundle: Bundle, manifest: Manifest, store: Path) -> None:
    """Refuse a store whose clips a protocol assigns differently than it did at training.

    Under the official protocol clips keep their split; under others they may move when a clip is added or removed.

    Raises:
        ConfigError: Test clips may have been training clips.
    """
    if bundle.protocol != OFFICIAL and bundle.training_fingerprint != training_fingerprint(manifest):
        raise ConfigError(
            f"{bundle.protocol} assigns the clips of this store to other splits than at training: "
            "the system may have been trained on its test clips",
            path=store,
            remedy="evaluate it on the store it was trained on, or train it again on this one",
        )


def evaluation_warnings(bundle: Bundle, manifest: Manifest, split: Split, missing: Sequence[str]) -> tuple[str, ...]:
    """Return what a reader must know about scoring this store with this bundle, most important first.

    Raises:
        ConfigError: The store was prepared with another text encoder.
    """
    if not is_same_encoder(manifest.encoder, bundle.encoder):
        raise ConfigError(
            f"the store's transcripts were encoded by {encoder_label(manifest.encoder)}, "
            f"but the system was trained with {encoder_label(bundle.encoder)}",
            remedy="embed or prepare the clips with the system's encoder",
        )
    warnings = []
    if not bundle.applies_to(manifest.source == "simulated"):
        warnings.append(TRAINED_ON_SYNTHETIC_PEOPLE)
    if split == "train":
        warnings.append(
            "these are training clips, which the extra-trees have memorised, so the fused scores are not informative"
            if bundle.config.fusion.fit_on == "training"
            else "these are training clips, which the networks have memorised in part, so all scores are too good"
        )
    if split == "val":
        warnings.append(
            "these are validation clips, which were used to select the networks, fit the fusion and calibrate the "
            "intervals"
        )
    if missing:
        warnings.append(f"{len(missing)} annotated clips are missing")
    for name, value in bundle.media.items():
        # The number of frames kept affects what training may sample, but hardly which frames are scored.
        if name != "frames_per_segment" and manifest.settings.get(name) != value:
            setting = manifest.settings.get(name)
            warnings.append(f"the clips were prepared with {name} {setting!r}, the training clips with {value!r}")
    return tuple(warnings)
