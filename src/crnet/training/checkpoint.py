"""A stream's training state and weights as safetensors with JSON in the header: nothing in them can run code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from crnet.errors import FormatError
from crnet.models.crnet import ModelConfig, StreamNet
from crnet.types import Stream
from crnet.utils.files import write_bytes

FORMAT = 1
HEADER = "crnet"  # one metadata entry only: safetensors writes several in random order
WEIGHTS = "model."
OPTIMIZER = "optimizer."

Kind = Literal["training state", "weights"]


@dataclass
class Best:
    """The best network so far. `score` is what was compared, higher is better; None: the last one was taken."""

    stage: int
    epoch: int
    score: float | None


@dataclass
class Standing:
    """How far a stream's training is.

    Attributes:
        stage: Stage in progress or finished last, from 1.
        epoch: Epochs finished in it.
        best: The best network so far, None before there is one.
        log: The rows of `log.jsonl` up to here, so that a resumed run repeats or loses none.
        finished: True after the last epoch of the last stage.
    """

    stage: int = 1
    epoch: int = 0
    best: Best | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


def save_state(path: Path, standing: Standing, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write everything that training needs to go on from here, in one step.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    tensors = {WEIGHTS + name: tensor for name, tensor in net.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in values.items() if value is not None}
    _write(path, tensors, "training state", asdict(standing))


def read_standing(path: Path) -> Standing:
    """How far the training is whose state lies at `path`; reads the header only.

    Raises:
        FormatError: Missing, damaged, foreign, or of another format version.
    """
    return _standing(_header(path, "training state"), path)


def load_state(path: Path, net: nn.Module) -> tuple[Standing, dict[str, Tensor]]:
    """Put the weights of a training state into `net`.

    Returns:
        How far training is, and the optimizer's tensors for `restore_optimizer`.

    Raises:
        FormatError: Missing, damaged, foreign, of another format version, or of another network.
    """
    standing = read_standing(path)
    tensors = _read(path)
    _load_into(net, {name.removeprefix(WEIGHTS): t for name, t in tensors.items() if name.startswith(WEIGHTS)}, path)
    return standing, {name.removeprefix(OPTIMIZER): t for name, t in tensors.items() if name.startswith(OPTIMIZER)}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Put back what `save_state` kept of an optimizer of the same kind and parameters.

    Raises:
        FormatError: It does not fit; names `path`.
    """
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, value = name.partition(".")
        known = index.isdecimal() and int(index) < len(parameters)
        if not known or (tensor.ndim and tensor.shape != parameters[int(index)].shape):
            raise FormatError(f"{OPTIMIZER}{name} belongs to another network", path=path, remedy=_START_AGAIN)
        state.setdefault(int(index), {})[value] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save_weights(path: Path, net: nn.Module, about: Mapping[str, Any]) -> None:
    """Write a network's weights in one step; equal weights and `about` give equal bytes.

    Args:
        path: The file.
        net: The network.
        about: What a reader should know of them, JSON values.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    _write(path, net.state_dict(), "weights", dict(about))


def read_about(path: Path) -> dict[str, Any]:
    """What `save_weights` was told about the weights at `path`.

    Raises:
        FormatError: Missing, damaged, foreign, or of another format version.
    """
    return _header(path, "weights")


def load_net(path: Path, stream: Stream, model: ModelConfig) -> StreamNet:
    """The trained network whose weights lie at `path`, on the CPU, ready to predict.

    Raises:
        FormatError: Missing, damaged, foreign, of another format version, or of another shape than `model`.
    """
    if (of := _header(path, "weights").get("stream", stream)) != stream:
        raise FormatError(f"holds the weights of the stream {of}, not {stream}", path=path, remedy=_START_AGAIN)
    net = StreamNet(stream, model)
    _load_into(net, _read(path), path)
    return net.eval()


_START_AGAIN = "delete the folder it is in; the same command then trains this stream from the start"


def _write(path: Path, tensors: Mapping[str, Tensor], kind: Kind, about: Mapping[str, Any]) -> None:
    whole = {name: tensor.detach().to("cpu", copy=False).contiguous() for name, tensor in tensors.items()}
    header = {"kind": kind, "format": FORMAT, "about": about, "sha256": _digest(whole)}
    metadata = {HEADER: json.dumps(header, sort_keys=True, allow_nan=False)}
    write_bytes(path, save(whole, metadata=metadata))


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """Of names, types, shapes and contents."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _header(path: Path, kind: Kind) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            found, version, about, _ = header["kind"], header["format"], header["about"], header["sha256"]
    except FileNotFoundError as error:
        raise FormatError(f"not found, so there is no {kind}", path=path, remedy=_START_AGAIN) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"not a {kind} file, or damaged: {error}", path=path, remedy=_START_AGAIN) from error
    if found != kind or not isinstance(about, dict):
        raise FormatError(f"holds a {found}, not a {kind}", path=path)
    if version != FORMAT:
        raise FormatError(
            f"a {kind} of format {version}, this version of crnet reads format {FORMAT}",
            path=path,
            remedy="use the version that wrote it",
        )
    return about


def _standing(about: Mapping[str, Any], path: Path) -> Standing:
    try:
        values = {f.name: about[f.name] for f in fields(Standing)}
        if values["best"] is not None:
            values["best"] = Best(**values["best"])
        return Standing(**values)
    except (KeyError, TypeError) as error:
        raise FormatError(f"damaged: its header lacks {error}", path=path, remedy=_START_AGAIN) from error


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            expected = json.loads(file.metadata()[HEADER])["sha256"]
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"damaged: {error}", path=path, remedy=_START_AGAIN) from error
    if _digest(tensors) != expected:
        raise FormatError("damaged: its tensors are not those that were written", path=path, remedy=_START_AGAIN)
    return tensors


def _load_into(net: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own = net.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        expected = list(own[name].shape) if name in own else "nothing of that name"
        found = list(tensors[name].shape) if name in tensors else "nothing"
        if expected != found:
            raise FormatError(f"holds another network: {name} is {found}, expected {expected}", path=path)
    net.load_state_dict(dict(tensors))
