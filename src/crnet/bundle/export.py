"""Export a trained system: a bundle whose networks are graphs, in float32 or with 8-bit weights and activations.

The graphs are OpenVINO's own files (a description in XML and the weights), not ONNX: they are loaded from mapped memory
without being parsed, 8-bit quantisation produces them, and exporting needs no further package.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import load_bundle, open_bundle
from crnet.bundle.quantize import QUANTIZED_STREAMS, quantize
from crnet.bundle.save import write_bundle
from crnet.bundle.stored_networks import graphs
from crnet.bundle.verify import BUNDLE_FILE, BUNDLE_FOLDER, is_exported, read_document
from crnet.config import RUN_FILE
from crnet.data.dataset import ClipDataset, stack_scores
from crnet.data.manifest import ClipRow, Manifest, read_manifest
from crnet.data.splits import assign_splits, training_fingerprint
from crnet.data.transforms import stack_samples
from crnet.errors import ConfigError, FormatError, StorageError, UsageError
from crnet.fusion.fusion import system_scores
from crnet.models.inference import run_networks
from crnet.models.openvino_networks import OpenVinoNetworks, stream_inputs
from crnet.types import TEXT_DIMENSIONS, TRAIT_INDICES, Batch, Stream
from crnet.utils.files import atomic_write
from crnet.utils.openvino_runtime import openvino
from crnet.utils.progress import Progress, no_progress
from crnet.utils.storage import as_path

logger = logging.getLogger(__name__)

ExportPrecision = Literal["fp32", "int8"]
CALIBRATION_CLIPS = 100  # of the training split, evenly spaced: their activations decide the steps of int8
CHECKED_CLIPS = 4
MAX_DIFFERENCE = 1e-4  # of features, relative to the largest one if that exceeds 1


def export_bundle(
    run: Path | str,
    out: Path | str,
    precision: ExportPrecision = "fp32",
    store: Path | str | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Write a bundle that predicts without PyTorch on any machine, and return what `bundle.json` says about the export.

    Args:
        run: A run folder, or the bundle in it.
        out: The folder of the new bundle.
        precision: int8 halves the time of the visual networks and divides their size by four; it moves scores. The
            network of the sound stays in float32.
        store: The clip store that the system was trained on. Its training clips calibrate int8, and its validation
            clips measure what int8 costs. Required for int8; without it, float32 is checked on noise.
        progress: Called after every clip.

    Raises:
        UsageError: int8 without a store or a visual stream, a store without such clips, or a run that is itself
            exported.
        ConfigError: `out` holds a trained system, the one that is exported or another.
        FormatError: The run is damaged, or a graph computes something else than the network.
        MissingDependencyError: int8, and the package nncf is not installed.
        StorageError: A disk is full or cannot be written.
    """
    out = Path(out)
    if store is None and precision == "int8":
        raise UsageError("int8 is calibrated on clips", remedy="name the store that the system was trained on, --store")
    _require_no_run(out)
    bundle = load_bundle(run)
    if precision == "int8" and not set(bundle.networks) & set(QUANTIZED_STREAMS):
        raise UsageError("only the scene and face networks have an int8 form", path=run, remedy="export it in fp32")
    manifest = assign_splits(read_manifest(as_path(store)), bundle.protocol) if store is not None else None
    rows = _rows(manifest, as_path(store)) if manifest is not None and store is not None else {}
    models = {stream: build() for stream, build in graphs(bundle.networks, bundle.config).items()}
    facts: dict[str, Any] = {"precision": precision, **_check(bundle, models, store, rows)}
    if manifest is not None and store is not None and precision == "int8":
        facts |= {"calibrated_on_training_clips": _holds_training_clips(bundle, manifest, store)}
        exact = _networks(models)
        models = _quantized(bundle, models, store, rows["train"], progress)
        facts |= {"calibration_clips": len(rows["train"])}
        validation = ClipDataset(store, rows["val"], bundle.config.transforms, bundle.config.streams)
        facts |= {"validation": _cost(bundle, exact, _networks(models), validation, progress)}
    (out / BUNDLE_FILE).unlink(missing_ok=True)
    for stream, model in models.items():
        _save(model, out / f"{stream}.xml")
    write_bundle(bundle, out, facts)
    open_bundle(out)  # what cannot be opened must not leave here
    return facts


def _require_no_run(out: Path) -> None:
    """Refuse a folder that holds a trained system, which an export would hide or overwrite; not an earlier export.

    Raises:
        ConfigError: It is a run, or the bundle of one.
    """
    is_run = (out / RUN_FILE).is_file() or (out / BUNDLE_FOLDER / BUNDLE_FILE).is_file()
    if is_run or ((out / BUNDLE_FILE).is_file() and not is_exported(read_document(out))):
        raise ConfigError(
            "holds a trained system, which an export would hide or overwrite", path=out, remedy="choose another folder"
        )


