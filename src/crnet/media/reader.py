"""From one video file to a `Clip`: scenes, faces and sound, and warnings about them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import simplejpeg

from crnet.errors import MediaError, NotScoredError
from crnet.media.audio import Sound, read_sound
from crnet.media.container import NOT_A_VIDEO_REMEDY
from crnet.media.crops import JpegBuffer, crop_resize, encode_jpeg
from crnet.media.face_linking import PersonCrops
from crnet.media.face_tracking import FaceTracker
from crnet.media.frame_sampling import FrameSelection, select_frames
from crnet.media.mtcnn import Mtcnn
from crnet.media.settings import MediaSettings
from crnet.media.video import Frame, VideoInfo, decode, probe
from crnet.types import INT16_FULL_SCALE, TEXT_DIMENSIONS, Clip
from crnet.utils.files import sha256
from crnet.utils.number_format import percent
from crnet.utils.process_memory import release_free_memory

if TYPE_CHECKING:
    from jaxtyping import Float32
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

NEAR_SILENCE_RMS = 0.003  # of full scale: -50 dB
BLACK_PICTURE_LEVEL = 10.0  # of 255, mean of the picture
FEW_FACES = 0.75  # of the segments' middle frames
TRIM_EVERY_S = 2.0
"""Seconds of video after which free memory returns to the system; it keeps memory flat in the length of the video."""
DAMAGED_BELOW = 0.9  # share of the frames that can be decoded
SOUND_BEFORE_S = 0.25  # a file whose picture starts this much after its sound gives a warning


def read_video(path: Path | str, settings: MediaSettings | None = None, *, allow_still: bool = False) -> Clip:
    """Decode a video once, and keep what the models need.

    Args:
        path: A video file.
        settings: By default, the paper's.
        allow_still: Also read a photo and a video of a single picture.

    Returns:
        A clip named after the path. It has no transcript: `text` is zero.

    Raises:
        MediaError: The file cannot be read as a video. No face, silence and the like are warnings instead.
        NotScoredError: It is a still picture.
        MissingDependencyError: The face detector's weights are not installed.
    """
    path = Path(path)
    settings = settings or MediaSettings()
    info, selection, pictures = _read_frames(path, settings, allow_still=allow_still)
    release_free_memory()
    sound = read_sound(path, info.timeline, settings.max_audio_s)
    arrays = _frame_arrays(pictures, info, settings)
    return Clip(
        clip_id=str(path),
        **arrays,
        segment=selection.segment,
        audio=sound.samples,
        text=np.zeros(TEXT_DIMENSIONS, dtype=np.float32),
        segments=settings.segments,
        duration_s=info.duration_s,
        width=info.width,
        height=info.height,
        fps=info.fps,
        simulated=info.simulated,
        has_audio=len(sound.samples) > 0,
        has_transcript=False,
        warnings=tuple(_warnings(info, pictures, sound, arrays["face_box"], selection.is_middle)),
        settings=settings.fingerprint(),
        source_sha256=sha256(path),
    )


@dataclass(eq=False)
class _Pictures:
    """What one pass over the frames collects, by position in the clip.

    Attributes:
        scenes: The scene pictures.
        times_s: Their times.
        levels: Mean of the scene picture, 0 to 255, of the middle frames only.
        faces: The face crops.
        missing: Number of requested frames that could not be decoded.
    """

    scenes: JpegBuffer = field(default_factory=JpegBuffer)
    times_s: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)
    faces: PersonCrops = field(default_factory=lambda: PersonCrops({}, 0))
    missing: int = 0


@lru_cache(maxsize=1)
def _detector() -> Mtcnn:
    return Mtcnn()


def face_tracker(detector: Mtcnn, info: VideoInfo, settings: MediaSettings) -> FaceTracker:
    """Make the face tracker for a video."""
    return FaceTracker(
        detector,
        info,
        settings.detection,
        pixels=settings.pixels,
        margin=settings.face_margin,
        jpeg_quality=settings.jpeg_quality,
    )


def _read_frames(
    path: Path, settings: MediaSettings, *, allow_still: bool
) -> tuple[VideoInfo, FrameSelection, _Pictures]:
    """Read scenes and faces of the frames that the settings select.

    If some of them do not come out of the decoder under the time that their packets announced, all frames are counted,
    and selected from those that do come out.
    """
    for count_frames in (False, True):
        info = probe(path, count_frames=count_frames)
        if info.is_still and not allow_still:
            raise NotScoredError("a still picture, not a video", path=path, remedy="give a video of a person who talks")
        selection = select_frames(info.frame_times_s, info.duration_s, settings.segments, settings.frames_per_segment)
        pictures = _read_pictures(info, selection, settings)
        if not pictures.missing or info.frame_stamps is None:
            break
    return info, selection, pictures


def _read_pictures(info: VideoInfo, selection: FrameSelection, settings: MediaSettings) -> _Pictures:
    """Read scenes and faces in one pass over the frames.

    A selected frame that cannot be decoded is replaced by the next one that can.
    """
    tracker = face_tracker(_detector(), info, settings)
    requested = set(selection.frames.tolist()) | set(tracker.detection_frames().tolist())
    pictures = _Pictures()
    decoded, trimmed_s = 0, 0.0
    for frame, is_last in _with_last(decode(info.path, info, requested)):
        start = len(pictures.scenes)
        end = len(selection.frames)
        if not is_last:
            end = max(int(np.searchsorted(selection.frames, frame.index, side="right")), start)
        if end > start:
            _add_scene(pictures, frame, selection, range(start, end), settings)
        tracker.add(frame, range(start, end), last=is_last)
        decoded += frame.index in requested
        if frame.time_s >= trimmed_s + TRIM_EVERY_S:
            trimmed_s = frame.time_s
            release_free_memory()
    if not len(pictures.scenes):
        raise MediaError("no frame of the video can be decoded", path=info.path, remedy=NOT_A_VIDEO_REMEDY)
    pictures.missing = len(requested) - decoded
    pictures.faces = tracker.finish()
    return pictures


def _add_scene(
    pictures: _Pictures, frame: Frame, selection: FrameSelection, positions: range, settings: MediaSettings
) -> None:
    """Add a frame's scene picture at each of its positions in the clip."""
    scene = frame.rgb(settings.pixels, settings.pixels)
    jpeg = encode_jpeg(scene, settings.jpeg_quality)
    for _ in positions:
        pictures.scenes.add(jpeg)
    pictures.times_s += [frame.time_s] * len(positions)
    middles = int(selection.is_middle[positions.start : positions.stop].sum())
    if middles:
        pictures.levels += [float(scene.mean())] * middles


