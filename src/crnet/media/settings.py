"""The settings that decide how videos become clips."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field

from crnet.errors import ConfigError
from crnet.media.face_tracking import FACE_MARGIN, DetectionSettings
from crnet.types import SEGMENTS

READER_VERSION = 3
"""Goes into every fingerprint; raise it when the same settings give other clips than before."""


@dataclass(frozen=True)
class MediaSettings:
    """How videos become clips. The same settings on the same file give the same bytes.

    Attributes:
        segments: Number of equal segments.
        frames_per_segment: Frames kept of each, the middle one among them; None keeps all.
        pixels: Side of the scene and face pictures.
        jpeg_quality: 1 to 100.
        face_margin: See `crnet.media.face_tracking.FACE_MARGIN`.
        max_audio_s: Sound after this many seconds is left out.
        detection: How faces are looked for.
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

    def fingerprint(self) -> str:
        """16 hexadecimal digits that stand for all of these values."""
        document = {"version": READER_VERSION, **asdict(self)}
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
