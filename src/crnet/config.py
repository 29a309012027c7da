"""One configuration for a whole system, put together from its components', and the presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import cattrs

from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, FormatError
from crnet.fusion.fusion import FusionConfig
from crnet.models.crnet import ModelConfig
from crnet.training.config import CLASSIFICATION, JOINT, TrainingConfig
from crnet.types import STREAMS, Stream

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
        self.training.refuse_for(self.model.head)


def _stages(
    batch_size: int, epochs: tuple[int, int], lr_step_epochs: int, joint_lr: float, threads: int | None = None
) -> TrainingConfig:
    """The paper's two stages, cut short for small nets and few clips."""
    first, second = (
        replace(stage, batch_size=batch_size, lr_step_epochs=lr_step_epochs, epochs=count)
        for stage, count in zip((CLASSIFICATION, JOINT), epochs, strict=True)
    )
    return TrainingConfig(stages=(first, replace(second, lr=joint_lr)), workers=0, threads=threads)


PRESETS: dict[Preset, Config] = {
    # Every number of the paper; they stand, with their sections, as the defaults of the classes above.
    "paper": Config(),
    # A few hundred clips are soon known by heart: a net of one block a stage, whose pictures are mirrored and moved,
    # learns more of them than ResNet-34's depth with the paper's recipe. Measured: docs/results.md.
    "small": Config(
        transforms=TransformConfig(frames=8, pixels=64, flip=True, shift=0.1),
        model=ModelConfig(frames=8, width=32, blocks=(1, 1, 1, 1)),
        training=_stages(batch_size=15, epochs=(4, 22), lr_step_epochs=12, joint_lr=0.002, threads=1),
    ),
    # For the demo and the tests: the same code in seconds. 56 pixels is half the stored size, which JPEG decodes to.
    "tiny": Config(
        transforms=TransformConfig(frames=8, pixels=56),
        model=ModelConfig(frames=8, width=16, blocks=(1, 1, 1, 1)),
        training=_stages(batch_size=10, epochs=(3, 10), lr_step_epochs=4, joint_lr=0.002, threads=1),
    ),
}


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


def reads_words(config: Config) -> bool:
    """Whether any network of the system looks at the transcripts' vectors."""
    return "audio-text" in config.streams and config.model.audio_text != "audio"


def with_seed(config: Config, seed: int) -> Config:
    """The same configuration with every random choice drawn from another seed."""
    return replace(config, training=replace(config.training, seed=seed), fusion=replace(config.fusion, seed=seed))
