"""Train skip-thoughts on a plain text from scratch. The same call resumes a stopped training."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from crnet.errors import ConfigError, FormatError, UsageError
from crnet.text.skip_thoughts.corpus import Corpus, read_corpus
from crnet.text.skip_thoughts.model import SkipThoughtsModel, Triples
from crnet.text.skip_thoughts.trained_encoder import is_trained_encoder, write_trained_encoder
from crnet.text.skip_thoughts.weights import DIRECTIONS
from crnet.types import TEXT_DIMENSIONS
from crnet.utils.files import parse_json, remove_leftovers, sha256, write_bytes, write_json, write_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder

RUN_NAME = "run.json"
LOG_NAME = "log.jsonl"
ENCODER_FOLDER = ResumableFolder("a text encoder", RUN_NAME, result_settings=lambda document: document["run"])
STATE_ENTRY = "crnet"  # metadata entry of a state file
_TRAIN_AGAIN = "delete it to train again from the beginning"
POOL_BATCHES = 50  # batches whose sentences are sorted by length together, to keep padding short

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkipThoughtsConfig:
    """Sizes and schedule of a training.

    Attributes:
        uni: Units of the uni-skip encoder; the published one has 2,400.
        bi: Units of each of the two GRUs of the bi-skip encoder; published: 1,200.
        word_dimensions: Length of the word vectors; published: 620.
        words: Size of the dictionary, including the entries for unknown words and the end of a sentence; published:
            20,000.
        longest: Skip sentences longer than this many tokens, and their neighbours.
        epochs: Number of epochs for each of the two encoders.
        batch_size: Sentences per batch.
        lr: Learning rate of Adam; Kiros et al. do not give theirs.
        clip_norm: Largest norm of a gradient (Kiros et al. 2015, Sec. 3: 10).
        save_every: Steps between two saved states and log lines.
        seed: Random seed of the weights and the order of sentences.
    """

    uni: int = 2400
    bi: int = 1200
    word_dimensions: int = 620
    words: int = 20_000
    longest: int = 30
    epochs: int = 5
    batch_size: int = 128
    lr: float = 0.0005
    clip_norm: float = 10.0
    save_every: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name != "seed" and not value > 0:
                raise ConfigError(f"{name} is {value}", remedy="use a number above 0")
        if self.uni + 2 * self.bi > TEXT_DIMENSIONS:
            raise ConfigError(
                f"vectors of {self.uni} + 2 x {self.bi} numbers, but a clip's text holds at most {TEXT_DIMENSIONS}",
                remedy="use fewer units; the vectors of a smaller encoder are zero-padded",
            )


@dataclass
class _TrainState:
    """Progress of one encoder's training: the steps done, and the rows logged until then."""

    step: int
    log: list[dict[str, Any]]


def train_skip_thoughts(
    text: str | Path,
    out: str | Path,
    config: SkipThoughtsConfig,
    *,
    sentence_per_line: bool = False,
    device: torch.device | None = None,
    progress: Progress = no_progress,
) -> dict[str, tuple[float, float]]:
    """Train both encoders; the name of the result is `skip-thoughts:OUT`.

    Args:
        text: UTF-8 file of running text; see `read_corpus`.
        out: The encoder's folder: new, or left by an equal call, unfinished or finished.
        config: Sizes and schedule.
        sentence_per_line: Line ends separate sentences.
        device: Device to compute on; None is the CPU.
        progress: Called after each step.

    Returns:
        For "uni" and "bi" the loss per word in nats, first and last logged value.

    Raises:
        ConfigError: `out` holds an encoder of another text or configuration.
        UsageError: The text is unusable, or `out` holds something else.
        StorageError: The disk is full or the folder cannot be written.
    """
    text, out = Path(text), Path(out)
    if not text.is_file():
        raise UsageError("cannot be read: no such file", path=text, remedy="give a plain text file")
    settings = run_settings(config, sha256(text), sentence_per_line)
    has_begun = ENCODER_FOLDER.check(out, {"run": settings})
    if has_begun and is_trained_encoder(out):
        return _first_and_last_losses(_read_log(out))
    corpus, triples = _read_text(text, config, sentence_per_line)
    if not has_begun:
        sizes = {"words": len(corpus.words), "sentences": len(corpus.starts) - 1}
        environment = versions() | {"git": git_revision()}
        write_json(out / RUN_NAME, {"run": settings, **sizes, "made_with": environment})
    remove_leftovers(out)
    log = _train_parts(corpus, triples, out, config, device or torch.device("cpu"), progress)
    return _first_and_last_losses(log)


def run_settings(config: SkipThoughtsConfig, text_sha256: str, sentence_per_line: bool) -> dict[str, Any]:
    """Return everything that decides the trained encoder, as `run.json` records it."""
    return {"config": asdict(config), "text_sha256": text_sha256, "a_sentence_a_line": sentence_per_line}


def _read_text(text: Path, config: SkipThoughtsConfig, sentence_per_line: bool) -> tuple[Corpus, NDArray[np.int64]]:
    """Read the text; return it with the numbers of the sentences to train on.

    Raises:
        UsageError: The text is unusable.
    """
    corpus = read_corpus(text, config.words, sentence_per_line)
    triples = corpus.triples(config.longest)
    if not len(triples):
        raise UsageError(
            f"has no three sentences in a row of at most {config.longest} words",
            path=text,
            remedy="allow longer sentences, or give running text with full stops",
        )
    return corpus, triples


