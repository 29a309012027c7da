"""Load a bundle. Loading runs no code from the folder, and names the file that is damaged or foreign."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file as load_weights

from crnet.bundle.bundle import Bundle
from crnet.bundle.verify import (
    BUNDLE_FILE,
    CALIBRATION_FILE,
    BundleFiles,
    file_names,
    find_bundle,
    read_document,
    require_file,
)
from crnet.config import Config, from_dict
from crnet.data.splits import OFFICIAL, SplitProtocol
from crnet.errors import FormatError, UsageError
from crnet.fusion.conformal import Calibration
from crnet.fusion.fusion import Fusion
from crnet.models.crnet import ModelConfig, StreamNet
from crnet.types import Stream
from crnet.utils.files import read_json

VISUAL_FUSION_FILE = "scene+face.safetensors"


def load_bundle(path: Path | str, files: BundleFiles | None = None) -> Bundle:
    """Load the bundle of a run.

    Args:
        path: A run folder, or the bundle in it.
        files: The files of the bundle, if their verification has already started.

    Raises:
        FormatError: Not a bundle, another format, or a damaged or missing file; the message names it.
    """
    files = files or BundleFiles(path)
    folder, document = files.folder, files.document
    config, protocol = _training_config(document, folder)
    names = file_names(config.streams, calibrated=CALIBRATION_FILE in document["files"])
    # A system of the paper's size takes a gigabyte: hashing and loading it in parallel halves the time on two cores.
    with ThreadPoolExecutor() as pool:
        net_jobs = {stream: pool.submit(_load_net, stream, config.model, folder) for stream in config.streams}
        fusion_job = pool.submit(_load_fusion, config, folder)
        files.check(names)  # report a damaged file before the errors that follow from it
        fusion = fusion_job.result()
        networks = {stream: job.result() for stream, job in net_jobs.items()}
    if set(fusion.streams) != set(config.streams):
        raise FormatError("fuses other streams than bundle.json names", path=folder / "fusion.safetensors")
    return Bundle(
        config=config,
        networks=networks,
        fusion=fusion,
        training_source=document["training_source"],
        encoder=document["encoder"],
        media=document["media"],
        train_medians=np.array(document["train_medians"], dtype=np.float64),
        calibration=_load_calibration(folder) if CALIBRATION_FILE in document["files"] else None,
        protocol=protocol,
        training_fingerprint=str(document.get("training_fingerprint", document.get("training_digest", ""))),
        path=folder,
    )


def read_training_config(path: Path | str) -> tuple[Config, SplitProtocol]:
    """Read how a system was trained from its run folder, or the bundle in it; load nothing else.

    Raises:
        FormatError: Not a bundle, another format, or a damaged one.
    """
    folder = find_bundle(path)
    return _training_config(read_document(folder), folder)


def load_visual_fusion(run_dir: Path | str, config: Config) -> Fusion | None:
    """Load the fusion of scene and face alone, which lies in the run beside the bundle; None if there is none.

    Raises:
        FormatError: The file is damaged or foreign.
    """
    path = Path(run_dir) / VISUAL_FUSION_FILE
    return _fusion_from(_read_arrays(path), config, path) if path.is_file() else None


def _training_config(document: Mapping[str, Any], folder: Path) -> tuple[Config, SplitProtocol]:
    config = from_dict(Config, document["config"], folder / BUNDLE_FILE)
    try:
        return config, SplitProtocol.parse(str(document.get("protocol", OFFICIAL)))  # old bundles name none
    except UsageError as error:
        raise FormatError(error.reason, path=folder / BUNDLE_FILE) from error


def _load_net(stream: Stream, config: ModelConfig, folder: Path) -> StreamNet:
    path = folder / f"{stream}.safetensors"
    require_file(path)
    with torch.device("meta"):  # no memory and no initial weights: the file has all of them
        net = StreamNet(stream, replace(config, init=None))
    try:
        net.load_state_dict(load_weights(path), assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise FormatError(f"its weights do not fit the configuration: {str(error)[:300]}", path=path) from error
    return net.float().eval()


def _load_fusion(config: Config, folder: Path) -> Fusion:
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in ("fusion", "trees"):
        arrays |= _read_arrays(folder / f"{name}.safetensors")
    return _fusion_from(arrays, config, folder / "trees.safetensors")


def _load_calibration(folder: Path) -> Calibration:
    path = folder / CALIBRATION_FILE
    return Calibration.from_dict(read_json(path, "a calibration"), path)


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    require_file(path)
    try:
        return load_arrays(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"not a safetensors file: {error}", path=path) from error


def _fusion_from(arrays: Mapping[str, NDArray[np.generic]], config: Config, path: Path) -> Fusion:
    try:
        return Fusion.from_tensors(config.fusion, arrays)
    except FormatError as error:
        raise FormatError(error.reason, path=path) from error
