"""A trained system as one folder: `bundle.json` and safetensors files, each named there with its SHA-256.

Loading executes nothing from the folder, and refuses a damaged or foreign file by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file as load_weights
from safetensors.torch import save as weights_to_bytes
from torch import Tensor
from torch.nn import init
from torch.overrides import TorchFunctionMode

from crnet.bundle.verify import (
    BUNDLE_FILE,
    CALIBRATION_FILE,
    FORMAT,
    KIND,
    BundleFiles,
    checked_document,
    document_sha256,
    file_names,
    find_bundle,
)
from crnet.config import Config, from_dict, to_dict
from crnet.data.splits import OFFICIAL, SplitProtocol
from crnet.errors import FormatError, UsageError
from crnet.fusion.conformal import Calibration
from crnet.fusion.fusion import Fusion
from crnet.models.crnet import StreamNet
from crnet.types import TARGETS, Stream, TrainingSource
from crnet.utils.files import read_json, sha256, write_arrays, write_bytes, write_json
from crnet.utils.provenance import git_revision, versions

TREES_PREFIX = "forest."
VISUAL: tuple[Stream, ...] = ("scene", "face")
VISUAL_FUSION_FILE = "scene+face.safetensors"


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that prediction needs.

    Attributes:
        config: How the system was made.
        nets: The network of each stream, in evaluation mode, on the CPU.
        fusion: Standardisation and trees.
        training_source: What it was trained on.
        encoder: Name of the text encoder.
        media: The settings (`MediaSettings`) that the training clips were prepared with.
        train_medians: float64 [6]; predicting them for everyone is the floor.
        calibration: What the intervals are made of; None (too few validation clips): no intervals.
        protocol: How the clips were dealt to splits: which of them it may be tested on.
        training_fingerprint: Fingerprint of the training and validation clips, see `crnet.data.splits`; "" in bundles
            of the first version, which did not record it.
        path: Where it was loaded from.
    """

    config: Config
    nets: Mapping[Stream, StreamNet]
    fusion: Fusion
    training_source: TrainingSource
    encoder: str
    media: Mapping[str, Any]
    train_medians: NDArray[np.float64]
    calibration: Calibration | None = None
    protocol: SplitProtocol = OFFICIAL
    training_fingerprint: str = ""
    path: Path | None = None

    def applies_to(self, simulated: bool) -> bool:
        """Return whether scores mean anything for such clips: a model of synthetic people cannot score real ones."""
        return simulated or self.training_source != "simulated"


def save_bundle(bundle: Bundle, folder: Path) -> None:
    """Write a bundle; `bundle.json` comes last, so that a half-written folder is never taken for whole."""
    files: dict[str, str] = {}
    (folder / BUNDLE_FILE).unlink(missing_ok=True)
    for stream, net in bundle.nets.items():
        weights = {name: tensor.contiguous() for name, tensor in net.state_dict().items()}
        write_bytes(folder / f"{stream}.safetensors", weights_to_bytes(weights))
    tensors = bundle.fusion.to_tensors()
    trees = {name: array for name, array in tensors.items() if name.startswith(TREES_PREFIX)}
    for name, arrays in (("trees", trees), ("fusion", {k: v for k, v in tensors.items() if k not in trees})):
        write_arrays(folder / f"{name}.safetensors", arrays)
    if bundle.calibration is not None:
        write_json(folder / CALIBRATION_FILE, bundle.calibration.to_dict())
    for name in file_names(tuple(bundle.nets), bundle.calibration is not None):
        files[name] = sha256(folder / name)
    document = {
        "format": FORMAT,
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
        "files": files,
    }
    write_json(folder / BUNDLE_FILE, {**document, "sha256": document_sha256(document)})