def _read_log(out: Path) -> list[dict[str, Any]]:
    path = out / LOG_NAME
    try:
        return [parse_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise FormatError(f"not the log of a training: {error}", path=path, remedy=_TRAIN_AGAIN) from error


def _first_and_last_losses(log: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    losses = {part: [row["loss"] for row in log if row["part"] == part] for part in DIRECTIONS}
    return {part: (values[0], values[-1]) for part, values in losses.items()}


def _state_path(out: Path, part: str) -> Path:
    return out / f"state-{part}.safetensors"


def _train_parts(
    corpus: Corpus,
    triples: NDArray[np.int64],
    out: Path,
    config: SkipThoughtsConfig,
    device: torch.device,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train both encoders, write log and encoder, and return the log."""
    tensors: dict[str, dict[str, Tensor]] = {}
    log: list[dict[str, Any]] = []
    for part in DIRECTIONS:
        model, part_log = _train_part(part, corpus, triples, out, config, device, progress)
        tensors[part] = model.encoder_tensors()
        log += part_log
    write_text(out / LOG_NAME, "".join(json.dumps(row) + "\n" for row in log))
    write_trained_encoder(out, corpus.words, tensors)
    for part in DIRECTIONS:
        _state_path(out, part).unlink(missing_ok=True)
    return log


def _train_part(
    part: str,
    corpus: Corpus,
    triples: NDArray[np.int64],
    out: Path,
    config: SkipThoughtsConfig,
    device: torch.device,
    progress: Progress,
) -> tuple[SkipThoughtsModel, list[dict[str, Any]]]:
    """Train one of the two encoders from its saved state, if any; return the model and its log."""
    model = _new_model(part, len(corpus.words), config).to(device)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.lr)
    state_path = _state_path(out, part)
    state = _load_state(state_path, model, optimizer) if state_path.is_file() else _TrainState(0, [])
    epoch_steps = math.ceil(len(triples) / config.batch_size)
    total = epoch_steps * config.epochs
    task = f"training {part}-skip"
    progress(task, state.step, total)
    losses: list[float] = []
    while state.step < total:
        epoch, first = divmod(state.step, epoch_steps)
        for batch in _batches(corpus, triples, config, epoch, first):
            losses.append(_train_step(model, optimizer, batch.to(device), config.clip_norm))
            state.step += 1
            if state.step % config.save_every == 0 or state.step % epoch_steps == 0:
                row = {"part": part, "epoch": epoch + 1, "step": state.step, "loss": sum(losses) / len(losses)}
                state.log.append(row)
                losses = []
                _save_state(state_path, model, optimizer, state)
            loss = state.log[-1]["loss"] if state.log else losses[-1]
            progress(task, state.step, total, f"epoch {epoch + 1} of {config.epochs}, loss {loss:.3f}")
    _log.info("%s-skip: final loss %.3f nats per word", part, state.log[-1]["loss"])
    return model.eval(), state.log


def _new_model(part: str, words: int, config: SkipThoughtsConfig) -> SkipThoughtsModel:
    """Return the untrained network of "uni" or "bi"; its weights follow from the seed alone."""
    units = config.uni if part == "uni" else config.bi
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return SkipThoughtsModel(part, words, config.word_dimensions, units)


def _train_step(model: SkipThoughtsModel, optimizer: torch.optim.Optimizer, batch: Triples, clip_norm: float) -> float:
    optimizer.zero_grad()
    loss = model(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError(f"the training diverged: the loss is {value}", remedy="use a smaller --lr, in a new folder")
    return value


def _batches(
    corpus: Corpus, triples: NDArray[np.int64], config: SkipThoughtsConfig, epoch: int, first: int
) -> Iterator[Triples]:
    """Yield the batches of an epoch from number `first` on; seed and epoch alone decide their order."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(triples)
    lengths = np.diff(corpus.starts)
    size = config.batch_size
    pools = [order[i : i + POOL_BATCHES * size] for i in range(0, len(order), POOL_BATCHES * size)]
    by_length = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [by_length[i : i + size] for i in range(0, len(by_length), size)]
    for number in rng.permutation(len(batches))[first:]:
        middle, before, after = ([_sentence(corpus, row + shift) for row in batches[number]] for shift in (0, -1, 1))
        yield Triples.pad(middle, before, after)


def _sentence(corpus: Corpus, number: int) -> Tensor:
    return torch.from_numpy(corpus.sentence(number).astype(np.int64))


def _save_state(path: Path, model: SkipThoughtsModel, optimizer: torch.optim.Optimizer, state: _TrainState) -> None:
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in model.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in values.items()}
    # A single entry, because safetensors writes several entries in random order.
    write_bytes(path, save(tensors, {STATE_ENTRY: json.dumps(asdict(state))}))


def _load_state(path: Path, model: SkipThoughtsModel, optimizer: torch.optim.Optimizer) -> _TrainState:
    """Restore the model and the optimizer from a file of `_save_state`; return the progress.

    Raises:
        FormatError: The file is damaged or belongs to another training.
    """
    try:
        with safe_open(path, framework="pt") as file:
            state = _TrainState(**parse_json(file.metadata()[STATE_ENTRY]))
        tensors = load_file(path)
        model.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
        optimizer_state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, value = name.split(".")
                optimizer_state.setdefault(int(index), {})[value] = tensor
        optimizer.load_state_dict({"state": optimizer_state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"damaged, or the state of another training: {str(error)[:200]}",
            path=path,
            remedy=_TRAIN_AGAIN,
        ) from error
    return state
