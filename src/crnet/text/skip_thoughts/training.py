"""Training skip-thoughts on a plain text, from scratch. Stopped at any moment, the same call goes on where it was."""

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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from crnet.errors import ConfigError, FormatError, UsageError
from crnet.text.skip_thoughts.corpus import Corpus, read_corpus
from crnet.text.skip_thoughts.model import SkipThoughtsModel, Triples
from crnet.text.skip_thoughts.trained_encoder import is_trained_encoder, write_trained_encoder
from crnet.text.skip_thoughts.weights import DIRECTIONS
from crnet.types import TEXT_DIMENSIONS
from crnet.utils.files import remove_leftovers, sha256, write_bytes, write_json, write_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder

RUN_NAME = "run.json"
LOG_NAME = "log.jsonl"
ENCODER_FOLDER = ResumableFolder("a text encoder", RUN_NAME, decisive=lambda document: document["run"])
HEADER = "crnet"
POOL_BATCHES = 50  # sentences of so many batches are sorted by length, so that little of a batch is padding

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SkipThoughtsConfig:
    """How skip-thoughts are trained.

    Attributes:
        uni: Units of the uni-skip encoder; the published one has 2,400.
        bi: Units of each of the two GRUs of the bi-skip encoder; published 1,200.
        word_dimensions: Length of the word vectors; published 620.
        words: Size of the dictionary, its two marks included; published 20,000.
        longest: Sentences of more tokens are left out, and their neighbours with them.
        epochs: Times that each of both encoders sees the text.
        batch_size: Sentences at once.
        lr: Of Adam; the paper says nothing of it.
        clip_norm: Longest gradient (Kiros et al. 2015, Sec. 3: 10).
        save_every: Steps after which the state is saved and a line logged.
        seed: Of weights and order.
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
                f"vectors of {self.uni} + 2 x {self.bi} numbers, a clip's text has {TEXT_DIMENSIONS}",
                remedy="use fewer units; a smaller encoder's vectors are filled up with zeros",
            )


@dataclass
class _Standing:
    """How far an encoder's training is: steps done, and what was logged until there."""

    step: int
    log: list[dict[str, Any]]


def train_skip_thoughts(
    text: Path,
    out: Path,
    config: SkipThoughtsConfig,
    *,
    sentence_per_line: bool = False,
    device: torch.device | None = None,
    progress: Progress = no_progress,
) -> dict[str, tuple[float, float]]:
    """Train both encoders; `skip-thoughts:OUT` then names the result.

    Args:
        text: UTF-8, running text; see `read_corpus`.
        out: The encoder's folder: a new one, or one that an equal call left unfinished or finished.
        config: Sizes and schedule.
        sentence_per_line: Line ends separate sentences.
        device: Where to compute; None: the CPU.
        progress: Told of every step.

    Returns:
        Of "uni" and "bi" the loss per word, in nats, at the beginning and at the end: the first and the last logged.

    Raises:
        ConfigError: `out` holds an encoder of another text or configuration.
        UsageError: The text is unusable, or `out` holds something else.
        StorageError: The disk is full or the folder cannot be written.
    """
    if not text.is_file():
        raise UsageError("cannot be read: no such file", path=text, remedy="give a plain text file")
    about = run_settings(config, sha256(text), sentence_per_line)
    begun = ENCODER_FOLDER.check(out, {"run": about})
    if begun and is_trained_encoder(out):
        return _ends([json.loads(line) for line in (out / LOG_NAME).read_text(encoding="utf-8").splitlines()])
    corpus = read_corpus(text, config.words, sentence_per_line)
    triples = corpus.triples(config.longest)
    if not len(triples):
        raise UsageError(
            f"has no three sentences in a row of at most {config.longest} words",
            path=text,
            remedy="allow longer ones, or give running text with full stops",
        )
    if not begun:
        made_with = versions() | {"git": git_revision()}
        sizes = {"words": len(corpus.words), "sentences": len(corpus.starts) - 1}
        write_json(out / RUN_NAME, {"run": about, **sizes, "made_with": made_with})
    remove_leftovers(out)
    tensors: dict[str, dict[str, Tensor]] = {}
    log: list[dict[str, Any]] = []
    for part in DIRECTIONS:
        net, standing = _train_part(part, corpus, triples, out, config, device or torch.device("cpu"), progress)
        tensors[part] = net.encoder_tensors()
        log += standing.log
    write_text(out / LOG_NAME, "".join(json.dumps(row) + "\n" for row in log))
    write_trained_encoder(out, corpus.words, tensors)
    for part in DIRECTIONS:
        _state_path(out, part).unlink(missing_ok=True)
    return _ends(log)


