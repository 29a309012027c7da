"""A trained system in memory: everything that prediction needs. `save` and `load` convert it to and from a folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.verify import BUNDLE_FILE
from crnet.config import Config, from_dict
from crnet.data.splits import OFFICIAL, SplitProtocol
from crnet.fusion.conformal import Calibration
from crnet.fusion.fusion import Fusion
from crnet.media.settings import MediaSettings, with_attribute_names
from crnet.types import DataSource, ModelInfo, Stream

if TYPE_CHECKING:
    from crnet.models.crnet import StreamNet


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything that prediction needs.

    Attributes:
        config: The configuration that the system was trained with.
        networks: The network of each stream, in evaluation mode, on the CPU. In a bundle opened for prediction, each
            is loaded when it is asked for, which needs PyTorch.
        fusion: Standardisation and trees.
        training_source: The kind of data that the system was trained on.
        encoder: Name of the text encoder.
        media: The settings of the training clips, as `MediaSettings.to_dict` returns them.
        train_medians: float64 [6], the median training scores. Predicting them for everyone is the floor.
        calibration: Source of the intervals; None (too few validation clips) gives no intervals.
        protocol: How the clips were assigned to splits, which decides on which of them the system may be tested.
        training_fingerprint: Fingerprint of the training and validation clips, see `crnet.data.splits`; "" in bundles
            of the first version, which did not record it.
        path: The folder that it was loaded from.
        model: Its name and fingerprint; None if it was not loaded from a folder.
    """

    config: Config
    networks: Mapping[Stream, StreamNet]
    fusion: Fusion
    training_source: DataSource
    encoder: str
    media: Mapping[str, Any]
    train_medians: NDArray[np.float64]
    calibration: Calibration | None = None
    protocol: SplitProtocol = OFFICIAL
    training_fingerprint: str = ""
    path: Path | None = None
    model: ModelInfo | None = None

    def applies_to(self, simulated: bool) -> bool:
        """Return whether scores mean anything for such clips: a model of synthetic people cannot score real ones."""
        return simulated or self.training_source != "simulated"

    def media_settings(self) -> MediaSettings:
        """See `media_settings`."""
        return media_settings(self.media, self.config, (self.path or Path()) / BUNDLE_FILE)


def media_settings(media: Mapping[str, Any], config: Config, path: Path) -> MediaSettings:
    """Return the settings for reading a video: those of the training clips, reduced to the frames that are used.

    If the training store kept all frames, the networks see the frames on screen at the middles of the parts. If it
    kept a few frames of each segment, they see one of the same few, or the segment's middle frame if each part is one
    segment.

    Args:
        media: See `Bundle.media`.
        config: The configuration that the system was trained with.
        path: File that errors name.

    Raises:
        FormatError: A setting is unknown or out of range.
    """
    settings = from_dict(MediaSettings, with_attribute_names(media), path)
    frames = config.transforms.frames
    if settings.frames_per_segment is None or settings.segments == frames:
        return replace(settings, segments=frames, frames_per_segment=1)
    return settings
