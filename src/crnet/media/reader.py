"""One video file -> everything of a clip that comes from the file: scenes, faces, sound, and what to warn of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import simplejpeg
import torch
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from numpy.typing import NDArray

from crnet.errors import MediaError
from crnet.media.audio import FULL_SCALE, read_audio
from crnet.media.crops import Pile, cut_out, encoded
from crnet.media.face_tracking import FaceTracker
from crnet.media.face_tracks import FaceCrop, FaceTrack
from crnet.media.frame_sampling import choose_kept, middle_frames
from crnet.media.mtcnn import Mtcnn
from crnet.media.settings import MediaSettings
from crnet.media.video import NOT_A_VIDEO_REMEDY, Frame, VideoInfo, decode, probe
from crnet.utils.files import sha256
from crnet.utils.process_memory import give_memory_back

logger = logging.getLogger(__name__)

NEAR_SILENCE_RMS = 0.003  # of full scale: -50 dB
BLACK_PICTURE_LEVEL = 10.0  # of 255, mean of the picture
FEW_FACES = 0.75  # of the segments' middle frames
TRIM_EVERY_S = 2.0
"""Of the video. A minute of it, all frames kept, takes 387 MiB instead of 418."""
DAMAGED_BELOW = 0.9  # share of the frames that can be decoded


@dataclass(frozen=True, eq=False)
class Media:
    """The part of `crnet.types.Clip` that comes from the file; the attributes are described there."""

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
    segments: int
    duration_s: float
    width: int
    height: int
    fps: float
    source_sha256: str
    settings: str
    simulated: bool
    has_audio: bool
    warnings: tuple[str, ...]


def read_media(path: Path, settings: MediaSettings | None = None) -> Media:
    """Decode a video once and keep what the models need of it.

    Args:
        path: A video file.
        settings: By default, the paper's.

    Raises:
        MediaError: The file cannot be read as a video. No face, silence and the like are warnings instead.
        MissingDependencyError: The face detector's weights are not installed.
    """
    settings = settings or MediaSettings()
    info = probe(path)
    kept, segment = choose_kept(info.frame_times_s, info.duration_s, settings.segments, settings.frames_per_segment)
    middle = kept == middle_frames(info.frame_times_s, info.duration_s, settings.segments)[segment]
    with _one_thread():
        pictures = _read_pictures(info, kept, middle, settings)
    give_memory_back()
    audio = read_audio(path, settings.max_audio_s)
    boxes, landmarks, scores = _face_arrays(pictures.faces, len(kept))
    face_jpeg, face_offsets = Pile(_face_jpegs(pictures, info, settings)).arrays()
    scene_jpeg, scene_offsets = pictures.scenes.arrays()
    return Media(
        scene_jpeg=scene_jpeg,
        scene_offsets=scene_offsets,
        face_jpeg=face_jpeg,
        face_offsets=face_offsets,
        time_s=np.array(pictures.times_s, dtype=np.float64),
        segment=segment,
        face_box=boxes,
        face_landmarks=landmarks,
        face_score=scores,
        audio=audio,
        segments=settings.segments,
        duration_s=info.duration_s,
        width=info.width,
        height=info.height,
        fps=info.fps,
        source_sha256=sha256(path),
        settings=settings.fingerprint(),
        simulated=info.simulated,
        has_audio=len(audio) > 0,
        warnings=tuple(_warnings(info, pictures, audio, boxes, middle)),
    )


@dataclass(eq=False)
class _Pictures:
    """What one pass over the frames collects, by kept position."""

    scenes: Pile = field(default_factory=Pile)
    times_s: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)  # mean of the scene, 0 to 255; of the middle frames only
    faces: FaceTrack = field(default_factory=lambda: FaceTrack({}, 0))
    readable: float = 1.0  # share of the frames that were looked for


@lru_cache(maxsize=1)
def _detector() -> Mtcnn:
    return Mtcnn()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute with one thread: the detector's networks are too small for more.

    A second one gains nothing on an idle machine; on a busy one, where two wait for each other at every layer, a
    prediction took 9 CPU seconds instead of 3 to 7.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def face_tracker(detector: Mtcnn, info: VideoInfo, settings: MediaSettings) -> FaceTracker:
    """What looks for the face of a video and cuts it out, as the settings say."""
    return FaceTracker(
        detector,
        info,
        settings.detection,
        pixels=settings.pixels,
        margin=settings.face_margin,
        jpeg_quality=settings.jpeg_quality,
    )


def _read_pictures(
    info: VideoInfo, kept: Int64[np.ndarray, " k"], middle: Bool[np.ndarray, " k"], settings: MediaSettings
) -> _Pictures:
    """One pass over the frames. A kept frame that cannot be decoded is stood in for by the next one that can."""
    tracker = face_tracker(_detector(), info, settings)
    wanted = set(kept.tolist()) | set(tracker.look_indices().tolist())
    pictures = _Pictures()
    read, trimmed_s = 0, 0.0
    for frame, last in _with_last(decode(info.path, info, wanted)):
        done = len(pictures.scenes)
        upto = len(kept) if last else max(int(np.searchsorted(kept, frame.index, side="right")), done)
        if upto > done:
            scene = frame.rgb(settings.pixels, settings.pixels)
            jpeg = encoded(scene, settings.jpeg_quality)
            for _ in range(done, upto):
                pictures.scenes.add(jpeg)
            pictures.times_s += [frame.time_s] * (upto - done)
            if middle[done:upto].any():  # 0.05 ms, as much as a JPEG
                pictures.levels += [float(scene.mean())] * int(middle[done:upto].sum())
        tracker.add(frame, range(done, upto), last=last)
        read += frame.index in wanted
        if frame.time_s >= trimmed_s + TRIM_EVERY_S:
            trimmed_s = frame.time_s
            give_memory_back()
    if not len(pictures.scenes):
        raise MediaError("no frame of the video can be decoded", path=info.path, remedy=NOT_A_VIDEO_REMEDY)
    pictures.readable = read / len(wanted)
    pictures.faces = tracker.finish()
    return pictures


def _with_last(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Each frame, and whether it is the last one."""
    held = next(frames, None)
    for frame in frames:
        if held is not None:
            yield held, False
        held = frame
    if held is not None:
        yield held, True


