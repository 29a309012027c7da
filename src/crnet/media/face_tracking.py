"""Track the face of a clip's one person in a single pass over its frames.

A detection pass takes place about four times a second. Its frames follow from their times alone, so a face crop does
not depend on which other frames are kept. In a pass, O-Net follows the known faces on crops from the full resolution.
The whole frame is searched every two seconds, and whenever a face is lost; distant faces are searched for only if there
is no nearer one. Detections of one face are linked into a track. A kept frame waits until the detections before and
after it are known. Between detections the box is interpolated and corrected by O-Net, to one or two percent of its
side. Who the clip's person is becomes known only at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from crnet.media.boxes import boxes_of_new_faces, pixel_squares
from crnet.media.crops import FrameRegion, encode_jpeg, with_margin
from crnet.media.face_linking import (
    SAME_FACE_DISTANCE,
    FaceCrop,
    FaceTrack,
    PersonCrops,
    choose_person,
    link_detections,
)
from crnet.media.mtcnn import ONET_PIXELS, ONET_THRESHOLD, RNET_PIXELS, Mtcnn
from crnet.media.settings import DetectionSettings

if TYPE_CHECKING:
    from jaxtyping import Float32, Int64, UInt8

    from crnet.media.video import Frame, VideoInfo

MAX_WAITING_BYTES = 128 << 20  # decoded frames that wait for their boxes, together
MAX_WAITING_FRAMES = 128
MAX_TRACKS = 16  # the smallest tracks beyond these are dropped
MAX_CROPS_PER_FRAME = 4  # for the tracks with the largest boxes
MAX_FAR_AND_LOST = 2  # distant faces that one pass searches for where they were
ONET_BATCH = 8  # faces that O-Net judges at once, which is a fifth faster than one by one

SPARE_MARGIN = 0.05  # share of the side converted beyond the crop, so that a corrected box still lies within
FACE_SHRINKS = 1.25  # how much smaller a lost face may be when it is searched for where it was
MIN_FACE_PIXELS = 12  # P-Net's window: it cannot detect smaller faces
LATE_SHARE = 1 / 64  # how late a face may be found, as a share of the time without one
TIME_SLACK_S = 1e-3  # a pass that is due a rounding error later is due now


@dataclass(frozen=True, eq=False)
class _WaitingFrame:
    """A kept frame whose boxes are not known yet; `positions` are its places in the clip."""

    frame: Frame
    positions: Sequence[int]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A face that is expected in a frame and that O-Net has not judged yet.

    Attributes:
        track: Its track.
        frame, positions: See `_WaitingFrame`.
        box: Where it is expected, displayed pixels.
        is_interpolated: See `FaceTrack.box_at`.
        region: The part of the frame around it; None if that is the whole frame, which is too much to hold.
        square, patch: What O-Net sees, and where that is in displayed pixels.
    """

    track: FaceTrack
    frame: Frame
    positions: Sequence[int]
    box: Float32[np.ndarray, " 4"]
    is_interpolated: bool
    region: FrameRegion | None
    square: Float32[np.ndarray, " 4"]
    patch: UInt8[np.ndarray, "48 48 3"]


