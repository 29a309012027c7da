"""Write a bundle: `bundle.json`, and safetensors files that it names with their SHA-256."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save as weights_to_bytes

from crnet.bundle.bundle import Bundle
from crnet.bundle.verify import (
    BUNDLE_FILE,
    CALIBRATION_FILE,
    EXPORTED_FORMAT,
    FORMAT,
    KIND,
    document_sha256,
    file_names,
)
from crnet.config import to_dict
from crnet.types import TARGETS
from crnet.utils.files import sha256, write_arrays, write_bytes, write_json
from crnet.utils.provenance import git_revision, versions

TREES_PREFIX = "forest."


def save_bundle(bundle: Bundle, folder: Path | str) -> None:
    """Write a bundle. `bundle.json` is written last, so a half-written folder never counts as complete.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    folder = Path(folder)
    (folder / BUNDLE_FILE).unlink(missing_ok=True)
    for stream, net in bundle.networks.items():
        weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        write_bytes(folder / f"{stream}.safetensors", weights_to_bytes(weights))
    write_bundle(bundle, folder)


def write_bundle(bundle: Bundle, folder: Path, export: Mapping[str, Any] | None = None) -> None:
    """Write everything of a bundle but its networks, which are there already; `bundle.json` last.

    Args:
        bundle: The bundle.
        folder: Its folder.
        export: What is to be said about the export, if the networks are graphs.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    arrays = bundle.fusion.to_tensors()
    trees = {name: array for name, array in arrays.items() if name.startswith(TREES_PREFIX)}
    write_arrays(folder / "trees.safetensors", trees)
    write_arrays(folder / "fusion.safetensors", {name: arrays[name] for name in arrays if name not in trees})
    if bundle.calibration is not None:
        write_json(folder / CALIBRATION_FILE, bundle.calibration.to_dict())
    calibrated, exported = bundle.calibration is not None, export is not None
    files = file_names(tuple(bundle.networks), calibrated=calibrated, exported=exported)
    document = {
        "format": EXPORTED_FORMAT if exported else FORMAT,
        "kind": KIND,
        "targets": list(TARGETS),
        "training_source": bundle.training_source,
        "encoder": bundle.encoder,
        "protocol": str(bundle.protocol),
        "training_fingerprint": bundle.training_fingerprint,
        "media": dict(bundle.media),
        "train_medians": bundle.train_medians.tolist(),
        "config": to_dict(bundle.config),
        "versions": versions(),
        "git_revision": git_revision(),
        "files": {name: sha256(folder / name) for name in files},
        **({} if export is None else {"export": dict(export)}),
    }
    write_json(folder / BUNDLE_FILE, {**document, "sha256": document_sha256(document)})