def _rows(manifest: Manifest, store: Path) -> dict[str, Sequence[ClipRow]]:
    """Return the clips that calibrate and those that measure; the manifest has the splits of the system's protocol."""
    train, validation = manifest.rows("train"), [row for row in manifest.rows("val") if row.scores is not None]
    if not train or not validation:
        raise UsageError("the store has no training or no validation clips with scores", path=store)
    step = -(-len(train) // CALIBRATION_CLIPS)
    return {"train": train[::step], "val": validation}


def _holds_training_clips(bundle: Bundle, manifest: Manifest, store: Path | str) -> bool | None:
    """Return whether a store holds the clips of the training, and warn if not; None for a bundle that names none."""
    if not bundle.training_fingerprint:
        return None
    is_same = bundle.training_fingerprint == training_fingerprint(manifest)
    if not is_same:
        reason = "not the training and validation clips of this system, but int8 is calibrated and measured on them"
        logger.warning("%s: %s", store, reason)
    return is_same


def _check(
    bundle: Bundle,
    models: Mapping[Stream, openvino.Model],
    store: Path | str | None,
    rows: Mapping[str, Sequence[ClipRow]],
) -> dict[str, float]:
    """Compare the graphs with PyTorch.

    Raises:
        FormatError: A feature differs by more than `MAX_DIFFERENCE`, or is no finite number.
    """
    if store is None:
        batches = [_noise(bundle, seed) for seed in range(CHECKED_CLIPS)]
    else:
        clips = ClipDataset(store, rows["val"][:CHECKED_CLIPS], bundle.config.transforms, bundle.config.streams)
        batches = [stack_samples([clips[index]]) for index in range(len(clips))]
    networks, largest = _networks(models), 0.0
    for batch in batches:
        expected, found = run_networks(bundle.networks, batch)[0], networks.run(batch)[0]
        for stream, features in expected.items():
            if not np.isfinite(features).all():
                reason = f"the {stream} network gives features that are no finite numbers"
                raise FormatError(reason, path=bundle.path, remedy="train it again, with a smaller learning rate")
            difference = float(np.abs(features - found[stream]).max()) / max(1.0, float(np.abs(features).max()))
            if not difference <= MAX_DIFFERENCE:
                raise FormatError(
                    f"the features of the graph of the {stream} stream differ from PyTorch's by {difference:.1e}",
                    path=bundle.path,
                    remedy="this is a bug: please report it with the model's configuration",
                )
            largest = max(largest, difference)
    return {"largest_feature_difference": largest}


def _noise(bundle: Bundle, seed: int) -> Batch:
    """Return a batch of one clip of noise."""
    rng, transforms = np.random.default_rng(seed), bundle.config.transforms
    shape = (1, transforms.frames, 3, transforms.pixels, transforms.pixels)
    arrays: dict[str, np.ndarray] = {
        stream: rng.integers(0, 256, shape, dtype=np.uint8) for stream in bundle.networks if stream != "audio-text"
    }
    if "audio-text" in bundle.networks:
        arrays["audio"] = rng.normal(scale=0.1, size=(1, transforms.audio_samples or 1)).astype(np.float32)
        arrays["text"] = rng.normal(scale=0.02, size=(1, TEXT_DIMENSIONS)).astype(np.float32)
    return Batch(("noise",), **arrays)


def _networks(models: Mapping[Stream, openvino.Model]) -> OpenVinoNetworks:
    return OpenVinoNetworks({stream: partial(_same, model) for stream, model in models.items()})


def _same(model: openvino.Model) -> openvino.Model:
    return model


def _quantized(
    bundle: Bundle,
    models: Mapping[Stream, openvino.Model],
    store: Path | str,
    rows: Sequence[ClipRow],
    progress: Progress,
) -> dict[Stream, openvino.Model]:
    """Return the graphs, those of `QUANTIZED_STREAMS` in int8."""
    quantized, visual = dict(models), [stream for stream in models if stream in QUANTIZED_STREAMS]
    for number, stream in enumerate(visual, start=1):
        clips = ClipDataset(store, rows, bundle.config.transforms, [stream])
        batches = (stack_samples([clips[index]]) for index in range(len(clips)))
        quantized[stream] = quantize(models[stream], (stream_inputs(stream, batch, 0) for batch in batches), len(clips))
        progress("quantising", number, len(visual), stream)
    return quantized


def _cost(
    bundle: Bundle, exact: OpenVinoNetworks, fast: OpenVinoNetworks, clips: ClipDataset, progress: Progress
) -> dict[str, Any]:
    """Return what int8 changes in the fused scores of the validation clips."""
    fused: list[list[NDArray[np.float64]]] = [[], []]
    for index in range(len(clips)):
        batch = stack_samples([clips[index]])
        for scores, networks in zip(fused, (exact, fast), strict=True):
            scores.append(system_scores(bundle.fusion, *networks.run(batch))[0])
        progress("measuring the cost of int8", index + 1, len(clips))
    truth = stack_scores(clips.rows)
    in_fp32, in_int8 = (np.concatenate(scores) for scores in fused)
    accuracy, accuracy_int8 = (float(1 - np.abs(s - truth)[:, TRAIT_INDICES].mean()) for s in (in_fp32, in_int8))
    difference = np.abs(in_fp32 - in_int8)
    return {
        "clips": len(clips),
        "accuracy_fp32": accuracy,
        "accuracy": accuracy_int8,
        "accuracy_lost": accuracy - accuracy_int8,
        "mean_score_difference": float(difference.mean()),
        "largest_score_difference": float(difference.max()),
    }


def _save(model: openvino.Model, path: Path) -> None:
    """Write a graph and its weights, each in one step.

    Raises:
        StorageError: The disk, or that of temporary files, is full or cannot be written.
    """
    with TemporaryDirectory() as folder:
        written = Path(folder) / path.name
        try:
            openvino.save_model(model, written, compress_to_fp16=False)
        except RuntimeError as error:  # all that OpenVINO says is: iostream error
            remedy = "free some space there, or set TMPDIR to another folder"
            raise StorageError("the graph cannot be written", path=folder, remedy=remedy) from error
        for suffix in (".bin", ".xml"):
            with atomic_write(path.with_suffix(suffix)) as temporary:
                temporary.write_bytes(written.with_suffix(suffix).read_bytes())
