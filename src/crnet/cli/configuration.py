"""Options of the commands that train: preset, configuration file, and every field of the configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

import tyro

from crnet.cli.options import (
    Command,
    ConfigFile,
    ConfiguredBatchSize,
    ConfiguredDevice,
    ConfiguredEpochs,
    PresetOption,
    option,
)
from crnet.config import PRESETS, Config, read_config
from crnet.data.transforms import TransformConfig
from crnet.fusion.fusion import FusionConfig
from crnet.models.config import ModelConfig
from crnet.training.config import StageConfig, TrainingConfig
from crnet.types import Stream


@dataclass(frozen=True)
class ConfigSource:
    """The two options that decide the defaults of all the others."""

    preset: PresetOption = "paper"
    config: ConfigFile = None

    def load(self) -> Config:
        """Return the preset, overridden by the file if one is given."""
        base = PRESETS[self.preset]
        return base if self.config is None else read_config(self.config, base)


@dataclass(frozen=True, kw_only=True)
class ConfiguredCommand(Command):
    """A command whose options include every field of the configuration, with the defaults of preset and file."""

    preset: PresetOption = "paper"
    config: ConfigFile = None
    init: Annotated[
        Path | None,
        option(
            "Initial weights of the visual backbones: a ResNet-34 safetensors file with torchvision's parameter names.",
            "FILE",
        ),
    ] = None
    device: ConfiguredDevice = None
    batch_size: ConfiguredBatchSize = None
    epochs: ConfiguredEpochs = None
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
        return cls.with_configuration(source.load())

    @classmethod
    def with_configuration(cls, config: Config, **fields: Any) -> Self:
        """Return an instance with the fields of a configuration; its required arguments are still missing."""
        required = {
            field.name: tyro.MISSING
            for field in dataclasses.fields(cls)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        return cls(
            **required,
            transforms=config.transforms,
            model=config.model,
            training=config.training,
            fusion=config.fusion,
            **fields,
        )

    @property
    def source(self) -> ConfigSource:
        """The preset and the file that the other options override."""
        return ConfigSource(self.preset, self.config)

    def overridden(self, streams: tuple[Stream, ...]) -> Config:
        """Return the configuration; the short options override the fields that they stand for.

        Raises:
            ConfigError: The values contradict each other.
        """
        model = self.model if self.init is None else replace(self.model, init=self.init)
        first, second = (self._with_stage_options(stage) for stage in self.training.stages)
        training = replace(self.training, stages=(first, second))
        if self.device is not None:
            training = replace(training, device=self.device)
        return Config(streams, self.transforms, model, training, self.fusion)

    def _with_stage_options(self, stage: StageConfig) -> StageConfig:
        """Return a stage with the options that both stages share; a skipped stage stays skipped."""
        if self.batch_size is not None:
            stage = replace(stage, batch_size=self.batch_size)
        if self.epochs is not None and stage.epochs:
            stage = replace(stage, epochs=self.epochs)
        return stage