def load_bundle(path: Path, files: BundleFiles | None = None) -> Bundle:
    """Load a run's bundle.

    Args:
        path: A run folder or the bundle in it.
        files: Its files, if they are being checked already.

    Raises:
        FormatError: Not a bundle, another format, a damaged or missing file; the message names it.
    """
    files = files or BundleFiles(path)
    folder, document = files.folder, files.document
    config, protocol = _training_of(document, folder)
    names = file_names(config.streams, CALIBRATION_FILE in document["files"])
    # A system of the paper's size is a gigabyte: hashed and loaded on two cores at once, it is there in half the time.
    with ThreadPoolExecutor() as pool:
        loading = {stream: pool.submit(_load_net, stream, config, folder) for stream in config.streams}
        fusing = pool.submit(_load_fusion, config, folder)
        files.check(names)  # a damaged file is told before whatever follows from it
        fusion = fusing.result()
        nets = {stream: net.result() for stream, net in loading.items()}
    if set(fusion.streams) != set(config.streams):
        raise FormatError("fuses other streams than bundle.json names", path=folder / "fusion.safetensors")
    calibration = None
    if CALIBRATION_FILE in document["files"]:
        path = folder / CALIBRATION_FILE
        calibration = Calibration.from_dict(read_json(path, "a calibration"), path)
    return Bundle(
        config=config,
        nets=nets,
        fusion=fusion,
        training_source=document["training_source"],
        encoder=document["encoder"],
        media=document["media"],
        train_medians=np.array(document["train_medians"], dtype=np.float64),
        calibration=calibration,
        protocol=protocol,
        training_fingerprint=str(document.get("training_fingerprint", document.get("training_digest", ""))),
        path=folder,
    )


def training_of(path: Path) -> tuple[Config, SplitProtocol]:
    """How the system of a run folder, or of the bundle in it, was trained; loads nothing else.

    Raises:
        FormatError: Not a bundle, another format, or a damaged one.
    """
    folder = find_bundle(path)
    return _training_of(checked_document(folder), folder)


def _training_of(document: Mapping[str, Any], folder: Path) -> tuple[Config, SplitProtocol]:
    config = from_dict(Config, document["config"], folder / BUNDLE_FILE)
    try:
        return config, SplitProtocol.parse(str(document.get("protocol", OFFICIAL)))  # old bundles name none
    except UsageError as error:
        raise FormatError(error.reason, path=folder / BUNDLE_FILE) from error


def load_visual_fusion(run_dir: Path, config: Config) -> Fusion | None:
    """The fusion of scene and face alone, which lies in the run beside the bundle; None if there is none."""
    path = run_dir / VISUAL_FUSION_FILE
    return fusion_from(read_arrays(path), config, path) if path.is_file() else None


def read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of a safetensors file.

    Raises:
        FormatError: Missing, or another kind of file.
    """
    try:
        return load_arrays(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"not a safetensors file: {error}", path=path) from error


def fusion_from(tensors: Mapping[str, NDArray[np.generic]], config: Config, path: Path) -> Fusion:
    """A fusion from its arrays; an error names `path`."""
    try:
        return Fusion.from_tensors(config.fusion, tensors)
    except FormatError as error:
        raise FormatError(error.reason, path=path) from error


def _load_fusion(config: Config, folder: Path) -> Fusion:
    tensors: dict[str, NDArray[np.generic]] = {}
    for name in ("fusion", "trees"):
        tensors |= read_arrays(folder / f"{name}.safetensors")
    return fusion_from(tensors, config, folder / "trees.safetensors")


def _load_net(stream: Stream, config: Config, folder: Path) -> StreamNet:
    path = folder / f"{stream}.safetensors"
    with _NothingDrawn():
        net = StreamNet(stream, replace(config.model, init=None))
    try:
        net.load_state_dict(load_weights(path), assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise FormatError(f"its weights do not fit the configuration: {str(error)[:300]}", path=path) from error
    return net.float().eval()


_DRAWING = {Tensor.normal_, Tensor.uniform_, init.normal_, init.uniform_, init.kaiming_uniform_}
"""Some of `torch.nn.init` can be met here by what they call only, others only as themselves."""


class _NothingDrawn(TorchFunctionMode):
    """Leaves new weights as they are in memory: drawing those of the paper's networks takes 0.5 CPU seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))