class FaceTracker:
    """Tracks faces through frames that are added in order of time; see the module's docstring.

    Args:
        detector: The networks.
        info: The video.
        settings: How to detect faces.
        pixels: Side of a face crop.
        margin: See `MediaSettings.face_margin`.
        jpeg_quality: Quality of the crops, 1 to 100.
    """

    def __init__(
        self,
        detector: Mtcnn,
        info: VideoInfo,
        settings: DetectionSettings,
        *,
        pixels: int,
        margin: float,
        jpeg_quality: int,
    ) -> None:
        self.detector, self.info, self.settings = detector, info, settings
        self.pixels, self.margin, self.jpeg_quality = pixels, margin, jpeg_quality
        self._tracks: list[FaceTrack] = []
        self._waiting: deque[_WaitingFrame] = deque()
        self._waiting_bytes = 0
        self._candidates: list[_Candidate] = []
        self._max_wait = min(max(MAX_WAITING_BYTES // max(info.frame_bytes, 1), 2), MAX_WAITING_FRAMES)
        self._passes = 0
        self._last_pass_s = self._last_search_s = self._last_face_s = self._no_face_since_s = -float("inf")
        self._due_frames = self.detection_frames().tolist()[::-1]  # the next one last

    def detection_frames(self) -> Int64[np.ndarray, " passes"]:
        """Return the indices of the frames for detection passes; the last frame of the clip is one of them."""
        times_s = self.info.frame_times_s
        farthest = max(self._max_wait // 4, 1)
        frames = [0]
        while frames[-1] < len(times_s) - 1:
            due_s = times_s[frames[-1]] + self.settings.detect_interval_s - TIME_SLACK_S
            due = int(np.searchsorted(times_s, due_s))
            frames.append(min(max(due, frames[-1] + 1), frames[-1] + farthest, len(times_s) - 1))
        return np.array(frames, dtype=np.int64)

    def add(self, frame: Frame, positions: Sequence[int], *, last: bool) -> None:
        """Add the next decoded frame.

        Args:
            frame: The frame.
            positions: Its places in the clip; empty if it is not kept.
            last: Whether it is the last frame of the video.
        """
        # The result for a frame must depend on the times of all frames, not on which of them are kept: frames that
        # cannot wait any longer are resolved before this one is searched.
        self._resolve(-float("inf"), frame.index - self._max_wait)
        if positions:
            self._waiting.append(_WaitingFrame(frame, positions))
            self._waiting_bytes += frame.bytes
        if last or (self._due_frames and frame.index >= self._due_frames[-1]):
            # A frame that cannot be decoded is replaced by the next one.
            while self._due_frames and self._due_frames[-1] <= frame.index:
                self._due_frames.pop()
            self._detect(frame)
        self._resolve(float("inf") if last else self._last_pass_s - self.settings.max_gap_s, -1)

    def finish(self) -> PersonCrops:
        """Return the person's crops, after the last frame."""
        self._judge_candidates(flush=True)
        fewest = min(self.settings.min_sightings, (self._passes + 1) // 2)
        return choose_person([track for track in self._tracks if len(track.times_s) >= fewest])

    def _detect(self, frame: Frame) -> None:
        """Run a detection pass: follow the faces of the pass before, and search where one is lost or a search is due.

        After each search the tracks hold the new detections.
        """
        settings, time_s = self.settings, frame.time_s
        current = self._tracks_at(self._last_pass_s)
        without_face_s = time_s - max(self._last_face_s, 0.0)
        if current:
            pause_s = settings.redetect_interval_s
        elif time_s - self._last_face_s <= settings.max_gap_s + TIME_SLACK_S:
            pause_s = 0.0  # the face may return in time to count as present all along
        else:
            # A detection covers `max_gap_s` around it: no need to search more often. A long time without a face is
            # searched ever more sparsely, so that hours of it cost little; a face is then found a little late.
            pause_s = max(settings.max_gap_s / 2, without_face_s * LATE_SHARE)
        is_due = time_s - self._last_search_s >= pause_s - TIME_SLACK_S
        self._last_pass_s = time_s
        if not current and not is_due:
            return
        self._passes += 1
        if current:
            squares = pixel_squares(np.stack([track.boxes[-1] for track in current]))
            patches = np.stack([self._crop(frame, square, ONET_PIXELS) for square in squares])
            self._link(time_s, self.detector.follow(patches, squares).boxes)
        for track in self._far_and_lost(time_s):
            self._link(time_s, self._search_around(frame, track.boxes[-1]))
        if is_due or any(track.times_s[-1] < time_s for track in current):
            self._last_search_s = time_s
            self._link(time_s, self._search(frame, settings.min_face))
        far_pause_s = max(settings.redetect_interval_s, without_face_s * LATE_SHARE)
        if not self._tracks_at(time_s) and time_s - self._no_face_since_s >= far_pause_s - TIME_SLACK_S:
            self._no_face_since_s = time_s
            self._link(time_s, self._search(frame, settings.far_face))
        if self._tracks_at(time_s):
            self._last_face_s = self._no_face_since_s = time_s

    def _tracks_at(self, time_s: float) -> list[FaceTrack]:
        """Return the tracks whose last detection is at this time."""
        return [track for track in self._tracks if track.times_s[-1] == time_s]

    def _far_and_lost(self, time_s: float) -> list[FaceTrack]:
        """Return the latest tracks of faces that were lost a moment ago and are too small for the usual search."""
        usual = self.settings.min_face * min(self.info.width, self.info.height)
        max_gap_s = self.settings.max_gap_s + TIME_SLACK_S
        lost = [track for track in self._tracks if 0 < time_s - track.times_s[-1] <= max_gap_s]
        far = [track for track in lost if track.last_side < usual]
        return sorted(far, key=lambda track: -track.times_s[-1])[:MAX_FAR_AND_LOST]

    def _search(self, frame: Frame, smallest: float) -> Float32[np.ndarray, "n 4"]:
        """Detect faces in the whole frame; `smallest` is a share of its short side. Boxes are in displayed pixels."""
        long_side = self.settings.long_side * self.settings.min_face / smallest
        scale = min(long_side / max(self.info.width, self.info.height), 1.0)
        width, height = max(round(self.info.width * scale), 1), max(round(self.info.height * scale), 1)
        smallest_pixels = max(smallest * min(width, height), MIN_FACE_PIXELS)
        detections = self.detector.detect(frame.rgb(width, height), smallest_pixels)
        return detections.boxes * np.array([self.info.width / width, self.info.height / height] * 2, dtype=np.float32)

    def _search_around(self, frame: Frame, box: Float32[np.ndarray, " 4"]) -> Float32[np.ndarray, "n 4"]:
        """Detect faces close enough to a box to continue its track. Boxes are in displayed pixels."""
        window = with_margin(box, SAME_FACE_DISTANCE)
        pixels = round((1 + 2 * SAME_FACE_DISTANCE) * FACE_SHRINKS * RNET_PIXELS)
        detections = self.detector.detect(self._crop(frame, window, pixels), RNET_PIXELS)
        return detections.boxes * ((window[2] - window[0]) / pixels) + np.tile(window[:2], 2)

    def _link(self, time_s: float, boxes: Float32[np.ndarray, "n 4"]) -> None:
        """Add each detected face to the track that it continues, or to a new one; skip those already detected now."""
        current = self._tracks_at(time_s)
        frame_size = np.array([self.info.width, self.info.height] * 2, dtype=np.float32)
        current_boxes = np.array([track.boxes[-1] for track in current], dtype=np.float32).reshape(-1, 4)
        new_boxes = boxes_of_new_faces(np.clip(boxes, -0.5 * frame_size, 1.5 * frame_size), current_boxes)
        large_enough = [box for box in new_boxes if min(box[2:] - box[:2]) >= 1]
        open_tracks = [track for track in self._tracks if track not in current]
        self._tracks += link_detections(open_tracks, large_enough, time_s, self.settings.max_gap_s)
        self._tracks = sorted(self._tracks, key=lambda track: -track.area)[:MAX_TRACKS]

    def _resolve(self, resolved_s: float, latest: int) -> None:
        """Crop the waiting frames up to a time, and those up to an index or beyond the memory limit."""
        while self._waiting:
            frame = self._waiting[0].frame
            if frame.time_s > resolved_s and frame.index > latest and self._waiting_bytes <= MAX_WAITING_BYTES:
                break
            self._waiting_bytes -= frame.bytes
            self._candidates += self._candidates_in(self._waiting.popleft())
            self._judge_candidates(flush=self._max_wait < ONET_BATCH)

    def _candidates_in(self, waiting: _WaitingFrame) -> Iterator[_Candidate]:
        """Yield the faces that are expected in a frame, with the patches that O-Net sees."""
        frame, max_gap_s = waiting.frame, self.settings.max_gap_s
        expected = [(track, *at) for track in self._tracks if (at := track.box_at(frame.time_s, max_gap_s))]
        expected.sort(key=lambda entry: -float(np.prod(entry[1][2:] - entry[1][:2])))
        for track, box, is_interpolated in expected[:MAX_CROPS_PER_FRAME]:
            square = pixel_squares(box[None])[0]
            region = FrameRegion.from_frame(frame, self.info, with_margin(box, self.margin + SPARE_MARGIN))
            patch = region.crop(square, ONET_PIXELS)
            held_region = None if region.is_whole else region
            yield _Candidate(track, frame, waiting.positions, box, is_interpolated, held_region, square, patch)

    def _crop(
        self, frame: Frame, box: Float32[np.ndarray, " 4"], pixels: int, region: FrameRegion | None = None
    ) -> UInt8[np.ndarray, "p p 3"]:
        """Crop a square box, in displayed pixels, from a frame at full resolution, or from its region if possible."""
        if region is None or not region.contains(box):
            region = FrameRegion.from_frame(frame, self.info, box)
        return region.crop(box, pixels)

    def _judge_candidates(self, *, flush: bool) -> None:
        """Judge the candidates that fill whole batches; with `flush`, all of them."""
        while len(self._candidates) >= ONET_BATCH or (flush and self._candidates):
            self._judge(self._candidates[:ONET_BATCH])
            del self._candidates[:ONET_BATCH]

    def _judge(self, candidates: list[_Candidate]) -> None:
        """Let O-Net score each candidate and correct its box and landmarks; keep the crop of each confirmed face."""
        judged = self.detector.judge(np.stack([c.patch for c in candidates]), np.stack([c.square for c in candidates]))
        for i, candidate in enumerate(candidates):
            is_confirmed = bool(judged.scores[i] > ONET_THRESHOLD)
            if is_confirmed or candidate.is_interpolated:
                box, score = candidate.box, float("nan")
                if is_confirmed:
                    box, score = judged.boxes[i], float(judged.scores[i])
                picture = self._crop(candidate.frame, with_margin(box, self.margin), self.pixels, candidate.region)
                crop = FaceCrop(encode_jpeg(picture, self.jpeg_quality), box, judged.landmarks[i], score)
                candidate.track.crops |= dict.fromkeys(candidate.positions, crop)
