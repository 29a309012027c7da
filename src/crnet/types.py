"""The records that pass between the parts of `crnet`: frozen, and validated when they are built.

`Clip` is one decoded video, `Batch` the only input of a model, `Prediction` the result for one video.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from crnet.errors import FormatError

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64, Int64, UInt8

TRAITS = ("extraversion", "neuroticism", "agreeableness", "conscientiousness", "openness")
TARGETS = (*TRAITS, "interview")
"""The order of every array of scores. `neuroticism` keeps the name in the dataset, but a high score means perceived
emotional *stability*: on FIv2 it correlates +.88 with the interview score."""

SCALE = {"neuroticism": "reversed: high = emotionally stable"}
"""What a reader of the scores, person or program, must know about a target; part of every document with scores."""

SCALE_NOTE = "; ".join(f"{target} {note}" for target, note in SCALE.items())
"""The same for a cell of a table."""


def target_label(target: str) -> str:
    """Return the name of a target for a reader, who must know that one of them is reversed."""
    return f"{target} (high = stable)" if target == "neuroticism" else target


TRAIT_INDICES = [TARGETS.index(trait) for trait in TRAITS]
"""Places of the five traits in arrays over the six targets."""

Stream = Literal["scene", "face", "audio-text"]
STREAMS: tuple[Stream, ...] = get_args(Stream)
VisualStream = Literal["scene", "face"]
VISUAL_STREAMS: tuple[VisualStream, ...] = get_args(VisualStream)

Backbone = Literal["r2d34", "r3d34"]
BACKBONES: tuple[Backbone, ...] = get_args(Backbone)
"""ResNet-34 of the visual streams, in 2-D over each frame or in 3-D over the clip."""

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

SAMPLE_RATE_HZ = 16_000  # Sec. 3.1.2
INT16_FULL_SCALE = 32_768.0  # 16-bit samples are divided by it to lie in [-1, 1]
TEXT_DIMENSIONS = 4_800  # skip-thought vectors: uni 2,400 + bi 2 x 1,200 (Kiros et al. 2015)
SEGMENTS = 32  # Sec. 3.1.1
LONGEST_S = 1e7  # four months: a clip that claims more is damaged

DataSource = Literal["simulated", "first-impressions-v2", "folder"]
"""The kind of dataset that clips come from: `source` in a manifest, `training_source` in a bundle."""


class SourceText(NamedTuple):
    """How text names a kind of dataset: in a sentence, and in the facts about a model."""

    short: str
    long: str


DATA_SOURCES: dict[DataSource, SourceText] = {
    "simulated": SourceText("synthetic people", "synthetic people: its scores for real people are meaningless"),
    "first-impressions-v2": SourceText(
        "first-impressions-v2", "ChaLearn First Impressions v2: YouTube clips of 15 s, judged by strangers"
    ),
    "folder": SourceText("people from a folder of videos", "a user-supplied data set"),
}

TRAINED_ON_SYNTHETIC_PEOPLE = "This model was trained on synthetic people; its scores for real people are meaningless."
"""The first warning wherever a model of synthetic people scores anything else."""


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise FormatError(reason)


@dataclass(frozen=True, eq=False)
class Clip:
    """One decoded video, the content of a clip file: JPEG frames of scene and face, sound, and the text vector.

    Frames are in order of time; the scene and the face of frame i belong to `time_s[i]`. Every segment of
    `range(segments)` has at least one frame. `audio` is empty if there is no audio track.

    Attributes:
        clip_id: Name of the clip, as in the annotation.
        scene_jpeg: uint8 [bytes], the JPEG files of all frames in one block.
        scene_offsets: int64 [k + 1]; frame i is `scene_jpeg[scene_offsets[i]:scene_offsets[i + 1]]`.
        face_jpeg: uint8 [bytes], the same for the face crops.
        face_offsets: int64 [k + 1].
        time_s: float64 [k], seconds from the first frame.
        segment: int16 [k], the equal segment of the video that the frame belongs to.
        face_box: float32 [k, 4], x0 y0 x1 y1 in source pixels; NaN where there is no face.
        face_landmarks: float32 [k, 5, 2], eyes (left of the picture first), nose and mouth corners, source pixels.
        face_score: float32 [k], confidence of the detector in [0, 1]; NaN = interpolated box, or no face.
        audio: int16 [n], mono, 16 kHz.
        text: float32 [4800].
        segments: Number of equal segments of the video.
        duration_s: Length of the video in seconds.
        width, height: Source size in pixels, as displayed.
        fps: Mean frames per second of the source.
        source_sha256: SHA-256 of the source file; "" if there was no file.
        settings: Fingerprint of the settings that the clip was made with.
        simulated: True for a synthetic person.
        has_audio: False if the source has no audio track.
        has_transcript: False if there is no transcript, or an empty one.
        warnings: What a user should know about this clip, as sentences.
        recognised: The transcript from speech recognition; "" if it was not used or found no words.

    Raises:
        FormatError: A type, a shape or a combination is wrong.
    """

    clip_id: str
    scene_jpeg: UInt8[np.ndarray, " scene_bytes"]
    scene_offsets: Int64[np.ndarray, " k_plus_1"]
    face_jpeg: UInt8[np.ndarray, " face_bytes"]
    face_offsets: Int64[np.ndarray, " k_plus_1"]
    time_s: Float64[np.ndarray, " k"]
    segment: NDArray[np.int16]
    face_box: Float32[np.ndarray, "k 4"]
    face_landmarks: Float32[np.ndarray, "k 5 2"]
    face_score: Float32[np.ndarray, " k"]
    audio: NDArray[np.int16]
    text: Float32[np.ndarray, " 4800"]
    segments: int
    duration_s: float
    width: int
    height: int
    fps: float
    source_sha256: str
    settings: str
    simulated: bool
    has_audio: bool
    has_transcript: bool
    warnings: tuple[str, ...] = ()
    recognised: str = ""

    def __post_init__(self) -> None:
        k = len(self.time_s)
        expected: dict[str, tuple[str, tuple[int, ...]]] = {
            "scene_offsets": ("int64", (k + 1,)),
            "face_offsets": ("int64", (k + 1,)),
            "time_s": ("float64", (k,)),
            "segment": ("int16", (k,)),
            "face_box": ("float32", (k, 4)),
            "face_landmarks": ("float32", (k, 5, 2)),
            "face_score": ("float32", (k,)),
            "text": ("float32", (TEXT_DIMENSIONS,)),
        }
        for name, (dtype, shape) in expected.items():
            array = getattr(self, name)
            _require(
                array.dtype == dtype and array.shape == shape,
                f"{name} is {array.dtype}{list(array.shape)}, expected {dtype}{list(shape)}",
            )
        _require(k > 0, "a clip without frames")
        _require(self.audio.dtype == np.int16 and self.audio.ndim == 1, "audio is not int16 of one dimension")
        for stream, data, offsets in (
            ("scene", self.scene_jpeg, self.scene_offsets),
            ("face", self.face_jpeg, self.face_offsets),
        ):
            _require(data.dtype == np.uint8 and data.ndim == 1, f"{stream}_jpeg is not a row of bytes")
            _require(
                offsets[0] == 0 and offsets[-1] == len(data) and bool(np.all(np.diff(offsets) > 0)),
                f"{stream}_offsets do not cut {stream}_jpeg into frames",
            )
        _require(bool(np.all(np.diff(self.time_s) >= 0)), "frames are not in order of time")
        _require(
            set(np.unique(self.segment).tolist()) == set(range(self.segments)), "a segment has no frame or is unknown"
        )

    def jpeg(self, stream: VisualStream, frame: int) -> bytes:
        """Return the JPEG file of one frame of one visual stream."""
        data, offsets = (
            (self.scene_jpeg, self.scene_offsets) if stream == "scene" else (self.face_jpeg, self.face_offsets)
        )
        return data[offsets[frame] : offsets[frame + 1]].tobytes()


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples ready for the models. A stream that no model needs is None, and so are the scores during prediction.

    The arrays are PyTorch tensors in training and NumPy arrays in prediction, which needs no PyTorch.

    Attributes:
        clip_ids: Names of the B clips.
        scene: uint8 [B, T, 3, H, W], RGB, or None.
        face: uint8 [B, T, 3, H, W], RGB, or None.
        audio: float32 [B, L] in [-1, 1], zero-padded at the end, or None.
        text: float32 [B, 4800], present if and only if `audio` is, or None.
        scores: float32 [B, 6] in [0, 1], in the order of `TARGETS`, or None.
        classes: int64 [B, 6], the class of each score (computed in float64, before the scores were rounded), or None.

    Raises:
        FormatError: A type, a shape or a combination is wrong.
    """

    clip_ids: tuple[str, ...]
    scene: UInt8[Any, "B T 3 H W"] | None = None
    face: UInt8[Any, "B T 3 H W"] | None = None
    audio: Float32[Any, "B L"] | None = None
    text: Float32[Any, "B 4800"] | None = None
    scores: Float32[Any, "B 6"] | None = None
    classes: Int64[Any, "B 6"] | None = None

    def __post_init__(self) -> None:
        count = len(self.clip_ids)
        _require(count > 0, "an empty batch")
        for name, dtype, dimensions in (
            ("scene", "uint8", 5),
            ("face", "uint8", 5),
            ("audio", "float32", 2),
            ("text", "float32", 2),
            ("scores", "float32", 2),
            ("classes", "int64", 2),
        ):
            tensor = getattr(self, name)
            if tensor is not None:
                description = f"{name} is {tensor.dtype}{list(tensor.shape)}"
                _require(
                    str(tensor.dtype).removeprefix("torch.") == dtype and tensor.ndim == dimensions,
                    f"{description}, expected {dtype}",
                )
                _require(tensor.shape[0] == count, f"{description} for {count} clips")
        for name in VISUAL_STREAMS:
            tensor = getattr(self, name)
            _require(tensor is None or tensor.shape[2] == 3, f"{name} frames are not RGB")
        _require((self.audio is None) == (self.text is None), "audio and text come together")
        _require(self.text is None or self.text.shape[1] == TEXT_DIMENSIONS, "text vectors are not 4,800 long")
        _require((self.scores is None) == (self.classes is None), "scores and classes come together")
        for name in ("scores", "classes"):
            tensor = getattr(self, name)
            _require(tensor is None or tensor.shape[1] == len(TARGETS), f"{name} are not of six targets")

    def __len__(self) -> int:
        return len(self.clip_ids)

    def to(self, device: Any) -> Batch:
        """Return the same batch as PyTorch tensors on a device, a `torch.device` or its name."""
        import torch

        moved = {
            f.name: None
            if (value := getattr(self, f.name)) is None
            else torch.as_tensor(value).to(device, non_blocking=True)
            for f in fields(self)
            if f.name != "clip_ids"
        }
        return Batch(self.clip_ids, **moved)