def _with_last(frames: Iterator[Frame]) -> Iterator[tuple[Frame, bool]]:
    """Yield each frame, and whether it is the last one."""
    previous = next(frames, None)
    for frame in frames:
        if previous is not None:
            yield previous, False
        previous = frame
    if previous is not None:
        yield previous, True


def _frame_arrays(pictures: _Pictures, info: VideoInfo, settings: MediaSettings) -> dict[str, Any]:
    """Return the arrays of `Clip` with one entry per position; NaN where the face is not in view."""
    count = len(pictures.scenes)
    boxes = np.full((count, 4), np.nan, dtype=np.float32)
    landmarks = np.full((count, 5, 2), np.nan, dtype=np.float32)
    scores = np.full(count, np.nan, dtype=np.float32)
    for position, crop in pictures.faces.crops.items():
        boxes[position], landmarks[position], scores[position] = crop.box, crop.landmarks, crop.score
    face_jpeg, face_offsets = JpegBuffer(_face_jpegs(pictures, info, settings)).arrays()
    scene_jpeg, scene_offsets = pictures.scenes.arrays()
    return {
        "scene_jpeg": scene_jpeg,
        "scene_offsets": scene_offsets,
        "face_jpeg": face_jpeg,
        "face_offsets": face_offsets,
        "time_s": np.array(pictures.times_s, dtype=np.float64),
        "face_box": boxes,
        "face_landmarks": landmarks,
        "face_score": scores,
    }


def _face_jpegs(pictures: _Pictures, info: VideoInfo, settings: MediaSettings) -> Iterator[bytes]:
    """Yield the face crop of each position, or the centre square of its scene where the face is not in view."""
    crops = pictures.faces.crops
    for i in range(len(pictures.scenes)):
        yield crops[i].jpeg if i in crops else _centre_square(pictures.scenes[i], info, settings)


def _centre_square(scene: bytes, info: VideoInfo, settings: MediaSettings) -> bytes:
    """Crop the largest central square of the frame from its scene picture."""
    image = simplejpeg.decode_jpeg(scene, "RGB")
    side = min(info.width, info.height)
    half = np.array([side / info.width, side / info.height]) * settings.pixels / 2
    centre = settings.pixels / 2
    square = crop_resize(image, np.concatenate([centre - half, centre + half]).astype(np.float32), settings.pixels)
    return encode_jpeg(square, settings.jpeg_quality)


def _warnings(
    info: VideoInfo,
    pictures: _Pictures,
    sound: Sound,
    boxes: Float32[np.ndarray, "k 4"],
    is_middle: NDArray[np.bool_],
) -> Iterator[str]:
    """Yield what a user should know about this clip.

    The segments' middle frames decide, so the warnings do not depend on which other frames are kept.
    """
    yield from info.warnings
    if info.is_still:
        yield "a still picture, not a video: every frame is the same"
    frames = len(info.frame_times_s) + info.lost_frames
    readable = 1 - info.lost_frames / frames
    if info.truncated or readable < DAMAGED_BELOW:
        share = f"{percent(readable, 0)} of its frames"
        yield f"the file is truncated or damaged: only {info.duration_s:.1f} s and {share} can be read"
    elif info.lost_frames:
        yield f"{info.lost_frames} of {frames} frames cannot be decoded; the one before each is shown instead"
    if bool(np.mean(pictures.levels) < BLACK_PICTURE_LEVEL):
        yield "the picture is black"
    frames = int(is_middle.sum())
    faces = int((is_middle & ~np.isnan(boxes[:, 0])).sum())
    if not faces:
        yield "no face was found; the centre of the picture is used instead"
    elif faces < FEW_FACES * frames:
        yield f"a face was found in only {faces} of {frames} frames; elsewhere the centre of the picture is used"
    if pictures.faces.people > 1:
        yield (
            f"{pictures.faces.people} people are in view; the person with the most prominent face (size and time in "
            "view) was scored"
        )
    if not len(sound.samples):
        yield "the sound cannot be read" if info.has_audio else "there is no sound"
    elif float(np.sqrt(np.mean((sound.samples / INT16_FULL_SCALE) ** 2))) < NEAR_SILENCE_RMS:
        yield "the sound is nearly silent"
    if len(sound.samples) and sound.lost_packets:
        yield f"{sound.lost_packets} packets of the sound cannot be decoded; they are silence"
    yield from sound.warnings
    if sound.before_s > SOUND_BEFORE_S:
        yield f"the first {sound.before_s:.1f} s of the sound come before the first picture; they are left out"
    if sound.late_s:
        yield f"time stamps of the sound overlap: parts of it come up to {sound.late_s:.2f} s later than they say"