def run_settings(config: SkipThoughtsConfig, text_sha256: str, sentence_per_line: bool) -> dict[str, Any]:
    """Return everything that decides the trained encoder, as `run.json` records it."""
    return {"config": asdict(config), "text_sha256": text_sha256, "a_sentence_a_line": sentence_per_line}


def _ends(log: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    losses = {part: [row["loss"] for row in log if row["part"] == part] for part in DIRECTIONS}
    return {part: (values[0], values[-1]) for part, values in losses.items()}


def _state_path(out: Path, part: str) -> Path:
    return out / f"state-{part}.safetensors"


def _train_part(
    part: str,
    corpus: Corpus,
    triples: np.ndarray[Any, Any],
    out: Path,
    config: SkipThoughtsConfig,
    device: torch.device,
    progress: Progress,
) -> tuple[SkipThoughtsModel, _Standing]:
    units = config.uni if part == "uni" else config.bi
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        net = SkipThoughtsModel(part, len(corpus.words), config.word_dimensions, units).to(device)
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=config.lr)
    state_path = _state_path(out, part)
    standing = _load_state(state_path, net, optimizer) if state_path.is_file() else _Standing(0, [])
    in_epoch = math.ceil(len(triples) / config.batch_size)
    total = in_epoch * config.epochs
    task = f"training {part}-skip"
    progress(task, standing.step, total)
    losses: list[float] = []
    while standing.step < total:
        epoch, first = divmod(standing.step, in_epoch)
        for batch in _batches(corpus, triples, config, epoch, first):
            losses.append(_step(net, optimizer, batch.to(device), config.clip_norm))
            standing.step += 1
            if standing.step % config.save_every == 0 or standing.step % in_epoch == 0:
                row = {"part": part, "epoch": epoch + 1, "step": standing.step, "loss": sum(losses) / len(losses)}
                standing.log.append(row)
                losses = []
                _save_state(state_path, net, optimizer, standing)
            loss = standing.log[-1]["loss"] if standing.log else losses[-1]
            progress(task, standing.step, total, f"epoch {epoch + 1} of {config.epochs}, loss {loss:.3f}")
    _log.info("%s-skip: %.3f nats a word in the end", part, standing.log[-1]["loss"])
    return net.eval(), standing


def _step(net: SkipThoughtsModel, optimizer: torch.optim.Optimizer, batch: Triples, clip_norm: float) -> float:
    optimizer.zero_grad()
    loss = net(batch)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
    optimizer.step()
    value = float(loss.detach())
    if not math.isfinite(value):
        raise ConfigError("the loss is no number any more", remedy="use a smaller --lr, in a new folder")
    return value


def _batches(
    corpus: Corpus, triples: np.ndarray[Any, Any], config: SkipThoughtsConfig, epoch: int, first: int
) -> Iterator[Triples]:
    """The batches of an epoch from number `first` on; their order follows from seed and epoch alone."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(triples)
    lengths = np.diff(corpus.starts)
    size = config.batch_size
    pools = [order[i : i + POOL_BATCHES * size] for i in range(0, len(order), POOL_BATCHES * size)]
    by_length = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    batches = [by_length[i : i + size] for i in range(0, len(by_length), size)]
    for number in rng.permutation(len(batches))[first:]:
        around = [[_words(corpus, middle + shift) for middle in batches[number]] for shift in (0, -1, 1)]
        yield Triples.pad(*around)


def _words(corpus: Corpus, number: int) -> Tensor:
    return torch.from_numpy(corpus.sentence(number).astype(np.int64))


def _save_state(path: Path, net: SkipThoughtsModel, optimizer: torch.optim.Optimizer, standing: _Standing) -> None:
    tensors = {f"model.{name}": tensor.contiguous() for name, tensor in net.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value.contiguous() for name, value in values.items()}
    # One entry only: safetensors writes several in random order.
    write_bytes(path, save(tensors, {HEADER: json.dumps(asdict(standing))}))


def _load_state(path: Path, net: SkipThoughtsModel, optimizer: torch.optim.Optimizer) -> _Standing:
    try:
        with safe_open(path, framework="pt") as file:
            standing = _Standing(**json.loads(file.metadata()[HEADER]))
        tensors = load_file(path)
        net.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model.")})
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith("optimizer."):
                _, index, value = name.split(".")
                state.setdefault(int(index), {})[value] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise FormatError(
            f"damaged, or the state of another training: {str(error)[:200]}",
            path=path,
            remedy="delete it to train anew",
        ) from error
    return standing
