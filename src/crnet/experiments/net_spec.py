"""Which networks an experiment needs: named by what decides them, so that equal ones are trained once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from crnet.config import Config, to_dict
from crnet.data.manifest import ClipRow, Manifest
from crnet.errors import ConfigError, CrnetError
from crnet.fusion.fusion import FusionConfig
from crnet.models.crnet import ModelConfig
from crnet.text.base import encoder_label
from crnet.training.config import TrainingConfig
from crnet.training.loop import BEST_NAME, STATE_NAME
from crnet.training.stream import decisive_fields
from crnet.types import Stream
from crnet.utils.files import write_json

KEY_DIGITS = 16
TRAINED_NAME = "trained.json"
FAILURE_NAME = "failed.txt"  # beside the network's folder: why its training came to no end
SUBSET_SEED = 0  # of the permutation whose first n clips a learning curve trains on


@dataclass(frozen=True)
class NetSpec:
    """One network to train, apart from the seed. Two specs that would train the same network are equal.

    Attributes:
        stream: Which of the three.
        config: How; what has no influence on this stream is put to a fixed value.
        train_clips: Train on the first so many of a fixed permutation of the training clips; None: on all. Of two
            numbers the larger one's clips contain the smaller one's.
    """

    stream: Stream
    config: Config
    train_clips: int | None = None

    def __post_init__(self) -> None:
        if self.train_clips is not None and self.train_clips < 1:
            raise ConfigError(f"a network cannot be trained on {self.train_clips} clips")
        config = replace(
            self.config,
            streams=(self.stream,),
            model=_decisive_model(self.stream, self.config.model),
            training=_decisive_training(self.config.training),
            fusion=FusionConfig(),
        )
        object.__setattr__(self, "config", config)

    def with_seed(self, seed: int) -> TrainingConfig:
        """The training configuration of one repetition."""
        return replace(self.config.training, seed=seed)

    @property
    def summary(self) -> str:
        """What tells it from others, in a few words: "face, cr-block, l1+mse+bell+guide"."""
        model, (first, second) = self.config.model, self.config.training.stages
        words = [self.stream, model.head, "+".join((second if second.epochs else first).terms)]
        if self.stream == "audio-text" and model.audio_text != "both":
            words.append(f"{model.audio_text} only")
        if self.stream != "audio-text":
            words.append(model.backbone if model.temporal == "mean" else f"{model.backbone} {model.temporal}")
        if model.head != "plain":
            words.append(f"{model.classes} classes")
        if self.train_clips is not None:
            words.append(f"{self.train_clips} clips")
        return ", ".join(words)

    def manifest(self, whole: Manifest) -> Manifest:
        """The clips as this network's training sees them."""
        rows = self.training_rows(whole)
        kept = {row.clip_id for row in rows}
        return replace(whole, clips=tuple(row for row in whole.clips if row.split != "train" or row.clip_id in kept))

    def training_rows(self, whole: Manifest) -> tuple[ClipRow, ...]:
        """The clips it is trained on, in the manifest's order.

        Raises:
            ConfigError: There are not so many.
        """
        rows = whole.rows("train")
        if self.train_clips is None:
            return rows
        if self.train_clips > len(rows):
            raise ConfigError(f"{self.train_clips} training clips are asked for, the store has {len(rows)}")
        order = np.random.default_rng(SUBSET_SEED).permutation(len(rows))
        return tuple(rows[i] for i in sorted(order[: self.train_clips].tolist()))

    def key(self, seed: int, data: str) -> str:
        """A short name of everything that decides the trained weights.

        Args:
            seed: Of the repetition.
            data: What `digest_of` says of the store.
        """
        config = to_dict(self.config)
        decisive = {
            "stream": self.stream,
            "model": config["model"],
            "transforms": config["transforms"],
            "training": decisive_fields(config["training"]) | {"seed": seed},
            "train_clips": self.train_clips,
            "data": data,
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:KEY_DIGITS]


def digest_of(manifest: Manifest) -> str:
    """A hash of how a store was prepared, and of all that its manifest tells of each clip.

    Not of the pictures and the sound themselves, which would mean to read them all: who replaces a video by another one
    of the same length, with the same words and as many faces, must choose another output folder.
    """
    clips = [asdict(row) for row in manifest.clips]
    document = [manifest.source, manifest.fingerprint, encoder_label(manifest.encoder), clips]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _decisive_model(stream: Stream, model: ModelConfig) -> ModelConfig:
    """The same network with every field that this stream does not look at, put to its default."""
    usual = ModelConfig()
    if model.head == "plain":
        model = replace(model, classes=usual.classes)
    if stream == "audio-text":
        return replace(model, backbone=usual.backbone, temporal=usual.temporal, init=None)
    return replace(model, audio_text=usual.audio_text)


def _decisive_training(training: TrainingConfig) -> TrainingConfig:
    """The seed is not the spec's; it is given where a network is trained."""
    return replace(training, seed=0)


class UntrainedError(CrnetError):
    """A network's training came to no end: it diverged, say. Other networks are not concerned."""


def training_log(folder: Path) -> list[dict[str, Any]]:
    """The rows of a network's `log.jsonl`, one an epoch; none if it has none yet. See `crnet.training.log`."""
    try:
        return [json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError:
        return []


def mark_trained(folder: Path, summary: str, seed: int) -> None:
    """Say that the training in this folder has come to its end, and drop its state, three times as large as a net."""
    write_json(folder / TRAINED_NAME, {"network": summary, "seed": seed})
    (folder / STATE_NAME).unlink(missing_ok=True)


def is_trained(folder: Path) -> bool:
    """True if the training in this folder has come to its end."""
    return (folder / TRAINED_NAME).is_file() and (folder / BEST_NAME).is_file()