class ModelInfo(NamedTuple):
    """Which system scored a clip, and by which version of crnet.

    Attributes:
        name: Name of the run folder, or of the model on the Hub.
        fingerprint: Short fingerprint of the bundle, the same as in tables of scores.
        crnet_version: Version that computed the scores.
    """

    name: str
    fingerprint: str
    crnet_version: str


@dataclass(frozen=True)
class Faces:
    """Number of frames in which the person's face was found, and of those examined."""

    found: int
    looked_at: int


PREDICTION_COLUMNS = (
    "clip",
    "duration_s",
    *TARGETS,
    *(f"{target}.{end}" for target in TARGETS for end in ("low", "high")),
    *(f"{stream}.{target}" for stream in STREAMS for target in TARGETS),
    "faces_found",
    "faces_looked_at",
    "warnings",
    "error",
    "scale",
)
"""Columns of a table of predictions: `Prediction.to_row`, and the first columns of `crnet predict --out`."""


@dataclass(frozen=True)
class Prediction:
    """The scores of one clip, or the reason why there are none.

    Attributes:
        clip: Name or path, as given.
        duration_s: Length in seconds; None if the file could not be read.
        scores: The fused score in [0, 1] for each target; None if there is an error.
        streams: The score of each stream alone for each target.
        intervals: `[low, high]` for each target; None if the bundle has no calibration for such clips.
        faces: Frames with a face; None if the file could not be read.
        warnings: What a reader must know, most important first.
        error: Why there are no scores; None if there are.
        model: What scored the clip; None if nothing did, or for a system that was never saved.

    Raises:
        FormatError: Both scores and an error, or neither; or a score that is not finite or of no target.
    """

    clip: str
    duration_s: float | None
    scores: Mapping[str, float] | None
    streams: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] | None = None
    faces: Faces | None = None
    warnings: tuple[str, ...] = ()
    error: str | None = None
    model: ModelInfo | None = None

    def __post_init__(self) -> None:
        _require((self.scores is None) == (self.error is not None), "a prediction has either scores or an error")
        for scores in (self.scores or {}, *self.streams.values()):
            for target, score in scores.items():
                _require(target in TARGETS and bool(np.isfinite(score)), f"{target} has no finite score")

    def to_row(self) -> dict[str, Any]:
        """Return the prediction as one row of a table: the keys are `PREDICTION_COLUMNS`, a missing value is None.

        `pandas.DataFrame(p.to_row() for p in system.predict_many(paths))` makes a table of many.
        """
        scores = [(self.scores or {}).get(target) for target in TARGETS]
        ends = [end for target in TARGETS for end in (self.intervals or {}).get(target, (None, None))]
        streams = [self.streams.get(stream, {}).get(target) for stream in STREAMS for target in TARGETS]
        faces = (None, None) if self.faces is None else (self.faces.found, self.faces.looked_at)
        warnings = "; ".join(self.warnings)
        cells = (self.clip, self.duration_s, *scores, *ends, *streams, *faces, warnings, self.error, SCALE_NOTE)
        return dict(zip(PREDICTION_COLUMNS, cells, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document that `crnet predict --json` prints."""
        return {
            "clip": self.clip,
            "duration_s": self.duration_s,
            "scores": None if self.scores is None else dict(self.scores),
            "streams": {stream: dict(scores) for stream, scores in self.streams.items()},
            "intervals": None if self.intervals is None else {t: list(i) for t, i in self.intervals.items()},
            "faces": None if self.faces is None else {"found": self.faces.found, "looked_at": self.faces.looked_at},
            "warnings": list(self.warnings),
            "error": self.error,
            "model": None if self.model is None else self.model._asdict(),
            "scale": dict(SCALE),
        }
