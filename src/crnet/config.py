"""One configuration for a whole system, put together from its components', and the presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import cattrs

from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, FormatError
from crnet.fusion import FusionConfig
from crnet.models.crnet import ModelConfig
from crnet.schema import STREAMS, Stream
from crnet.training.stages import TrainingConfig

Preset = Literal["tiny", "small", "paper"]
PRESET_NAMES: tuple[Preset, ...] = get_args(Preset)

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """Everything that decides what a training run computes, apart from the data.

    Attributes:
        streams: Which of the three networks to train; the fusion and the bundle hold these.
        transforms: What a network is shown of a clip.
        model: The shape of the networks.
        training: The two stages.
        fusion: The last step.
    """

    streams: tuple[Stream, ...] = STREAMS
    transforms: TransformConfig = field(default_factory=TransformConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        if not self.streams or len(set(self.streams)) != len(self.streams):
            raise ConfigError("name each stream once, and at least one")
        if self.transforms.frames != self.model.frames:
            raise ConfigError(
                f"the samples show {self.transforms.frames} frames, the model expects {self.model.frames}",
                remedy="set transforms.frames and model.frames to the same number",
            )


def _preset(frames: int, pixels: int, width: int, blocks: tuple[int, int, int, int], trees: int) -> Config:
    return Config(
        transforms=TransformConfig(frames=frames, pixels=pixels),
        model=ModelConfig(frames=frames, width=width, blocks=blocks),
        fusion=FusionConfig(trees=trees),
    )


PRESETS: dict[Preset, Config] = {"paper": Config()}


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(Path, str)
_converter.register_structure_hook(Path, lambda value, _: Path(value))


def to_dict(config: Any) -> dict[str, Any]:
    """A configuration (any of the dataclasses) as a JSON document."""
    return cast("dict[str, Any]", _converter.unstructure(config))


def from_dict(kind: type[T], document: Any, path: Path) -> T:
    """Rebuild a configuration from its JSON document.

    Raises:
        FormatError: A field is missing, unknown or of the wrong kind.
    """
    try:
        return _converter.structure(document, kind)
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, ConfigError) as error:
        reasons = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else [str(error)]
        raise FormatError(
            f"its configuration does not fit this version: {'; '.join(reasons)}",
            path=path,
            remedy="use the version of crnet that wrote it",
        ) from error


def with_seed(config: Config, seed: int) -> Config:
    """The same configuration with every random choice drawn from another seed."""
    return replace(config, training=replace(config.training, seed=seed), fusion=replace(config.fusion, seed=seed))
