"""The configuration of a whole system, composed of those of its parts; presets and configuration files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast, get_args

import cattrs

from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, FormatError
from crnet.fusion.fusion import FusionConfig
from crnet.models.config import ModelConfig
from crnet.training.config import CLASSIFICATION, JOINT, TrainingConfig
from crnet.training.old_names import with_current_fields
from crnet.types import STREAMS, Stream
from crnet.utils.suggestions import did_you_mean

Preset = Literal["tiny", "small", "paper", "paper-stable"]
RUN_FILE = "run.json"
"""In a run folder: its configuration, data and versions."""

PRESET_NAMES: tuple[Preset, ...] = get_args(Preset)

T = TypeVar("T")


@dataclass(frozen=True)
class Config:
    """Everything that decides what a training run computes, apart from the data.

    Attributes:
        streams: Networks to train; the fusion and the bundle contain these.
        transforms: How clips become the input of a network.
        model: Shape of the networks.
        training: Both training stages.
        fusion: Fusion of the streams and the extra-trees.
    """

    streams: tuple[Stream, ...] = STREAMS
    transforms: TransformConfig = field(default_factory=TransformConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)

    def __post_init__(self) -> None:
        if not self.streams or len(set(self.streams)) != len(self.streams):
            raise ConfigError("streams must name at least one stream, and each only once")
        if self.transforms.frames != self.model.frames:
            raise ConfigError(
                f"the transforms give {self.transforms.frames} frames, but the model expects {self.model.frames}",
                remedy="set transforms.frames and model.frames to the same number",
            )
        self.training.require_losses_fit(self.model.head)


def _stages(
    batch_size: int, epochs: tuple[int, int], lr_step_epochs: int, joint_lr: float, threads: int | None = None
) -> TrainingConfig:
    """Return the paper's two stages, shortened for small networks and few clips."""
    first, second = (
        replace(stage, batch_size=batch_size, lr_step_epochs=lr_step_epochs, epochs=count)
        for stage, count in zip((CLASSIFICATION, JOINT), epochs, strict=True)
    )
    return TrainingConfig(stages=(first, replace(second, lr=joint_lr)), workers=0, threads=threads)


PRESETS: dict[Preset, Config] = {
    # Every number of the paper. They are the defaults of the classes above, with the sections they come from.
    "paper": Config(),
    # The same recipe. Only what validation, the choice of the network and prediction see of batch norm differs.
    "paper-stable": Config(training=TrainingConfig(precise_batchnorm_batches=20)),
    # A few hundred clips are soon memorised: a network of one block per stage, trained on flipped and shifted frames,
    # generalises better from them than ResNet-34's depth with the paper's recipe (docs/results.md). A convolution loses
    # the positions of the text vector, so text enters through a regression.
    "small": Config(
        transforms=TransformConfig(frames=8, pixels=64, flip=True, shift=0.1),
        model=ModelConfig(frames=8, width=32, blocks=(1, 1, 1, 1), text_path="vector"),
        training=_stages(batch_size=15, epochs=(4, 22), lr_step_epochs=12, joint_lr=0.002, threads=1),
    ),
    # For the demo and the tests: the same code in seconds. 56 pixels is half the stored size, which JPEG decodes to.
    "tiny": Config(
        transforms=TransformConfig(frames=8, pixels=56),
        model=ModelConfig(frames=8, width=16, blocks=(1, 1, 1, 1), text_path="vector"),
        training=_stages(batch_size=10, epochs=(3, 10), lr_step_epochs=4, joint_lr=0.002, threads=1),
    ),
}
"""The configurations that `--preset` names."""


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_unstructure_hook(Path, str)
_converter.register_structure_hook(Path, lambda value, _: Path(value))


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration, or any of its dataclasses, as a JSON document."""
    return cast("dict[str, Any]", _converter.unstructure(config))


def from_dict(kind: type[T], document: Any, path: Path, remedy: str = "use the version of crnet that wrote it") -> T:
    """Rebuild a configuration from its JSON document, which an older version may have written.

    Raises:
        FormatError: A field is missing, unknown or of the wrong type; the message names `path` and the remedy.
    """
    try:
        return _converter.structure(with_current_fields(document), kind)
    except (cattrs.BaseValidationError, ValueError, TypeError, KeyError, ConfigError) as error:
        reasons = cattrs.transform_error(error) if isinstance(error, cattrs.BaseValidationError) else [str(error)]
        raise FormatError(
            f"its configuration does not fit this version: {'; '.join(reasons)}",
            path=path,
            remedy=remedy,
        ) from error


def read_config(path: Path | str, base: Config) -> Config:
    """Read a configuration file: YAML, or the run.json of a run.

    Args:
        path: A file with fields of `Config`, such as `model: {width: 32}`. Fields that are not in the file keep their
            values from `base`; `training.stages` may be a list of two mappings with the fields to change.
        base: The configuration to override.

    Raises:
        ConfigError: A field is unknown.
        FormatError: The file is no YAML mapping, or a value has the wrong type.
    """
    import yaml

    path = Path(path)
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, RecursionError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise FormatError(f"cannot be read as YAML: {reason}", path=path, remedy="see docs/cli.md") from error
    if not isinstance(document, dict):
        raise FormatError("is no mapping of configuration fields", path=path, remedy="see docs/cli.md")
    if isinstance(document.get("config"), dict):  # a run.json, which holds more than the configuration
        document = with_current_fields(document["config"])
    return from_dict(Config, _override(to_dict(base), document, "", path), path, "correct the value")


def _override(base: Any, differences: Any, prefix: str, path: Path) -> Any:
    """Return a JSON document with some fields changed; fields must exist."""
    if isinstance(base, dict) and isinstance(differences, dict):
        for key in differences:
            if key not in base:
                remedy = did_you_mean(str(key), base) or f"fields: {', '.join(base)}"
                raise ConfigError(f"unknown field {prefix}{key}", path=path, remedy=remedy)
        return base | {key: _override(base[key], value, f"{prefix}{key}.", path) for key, value in differences.items()}
    if isinstance(base, list | tuple) and isinstance(differences, list) and len(base) == len(differences):
        pairs = zip(base, differences, strict=True)
        return [_override(old, new, f"{prefix}{number}.", path) for number, (old, new) in enumerate(pairs)]
    return differences


def reads_words(config: Config) -> bool:
    """Return whether any network of the system reads text vectors."""
    return "audio-text" in config.streams and config.model.audio_text != "audio"


def with_seed(config: Config, seed: int) -> Config:
    """Return the same configuration with another random seed."""
    return replace(config, training=replace(config.training, seed=seed), fusion=replace(config.fusion, seed=seed))
