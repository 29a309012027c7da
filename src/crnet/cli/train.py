"""`crnet train`: train a system on a clip store. Its options include every field of the configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Self

import tyro
from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import (
    Command,
    ConfigFile,
    ConfiguredBatchSize,
    ConfiguredDevice,
    ConfiguredEpochs,
    ConfiguredSeed,
    Flag,
    PresetOption,
    Store,
    Workers,
    option,
)
from crnet.cli.progress import progress_display
from crnet.config import PRESETS, Config, read_config, with_seed
from crnet.data.transforms import TransformConfig
from crnet.errors import UsageError
from crnet.fusion.fusion import FusionConfig
from crnet.models.crnet import ModelConfig
from crnet.training.config import StageConfig, TrainingConfig
from crnet.types import STREAMS
from crnet.utils.suggestions import did_you_mean


@dataclass(frozen=True)
class ConfigSource:
    """The two options that decide the defaults of all the others."""

    preset: PresetOption = "paper"
    config: ConfigFile = None

    def load(self) -> Config:
        """Return the preset, overridden by the file if one is given."""
        base = PRESETS[self.preset]
        return base if self.config is None else read_config(self.config, base)


@dataclass(frozen=True)
class Train(Command):
    """Train the streams and the fusion on a clip store.

    Trains both stages of every stream, then the fusion, and writes one bundle that `crnet predict` and `crnet
    evaluate` load. If it is interrupted, run the same command again to continue; the result is the same. To train on
    several GPUs, run torchrun --nproc-per-node 4 -m crnet train STORE RUN.
    """

    resumes = True

    store: Store
    run: Annotated[Positional[Path], option("Folder for the new run.")]
    preset: PresetOption = "paper"
    config: ConfigFile = None
    streams: Annotated[str, option("Streams to train, separated by commas.", "STREAM,...")] = ",".join(STREAMS)
    protocol: Annotated[
        str,
        option(
            "How clips are assigned to splits: official, video-disjoint, identity-disjoint, or grouped-kfold:K:I (fold "
            "I of K, counted from 1, is the test split). `crnet evaluate` uses the same splits.",
            "PROTOCOL",
        ),
    ] = "official"
    init: Annotated[
        Path | None,
        option(
            "Initial weights of the visual backbones: a ResNet-34 safetensors file with torchvision's parameter names.",
            "FILE",
        ),
    ] = None
    seed: ConfiguredSeed = None
    device: ConfiguredDevice = None
    batch_size: ConfiguredBatchSize = None
    epochs: ConfiguredEpochs = None
    workers: Workers = None
    no_tensorboard: Annotated[Flag, option("Do not write TensorBoard files.")] = False
    transforms: TransformConfig = PRESETS["paper"].transforms
    model: ModelConfig = PRESETS["paper"].model
    training: TrainingConfig = PRESETS["paper"].training
    fusion: FusionConfig = PRESETS["paper"].fusion

    @classmethod
    def defaults(cls, words: Sequence[str]) -> Self | None:
        """Return an instance with the configuration that --preset and --config name.

        tyro's helper for presets, `overridable_config_cli`, makes each preset a subcommand, which leaves no place for
        a file between the preset and the options.
        """
        try:
            source, _ = tyro.cli(
                ConfigSource, args=words, return_unknown_args=True, add_help=False, console_outputs=False
            )
        except SystemExit:
            return None  # a wrong value, which the complete parser reports
        config = source.load()
        return cls(
            tyro.MISSING,
            tyro.MISSING,
            streams=",".join(config.streams),
            transforms=config.transforms,
            model=config.model,
            training=config.training,
            fusion=config.fusion,
        )

    def __call__(self) -> int:
        """Train the system, or finish a run that was stopped."""
        from crnet.data.splits import SplitProtocol
        from crnet.train import train_system

        config, protocol = self.configuration(), SplitProtocol.parse(self.protocol)
        with progress_display(self.quiet) as progress:
            bundle = train_system(self.store, self.run, config, progress, protocol=protocol)
        if bundle is not None:
            print(f"trained: {bundle.path}; next: crnet evaluate {self.run} {self.store}")
        return EXIT_DONE

    def configuration(self) -> Config:
        """Return the configuration; the short options override the fields that they stand for.

        Raises:
            UsageError: A stream is unknown.
            ConfigError: The values contradict each other.
        """
        names = [name.strip() for name in self.streams.split(",")]
        for name in names:
            if name not in STREAMS:
                hint = did_you_mean(name, STREAMS) or f"choose from {', '.join(STREAMS)}"
                raise UsageError(f"unknown stream {name!r}", remedy=hint)
        streams = tuple(stream for stream in STREAMS if stream in names)
        model = self.model if self.init is None else replace(self.model, init=self.init)
        training = self.training
        if self.device is not None:
            training = replace(training, device=self.device)
        if self.workers is not None:
            training = replace(training, workers=self.workers)
        first, second = (self._with_stage_options(stage) for stage in training.stages)
        training = replace(training, stages=(first, second))
        if self.no_tensorboard:
            training = replace(training, tensorboard=False)
        config = Config(streams, self.transforms, model, training, self.fusion)
        return config if self.seed is None else with_seed(config, self.seed)

    def _with_stage_options(self, stage: StageConfig) -> StageConfig:
        """Return a stage with the options that both stages share; a skipped stage stays skipped."""
        if self.batch_size is not None:
            stage = replace(stage, batch_size=self.batch_size)
        if self.epochs is not None and stage.epochs:
            stage = replace(stage, epochs=self.epochs)
        return stage
