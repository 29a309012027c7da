"""Networks that an experiment needs. The settings that decide the weights name a network, so equal ones train once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from crnet.config import Config, to_dict
from crnet.data.manifest import ClipRow, Manifest
from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, CrnetError
from crnet.fusion.fusion import FusionConfig
from crnet.models.config import ModelConfig
from crnet.text.encoder_interface import encoder_label
from crnet.training.config import CLASSIFICATION, StageConfig, TrainingConfig
from crnet.training.loop import BEST_NAME, STATE_NAME
from crnet.training.stream import result_settings
from crnet.types import Stream
from crnet.utils.files import write_json
from crnet.utils.resumable import fingerprint, short_fingerprint

TRAINED_NAME = "trained.json"
FAILURE_NAME = "failed.txt"  # beside the network's folder; holds the reason why its training failed
TRAINING_VERSION = 2  # with equal settings, version 2 trains other weights: G of the CR-block starts at zero
DEFAULT = Config()  # whose values replace those without influence
SUBSET_SEED = 0  # of the permutation whose first n clips a learning curve trains on


@dataclass(frozen=True)
class NetSpec:
    """A network to train, without its seed. Two specs are equal if they would train the same network.

    Attributes:
        stream: The network's stream.
        config: The configuration. Fields without influence on this stream are set to a fixed value.
        train_clips: Train on the first `train_clips` of a fixed permutation of the training clips; None: on all. A
            larger subset contains each smaller one.
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
            transforms=_relevant_transforms(self.stream, self.config.transforms),
            model=_relevant_model_fields(self.stream, self.config.model),
            training=_relevant_training(self.config.training),
            fusion=FusionConfig(),
        )
        object.__setattr__(self, "config", config)

    def with_seed(self, seed: int) -> TrainingConfig:
        """Return the training configuration with a seed."""
        return replace(self.config.training, seed=seed)

    @property
    def summary(self) -> str:
        """The network in a few words: "face, cr-block, l1+mse+bell+classification"."""
        model, (first, second) = self.config.model, self.config.training.stages
        words = [self.stream, model.head, "+".join((second if second.epochs else first).terms)]
        if self.stream == "audio-text" and model.audio_text != "both":
            words.append(f"{model.audio_text} only")
        if self.stream == "audio-text" and model.regresses_text:
            words.append("text as a vector")
        if self.stream != "audio-text":
            words.append(model.backbone if model.temporal == "mean" else f"{model.backbone} {model.temporal}")
        if model.head != "plain":
            words.append(f"{model.classes} classes")
        if self.train_clips is not None:
            words.append(f"{self.train_clips} clips")
        return ", ".join(words)

    def manifest(self, whole: Manifest) -> Manifest:
        """Return the manifest with only this network's clips in the training split."""
        ids = {row.clip_id for row in self.training_rows(whole)}
        return replace(whole, clips=tuple(row for row in whole.clips if row.split != "train" or row.clip_id in ids))

    def training_rows(self, whole: Manifest) -> Sequence[ClipRow]:
        """Return the clips that this network is trained on, in the manifest's order.

        Raises:
            ConfigError: The manifest has fewer training clips than `train_clips`.
        """
        rows = whole.rows("train")
        if self.train_clips is None:
            return rows
        if self.train_clips > len(rows):
            raise ConfigError(f"the network needs {self.train_clips} training clips, but the store has {len(rows)}")
        order = np.random.default_rng(SUBSET_SEED).permutation(len(rows))
        return tuple(rows[i] for i in sorted(order[: self.train_clips].tolist()))

    def fingerprint(self, seed: int, data: str) -> str:
        """Return a short hash of everything that decides the trained weights.

        Args:
            seed: The seed of the training.
            data: The `data_fingerprint` of the manifest.
        """
        config = to_dict(self.config)
        settings = {
            "version": TRAINING_VERSION,
            "stream": self.stream,
            "model": config["model"],
            "transforms": config["transforms"],
            "training": result_settings(config["training"]) | {"seed": seed},
            "train_clips": self.train_clips,
            "data": data,
        }
        return short_fingerprint(settings)


def data_fingerprint(manifest: Manifest) -> str:
    """Return a hash of a store's preparation settings and of every row of its manifest.

    It does not cover the frames and the sound, which would all have to be read. After replacing a video by another
    one of the same length with the same words and as many faces, choose another results folder.
    """
    clips = [asdict(row) for row in manifest.clips]
    return fingerprint([manifest.source, manifest.fingerprint, encoder_label(manifest.encoder), clips])


def _relevant_model_fields(stream: Stream, model: ModelConfig) -> ModelConfig:
    """Return the model with every field that this stream ignores set to its default."""
    default = DEFAULT.model
    if model.head == "plain":
        model = replace(model, classes=default.classes)
    if stream == "audio-text":
        if model.audio_text == "audio":
            model = replace(model, text_path=default.text_path)
        visual = ("backbone", "temporal", "frames", "pixel_mean", "pixel_std", "init")
        return replace(model, **{name: getattr(default, name) for name in visual})
    return replace(model, audio_text=default.audio_text, text_path=default.text_path)


def _relevant_transforms(stream: Stream, transforms: TransformConfig) -> TransformConfig:
    """Return the transforms with every field that this stream ignores set to its default.

    The length of the sound stays, although visual streams ignore it: without it, networks of older results folders
    would be trained again.
    """
    return replace(DEFAULT.transforms, audio_samples=transforms.audio_samples) if stream == "audio-text" else transforms


def _relevant_training(training: TrainingConfig) -> TrainingConfig:
    """Return the training with every field that has no influence set to a fixed value.

    The seed is such a field, because it is given where a network is trained. A stage that is skipped keeps what the
    stages of every preset share, so networks of older results folders keep their fingerprints.
    """
    first, second = (_relevant_stage(stage) for stage in training.stages)
    if not first.epochs:
        first = replace(CLASSIFICATION, epochs=0, batch_size=second.batch_size, lr_step_epochs=second.lr_step_epochs)
    return replace(training, seed=0, stages=(first, second))


def _relevant_stage(stage: StageConfig) -> StageConfig:
    """Return the stage with the settings of the other optimizer set to their defaults."""
    if stage.optimizer == "adam":
        return replace(stage, momentum=CLASSIFICATION.momentum)
    return replace(stage, betas=CLASSIFICATION.betas)


class UntrainedError(CrnetError):
    """Training of a network failed, for example because it diverged. Other networks are not affected."""


def mark_trained(folder: Path, summary: str, seed: int) -> None:
    """Mark the training in a folder as finished and delete its state, which is three times as large as a network."""
    write_json(folder / TRAINED_NAME, {"network": summary, "seed": seed})
    (folder / STATE_NAME).unlink(missing_ok=True)


def is_trained(folder: Path) -> bool:
    """Return True if the training in this folder has finished."""
    return (folder / TRAINED_NAME).is_file() and (folder / BEST_NAME).is_file()
