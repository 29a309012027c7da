"""Settings that decide how a video becomes a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from crnet.errors import ConfigError
from crnet.types import SEGMENTS
from crnet.utils.resumable import short_fingerprint

READER_VERSION = 4
"""Part of every fingerprint. Raise it when the same settings give other clips than before.

It stayed the same when the face detector moved from PyTorch to OpenVINO. In eight real clips of 891 frames every stored
picture had the same bytes as before, and boxes moved by at most 0.0001 pixels: two processors differ by as much.
"""

EARLIER_VERSION = 3
"""The version before: `prepare` keeps those of its clips that this version would read in the same way."""

FACE_MARGIN = 0.2
"""Margin on each side of a face crop, as a share of the side of the squared box. The paper gives none."""

STORED_NAMES = {"detect_interval_s": "every_s", "redetect_interval_s": "afresh_s"}
"""Fields of `DetectionSettings` whose name in stores, bundles and fingerprints differs from the attribute's."""


@dataclass(frozen=True)
class DetectionSettings:
    """How the face detector is used along a video.

    Attributes:
        detect_interval_s: Time between two detection passes.
        redetect_interval_s: Time between two searches of the whole frame while every known face can be followed.
            Following takes a tenth of the time of a search. A lost face is searched for at once.
        long_side: Long side, in pixels, of the picture in which faces of at least `min_face` are searched.
        min_face: Side of the smallest face to search for, as a share of the frame's short side.
        far_face: The same for the first pass, and after every `redetect_interval_s` without a face (less often after
            two minutes). This search takes three times as long.
        max_gap_s: A face that is missed for no longer than this counts as present in between.
        min_sightings: A face detected in fewer passes counts as a false detection (in a video of at least twice as many
            passes).

    Raises:
        ConfigError: A value is out of range.
    """

    detect_interval_s: float = 0.25
    redetect_interval_s: float = 2.0
    long_side: int = 400
    min_face: float = 0.12
    far_face: float = 0.055
    max_gap_s: float = 1.0
    min_sightings: int = 3

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("detect_interval_s", self.detect_interval_s, 0.001, 3600),
            ("redetect_interval_s", self.redetect_interval_s, 0.001, 3600),
            ("long_side", self.long_side, 16, 8192),
            ("min_face", self.min_face, 0.01, 1),  # the detector enlarges the picture for smaller faces
            ("far_face", self.far_face, 0.01, 1),
            ("max_gap_s", self.max_gap_s, 0, 3600),
            ("min_sightings", self.min_sightings, 1, 1000),
        ):
            if not low <= value <= high:
                raise ConfigError(f"detection.{name} is {value}", remedy=f"choose {low} to {high}")


@dataclass(frozen=True)
class MediaSettings:
    """How videos become clips. The same settings on the same file give the same bytes.

    Attributes:
        segments: Number of equal segments.
        frames_per_segment: Frames to keep of each segment, its middle frame among them; None keeps all.
        pixels: Side of the scene and face pictures.
        jpeg_quality: 1 to 100.
        face_margin: See `FACE_MARGIN`.
        max_audio_s: Sound after this many seconds is dropped.
        detection: How faces are detected.

    Raises:
        ConfigError: A value is out of range.
    """

    segments: int = SEGMENTS
    frames_per_segment: int | None = None
    pixels: int = 112
    jpeg_quality: int = 90
    face_margin: float = FACE_MARGIN
    max_audio_s: float = 60.0
    detection: DetectionSettings = field(default_factory=DetectionSettings)

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("segments", self.segments, 1, 8192),
            ("frames_per_segment", 1 if self.frames_per_segment is None else self.frames_per_segment, 1, 128),
            ("pixels", self.pixels, 8, 1024),
            ("jpeg_quality", self.jpeg_quality, 1, 100),
            ("face_margin", self.face_margin, 0, 2),
            ("max_audio_s", self.max_audio_s, 0, 3600),
        ):
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}", remedy=f"choose {low} to {high}")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that stores and bundles hold, with the names of `STORED_NAMES`."""
        document = asdict(self)
        document["detection"] = {STORED_NAMES.get(name, name): v for name, v in document["detection"].items()}
        return document

    def fingerprint(self, version: int = READER_VERSION) -> str:
        """Return 16 hexadecimal digits that identify all of these values, and the version of the reader."""
        return short_fingerprint({"version": version, **self.to_dict()})


def with_attribute_names(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document of `MediaSettings.to_dict` with the names of the attributes instead of the stored names."""
    attributes = {stored: name for name, stored in STORED_NAMES.items()}
    detection = document.get("detection")
    if not isinstance(detection, Mapping):
        return dict(document)
    return {**document, "detection": {attributes.get(name, name): value for name, value in detection.items()}}
