"""Training states and weights as safetensors files with a JSON header. Loading them runs no code."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from crnet.errors import FormatError
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.training.old_names import with_current_names
from crnet.types import Stream
from crnet.utils.files import parse_json, write_bytes
from crnet.utils.resumable import content_fingerprint, fingerprint

FORMAT = 1
HEADER = "crnet"  # a single metadata entry, because safetensors writes several in random order
WEIGHTS = "model."
OPTIMIZER = "optimizer."

Kind = Literal["training state", "weights"]


@dataclass
class Best:
    """The best network so far.

    Attributes:
        stage, epoch: The epoch that it is from, both counted from 1.
        score: Selection score, higher is better. None if networks are not compared and the last one is kept.
    """

    stage: int
    epoch: int
    score: float | None


@dataclass
class TrainState:
    """Progress of a stream's training.

    Attributes:
        stage: Current stage, or the last one finished, from 1.
        epoch: Finished epochs of that stage.
        best: The best network so far; None before there is one.
        log: Rows of `log.jsonl` up to this point, so that a resumed run neither repeats nor loses any.
        finished: True after the last epoch of the last stage.
    """

    stage: int = 1
    epoch: int = 0
    best: Best | None = None
    log: list[dict[str, Any]] = field(default_factory=list)
    finished: bool = False


def save_state(path: Path, state: TrainState, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write, atomically, everything that is needed to resume training.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    tensors = {WEIGHTS + name: tensor for name, tensor in net.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"{OPTIMIZER}{index}.{name}": value for name, value in values.items() if value is not None}
    _write(path, tensors, "training state", asdict(state))


def read_state(path: Path) -> TrainState:
    """Read the progress of a training from its state file. Only the header is read.

    Raises:
        FormatError: The file is missing, damaged, of another kind or of another format version.
    """
    return _train_state(_read_header(path, "training state"), path)


def load_state(path: Path, net: nn.Module) -> tuple[TrainState, dict[str, Tensor]]:
    """Load the weights of a training state into `net`.

    Returns:
        The progress of the training, and the tensors of the optimizer for `restore_optimizer`.

    Raises:
        FormatError: The file is missing, damaged, of another kind, of another format version or of another network.
    """
    state = read_state(path)
    tensors = _read_tensors(path)
    _load_into(net, {name.removeprefix(WEIGHTS): t for name, t in tensors.items() if name.startswith(WEIGHTS)}, path)
    return state, {name.removeprefix(OPTIMIZER): t for name, t in tensors.items() if name.startswith(OPTIMIZER)}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Restore the optimizer state saved by `save_state` into an optimizer of the same kind and parameters.

    Raises:
        FormatError: The state does not fit. The error names `path`.
    """
    groups = optimizer.state_dict()["param_groups"]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, value_name = name.partition(".")
        is_parameter = index.isdecimal() and int(index) < len(parameters)
        if not is_parameter or (tensor.ndim and tensor.shape != parameters[int(index)].shape):
            raise FormatError(f"{OPTIMIZER}{name} belongs to another network", path=path, remedy=_START_AGAIN)
        state.setdefault(int(index), {})[value_name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def save_weights(path: Path, net: nn.Module, about: Mapping[str, Any]) -> None:
    """Write a network's weights atomically. Equal weights and `about` give equal bytes.

    Args:
        path: The file.
        net: The network.
        about: Description of the weights, JSON values.

    Raises:
        StorageError: The disk is full or the folder cannot be written.
    """
    _write(path, net.state_dict(), "weights", dict(about))


def read_about(path: Path) -> dict[str, Any]:
    """Read the description that `save_weights` stored with the weights.

    Raises:
        FormatError: The file is missing, damaged, of another kind or of another format version.
    """
    return _read_header(path, "weights")


def load_net(path: Path, stream: Stream, model: ModelConfig) -> StreamNet:
    """Load a trained network on the CPU, in evaluation mode.

    Raises:
        FormatError: The file is missing, damaged, of another kind, of another format version, of another stream or of
            another shape than `model`.
    """
    if (stored := _read_header(path, "weights").get("stream", stream)) != stream:
        raise FormatError(f"holds the weights of the stream {stored}, not {stream}", path=path, remedy=_START_AGAIN)
    net = StreamNet(stream, model)
    _load_into(net, _read_tensors(path), path)
    return net.eval()


_START_AGAIN = "delete the folder that holds it; the same command then trains this stream from the start"


def _write(path: Path, tensors: Mapping[str, Tensor], kind: Kind, about: Mapping[str, Any]) -> None:
    contiguous = {name: tensor.detach().to("cpu", copy=False).contiguous() for name, tensor in tensors.items()}
    header = {
        "kind": kind,
        "format": FORMAT,
        "about": about,
        "about_sha256": fingerprint(about),
        "sha256": _sha256(contiguous),
    }
    metadata = {HEADER: json.dumps(header, sort_keys=True, allow_nan=False)}
    write_bytes(path, save(contiguous, metadata=metadata))


def _sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and contents."""

    def parts() -> Iterator[bytes | memoryview]:
        for name, tensor in sorted(tensors.items()):
            yield f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode()
            yield tensor.reshape(-1).view(torch.uint8).numpy().data

    return content_fingerprint(parts())


def _read_header(path: Path, kind: Kind) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            header = parse_json((file.metadata() or {})[HEADER])
            stored_kind, version, about, _ = header["kind"], header["format"], header["about"], header["sha256"]
            about_sha256 = header.get("about_sha256")  # older files have none
    except FileNotFoundError as error:
        raise FormatError(f"not found, so there is no {kind}", path=path, remedy=_START_AGAIN) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"not a {kind} file, or damaged: {error}", path=path, remedy=_START_AGAIN) from error
    if stored_kind != kind or not isinstance(about, dict):
        raise FormatError(f"holds a {stored_kind}, not a {kind}", path=path)
    if version != FORMAT:
        raise FormatError(
            f"holds a {kind} of format {version}, but this version of crnet reads format {FORMAT}",
            path=path,
            remedy="use the version that wrote it",
        )
    if about_sha256 is not None and about_sha256 != fingerprint(about):
        raise FormatError("damaged: its header does not match its hash", path=path, remedy=_START_AGAIN)
    return about


def _train_state(about: Mapping[str, Any], path: Path) -> TrainState:
    try:
        values = {f.name: about[f.name] for f in fields(TrainState)}
        if values["best"] is not None:
            values["best"] = Best(**values["best"])
        values["log"] = with_current_names(values["log"])
        return TrainState(**values)
    except (KeyError, TypeError) as error:
        raise FormatError(f"damaged: its header lacks {error}", path=path, remedy=_START_AGAIN) from error


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
            expected = parse_json(file.metadata()[HEADER])["sha256"]
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"damaged: {error}", path=path, remedy=_START_AGAIN) from error
    if _sha256(tensors) != expected:
        raise FormatError("damaged: its tensors do not match their hash", path=path, remedy=_START_AGAIN)
    return tensors


def _load_into(net: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    own, tensors = net.state_dict(), with_current_tensors(tensors)
    for name in sorted(own.keys() | tensors.keys()):
        expected = list(own[name].shape) if name in own else "no such tensor"
        stored = list(tensors[name].shape) if name in tensors else "missing"
        if expected != stored:
            raise FormatError(f"holds another network: {name} is {stored}, expected {expected}", path=path)
    net.load_state_dict(tensors)


def with_current_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a network, with those that an earlier version lacked.

    Beside a text regression, earlier networks were trained to be added to it: both have the weight 1.
    """
    added: dict[str, Tensor] = {}
    if "text_regression.weight" in tensors and "text_regression.weights" not in tensors:
        targets = len(tensors["text_regression.weight"])
        added = {"text_regression.weights": torch.ones(2), "text_regression.score_mean": torch.zeros(targets)}
    return {**tensors, **added}
