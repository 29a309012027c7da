"""The smallest complete training, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from crnet.data.manifest import read_manifest
from crnet.data.transforms import TransformConfig
from crnet.models.config import ModelConfig
from crnet.training.config import TrainingConfig
from crnet.training.stream import TrainingJob, train_stream
from crnet.types import Stream
from crnet.utils.progress import Progress, no_progress

TINY_MODEL = ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=4)
TINY_TRANSFORMS = TransformConfig(frames=4, pixels=24, audio_samples=4_000)


def tiny_training(epochs: tuple[int, int] = (2, 3), batch_size: int = 6, **changes: Any) -> TrainingConfig:
    """Return a configuration of both stages with few epochs."""
    classification, joint = TrainingConfig().stages
    stages = (
        replace(classification, epochs=epochs[0], batch_size=batch_size, lr_step_epochs=2),
        replace(joint, epochs=epochs[1], batch_size=batch_size, lr_step_epochs=2),
    )
    return TrainingConfig(**{"stages": stages, "workers": 0, "tensorboard": False, "device": "cpu", **changes})


def train_tiny(
    store: Path,
    run: Path,
    stream: Stream = "scene",
    progress: Progress = no_progress,
    *,
    model: ModelConfig = TINY_MODEL,
    transforms: TransformConfig = TINY_TRANSFORMS,
    **changes: Any,
) -> Path:
    """Train one stream; `changes` are passed to `tiny_training`."""
    job = TrainingJob(store, read_manifest(store), run, model, transforms, tiny_training(**changes))
    return train_stream(stream, job, progress)
