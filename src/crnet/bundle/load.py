"""Load a bundle, or open it for prediction.

Loading runs no code from the folder, and errors name the file that is damaged or foreign.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle, media_settings
from crnet.bundle.exported import ExportedNetworks
from crnet.bundle.stored_networks import StoredNetworks
from crnet.bundle.verify import (
    BUNDLE_FILE,
    CALIBRATION_FILE,
    BundleFiles,
    file_names,
    find_bundle,
    is_exported,
    model_info,
    read_document,
    require_file,
)
from crnet.config import Config, from_dict
from crnet.data.splits import OFFICIAL, SplitProtocol
from crnet.data.tensor_file import MAX_MAPPED_BYTES, TensorFile
from crnet.errors import FormatError, UsageError
from crnet.fusion.conformal import Calibration
from crnet.fusion.fusion import Fusion
from crnet.media.settings import MediaSettings
from crnet.utils.files import read_json

VISUAL_FUSION_FILE = "scene+face.safetensors"


def load_bundle(path: Path | str, files: BundleFiles | None = None) -> Bundle:
    """Load the bundle of a run with its networks as PyTorch modules, and check all of it at once.

    Args:
        path: A run folder, or the bundle in it.
        files: The files of the bundle, if their verification has already started.

    Raises:
        FormatError: Not a bundle, another format, or a damaged or missing file; the message names it.
        UsageError: The bundle is exported.
    """
    bundle = open_bundle(path, files, check_nodes=True)
    with ThreadPoolExecutor() as pool:
        networks = dict(zip(bundle.networks, pool.map(bundle.networks.__getitem__, bundle.networks), strict=True))
    return replace(bundle, networks=networks)


def open_bundle(path: Path | str, files: BundleFiles | None = None, *, check_nodes: bool = False) -> Bundle:
    """Open the bundle of a run for prediction, which needs no PyTorch.

    The hashes of all files are compared. Networks are read when they are first used, and the nodes of trees are checked
    when a prediction comes to them: it comes to few of a gigabyte.

    Args:
        path: A run folder, or the bundle in it.
        files: The files of the bundle, if their verification has already started.
        check_nodes: Check every node of the trees now.

    Raises:
        FormatError: Not a bundle, another format, or a damaged or missing file; the message names it.
    """
    files = files or BundleFiles(path)
    folder, document = files.folder, files.document
    config, protocol = _training_config(document, folder)
    calibrated, exported = CALIBRATION_FILE in document["files"], is_exported(document)
    files.check(file_names(config.streams, calibrated=calibrated, exported=exported))
    fusion = _load_fusion(config, folder, check_nodes)
    if set(fusion.streams) != set(config.streams):
        raise FormatError("fuses other streams than bundle.json names", path=folder / "fusion.safetensors")
    return Bundle(
        config=config,
        networks=ExportedNetworks(folder, config) if exported else StoredNetworks(folder, config),
        fusion=fusion,
        training_source=document["training_source"],
        encoder=document["encoder"],
        media=document["media"],
        train_medians=np.array(document["train_medians"], dtype=np.float64),
        calibration=_load_calibration(folder) if calibrated else None,
        protocol=protocol,
        training_fingerprint=str(document.get("training_fingerprint", document.get("training_digest", ""))),
        path=folder,
        model=model_info(folder, document),
    )


def read_training_config(path: Path | str) -> tuple[Config, SplitProtocol]:
    """Read how a system was trained from its run folder, or the bundle in it; load nothing else.

    Raises:
        FormatError: Not a bundle, another format, or a damaged one.
    """
    folder = find_bundle(path)
    return _training_config(read_document(folder), folder)


def read_media_settings(path: Path | str) -> MediaSettings:
    """Read how the videos for a system are read from its run folder, or the bundle in it; load nothing else.

    Raises:
        FormatError: Not a bundle, another format, or a damaged one.
    """
    folder = find_bundle(path)
    document = read_document(folder)
    config, _ = _training_config(document, folder)
    return media_settings(document["media"], config, folder / BUNDLE_FILE)


def load_visual_fusion(run_dir: Path | str, config: Config) -> Fusion | None:
    """Load the fusion of scene and face alone, which lies in the run beside the bundle; None if there is none.

    Raises:
        FormatError: The file is damaged or foreign.
    """
    path = Path(run_dir) / VISUAL_FUSION_FILE
    return _fusion_from(_map_arrays(path), config, path) if path.is_file() else None


def _training_config(document: Mapping[str, Any], folder: Path) -> tuple[Config, SplitProtocol]:
    config = from_dict(Config, document["config"], folder / BUNDLE_FILE)
    try:
        return config, SplitProtocol.parse(str(document.get("protocol", OFFICIAL)))  # old bundles name none
    except UsageError as error:
        raise FormatError(error.reason, path=folder / BUNDLE_FILE) from error


def _load_fusion(config: Config, folder: Path, check_nodes: bool) -> Fusion:
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in ("fusion", "trees"):
        arrays |= _map_arrays(folder / f"{name}.safetensors")
    return _fusion_from(arrays, config, folder / "trees.safetensors", check_nodes)


def _load_calibration(folder: Path) -> Calibration:
    path = folder / CALIBRATION_FILE
    return Calibration.from_dict(read_json(path, "a calibration"), path)


def _map_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    require_file(path)
    try:
        return TensorFile(path, MAX_MAPPED_BYTES).map()
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"not a safetensors file: {error}", path=path) from error


def _fusion_from(
    arrays: Mapping[str, NDArray[np.generic]], config: Config, path: Path, check_nodes: bool = True
) -> Fusion:
    try:
        return Fusion.from_tensors(config.fusion, arrays, check_nodes=check_nodes)
    except FormatError as error:
        raise FormatError(error.reason, path=path) from error