def _face_arrays(
    faces: FaceTrack, count: int
) -> tuple[Float32[np.ndarray, "k 4"], Float32[np.ndarray, "k 5 2"], Float32[np.ndarray, " k"]]:
    """Boxes, landmarks and scores of all kept positions; NaN where the face is not in view."""
    boxes = np.full((count, 4), np.nan, dtype=np.float32)
    landmarks = np.full((count, 5, 2), np.nan, dtype=np.float32)
    scores = np.full(count, np.nan, dtype=np.float32)
    for position, crop in faces.crops.items():
        boxes[position], landmarks[position], scores[position] = crop.box, crop.landmarks, crop.score
    return boxes, landmarks, scores


def _face_jpegs(pictures: _Pictures, info: VideoInfo, settings: MediaSettings) -> Iterator[bytes]:
    """The face crop of each kept position, or the centre square of its scene where the face is not in view."""
    crops: dict[int, FaceCrop] = pictures.faces.crops
    for i in range(len(pictures.scenes)):
        yield crops[i].jpeg if i in crops else _centre_square(pictures.scenes[i], info, settings)


def _centre_square(scene: bytes, info: VideoInfo, settings: MediaSettings) -> bytes:
    """The largest central square of the frame, out of its scene picture."""
    image = simplejpeg.decode_jpeg(scene, "RGB")
    side = min(info.width, info.height)
    half = np.array([side / info.width, side / info.height]) * settings.pixels / 2
    centre = settings.pixels / 2
    square = cut_out(image, np.concatenate([centre - half, centre + half]).astype(np.float32), settings.pixels)
    return encoded(square, settings.jpeg_quality)


def _warnings(
    info: VideoInfo,
    pictures: _Pictures,
    audio: NDArray[np.int16],
    boxes: Float32[np.ndarray, "k 4"],
    middle: NDArray[np.bool_],
) -> Iterator[str]:
    """What a user should know of this clip. Judged by the segments' middle frames, so whatever else is kept."""
    if info.truncated or pictures.readable < DAMAGED_BELOW:
        share = f"{100 * pictures.readable:.0f}% of their frames"
        yield f"the file is cut short or damaged: of what it announces, {info.duration_s:.1f} s and {share} can be read"
    black = bool(np.mean(pictures.levels) < BLACK_PICTURE_LEVEL)
    if black:
        yield "the picture is black"
    looked_at = int(middle.sum())
    found = int((middle & ~np.isnan(boxes[:, 0])).sum())
    if not found:
        yield "no face was found; the centre of the picture stands in for it"
    elif found < FEW_FACES * looked_at:
        yield f"the face was found in only {found} of {looked_at} frames; the centre of the picture stands in elsewhere"
    if pictures.faces.people > 1:
        yield f"{pictures.faces.people} people are in view; the one with the largest face for longest was taken"
    if not len(audio):
        yield "the sound cannot be read" if info.has_audio else "there is no sound"
    elif float(np.sqrt(np.mean((audio / FULL_SCALE) ** 2))) < NEAR_SILENCE_RMS:
        yield "the sound is nearly silent"
