"""The one person's face through a clip, in a single pass over its frames.

The detector looks at about four small frames a second, chosen by time alone, so that it does not matter to a face
crop which other frames are kept. Every two seconds it searches the whole frame; in between, its last two networks
follow the known faces, and it searches anew where one of them is lost. Finds are linked into tracks. A frame that is
kept waits until the finds around it are known, gets its box by interpolation, and is cropped from the full resolution.
Which track is the clip's person is known only at the end: the one with the most area x frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Float32, Int64, UInt8

from crnet.media.jpegs import encoded
from crnet.media.mtcnn import ONET_PIXELS, ONET_THRESHOLD, Detections, Mtcnn, squared

if TYPE_CHECKING:
    from crnet.media.video import Frame, VideoInfo

FACE_MARGIN = 0.2
"""Part of the squared box's side added on each side of a face crop. The paper gives none."""

MAX_WAITING_BYTES = 128 << 20  # decoded frames that wait for their boxes, together
MAX_WAITING_FRAMES = 128
MAX_TRACKS = 16  # remembered; the smallest are forgotten
MAX_CROPS_PER_FRAME = 4  # tracks that get a crop of one frame: those with the largest boxes
JUDGE_BATCH = 8  # larger ones are no faster, and take 1 MB a face

MIN_FACE_PIXELS = 12  # P-Net's window: smaller faces cannot be seen
TIME_SLACK_S = 1e-3  # a look that is due a rounding error later is due now
OTHER_PERSON_AREA = 0.15  # of the person's area x frames: smaller faces are no second person

# A face found continues a track if it is this near to its last find (in sides of the box; people walk and cameras pan)
# and of like size. A face that was lost for longer than the gap must come back where it was.
SAME_FACE_DISTANCE, SAME_FACE_DISTANCE_LOST = 3.0, 0.5
SAME_FACE_GROWTH = 1.6


@dataclass(frozen=True)
class DetectionSettings:
    """How faces are looked for.

    Attributes:
        every_s: Time between two looks.
        afresh_s: Time between two searches of the whole frame while every known face can be followed. Following
            takes a tenth of the time of searching; a lost face is searched for at once.
        long_side: Long side of the small frame that the detector sees, pixels.
        min_face: Side of the smallest face looked for, as a part of the frame's short side.
        max_gap_s: A face that is missed for no longer than this is taken to have stayed.
        min_sightings: A face seen in fewer looks is taken for an error of the detector (if there were twice as many).
    """

    every_s: float = 0.25
    afresh_s: float = 2.0
    long_side: int = 400
    min_face: float = 0.12
    max_gap_s: float = 1.0
    min_sightings: int = 3


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """One frame's face: the picture, and where it was. Lengths in displayed pixels; score NaN = box interpolated."""

    jpeg: bytes
    box: Float32[np.ndarray, " 4"]
    landmarks: Float32[np.ndarray, "5 2"]
    score: float


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """What became of the clip's person.

    Attributes:
        crops: The face at each kept position where it was in view.
        people: How many faces were in view for a good part of the person's time, the person included; 0 = no face.
    """

    crops: dict[int, FaceCrop]
    people: int


@dataclass(eq=False)
class _Track:
    """One face's finds in order of time, and its crops."""

    times_s: list[float] = field(default_factory=list)
    boxes: list[Float32[np.ndarray, " 4"]] = field(default_factory=list)
    area: float = 0.0  # sum over the finds
    crops: dict[int, FaceCrop] = field(default_factory=dict)

    def add(self, time_s: float, box: Float32[np.ndarray, " 4"]) -> None:
        self.times_s.append(time_s)
        self.boxes.append(box)
        self.area += float(np.prod(box[2:] - box[:2]))

    def box_at(self, time_s: float, max_gap_s: float) -> tuple[Float32[np.ndarray, " 4"], bool] | None:
        """The box at a time, and whether the face is surely there: between two finds no more than the gap apart.

        Further off, the nearest find's box stands for up to half a gap, if O-Net agrees.
        """
        after = int(np.searchsorted(self.times_s, time_s))
        if after < len(self.times_s) and self.times_s[after] == time_s:
            return self.boxes[after], True
        if 0 < after < len(self.times_s):
            span_s = self.times_s[after] - self.times_s[after - 1]
            if span_s <= max_gap_s:
                part = np.float32((time_s - self.times_s[after - 1]) / span_s)
                return self.boxes[after - 1] * (1 - part) + self.boxes[after] * part, True
        near = [i for i in (after - 1, after) if 0 <= i < len(self.times_s)]
        best = min(near, key=lambda i: abs(self.times_s[i] - time_s))
        return (self.boxes[best], False) if abs(self.times_s[best] - time_s) <= max_gap_s / 2 else None


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A kept frame without its boxes yet; `positions` are its places in the clip."""

    frame: Frame
    positions: Sequence[int]


@dataclass(frozen=True, eq=False)
class _Cut:
    """A face that is expected in a frame, before O-Net has judged it."""

    track: _Track
    frame: Frame
    positions: Sequence[int]
    box: Float32[np.ndarray, " 4"]
    surely: bool
    patch: UInt8[np.ndarray, "48 48 3"]


class FaceTracker:
    """Follows faces through frames handed over in order of time; see the module's docstring.

    Args:
        detector: The networks.
        info: The video.
        settings: How to look for faces.
        pixels: Side of a face crop.
        margin: See `FACE_MARGIN`.
        jpeg_quality: Of the crops, 1 to 100.
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
        scale = settings.long_side / max(info.width, info.height)
        self.small = (max(round(info.width * scale), 1), max(round(info.height * scale), 1))
        self._tracks: list[_Track] = []
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._max_wait = min(max(MAX_WAITING_BYTES // max(info.frame_bytes, 1), 2), MAX_WAITING_FRAMES)
        self._looks = 0
        self._looked_at_s = self._searched_at_s = self._found_at_s = -float("inf")
        self._due = self.look_indices().tolist()[::-1]  # the next one last

    def look_indices(self) -> Int64[np.ndarray, " looks"]:
        """The frames that the detector wants to see, the last one of the clip among them."""
        times_s = self.info.frame_times_s
        farthest = max(self._max_wait // 4, 1)
        looks = [0]
        while looks[-1] < len(times_s) - 1:
            due = int(np.searchsorted(times_s, times_s[looks[-1]] + self.settings.every_s - TIME_SLACK_S))
            looks.append(min(max(due, looks[-1] + 1), looks[-1] + farthest, len(times_s) - 1))
        return np.array(looks, dtype=np.int64)

    def add(self, frame: Frame, positions: Sequence[int], *, last: bool) -> None:
        """Take the next decoded frame; `positions` is empty if it is not kept, `last` ends the clip."""
        # Whatever happens to a frame must depend on the times of all frames, not on which of them are kept: those
        # that cannot wait any longer go before this one is looked at.
        self._resolve(-float("inf"), frame.index - self._max_wait)
        if positions:
            self._waiting.append(_Waiting(frame, positions))
            self._waiting_bytes += frame.bytes
        if last or (self._due and frame.index >= self._due[-1]):
            while self._due and self._due[-1] <= frame.index:  # one that cannot be decoded is stood in for by the next
                self._due.pop()
            self._look(frame)
        self._resolve(float("inf") if last else self._looked_at_s - self.settings.max_gap_s, -1)

    def finish(self) -> FaceTrack:
        """The person's crops, after the last frame."""
        real = [t for t in self._tracks if self._is_real(t)]
        if not real:
            return FaceTrack({}, 0)
        person = max(real, key=lambda track: track.area)
        others = [t for t in real if t is not person and t.area >= OTHER_PERSON_AREA * person.area]
        return FaceTrack(person.crops, 1 + len(others))

    def _is_real(self, track: _Track) -> bool:
        return len(track.times_s) >= min(self.settings.min_sightings, (self._looks + 1) // 2)

    def _look(self, frame: Frame) -> None:
        """Follow the faces of the look before, or search the whole frame."""
        settings, time_s = self.settings, frame.time_s
        known = [track for track in self._tracks if track.times_s[-1] == self._looked_at_s]
        if known:
            pause_s = settings.afresh_s
        elif time_s - self._found_at_s <= settings.max_gap_s + TIME_SLACK_S:
            pause_s = 0.0  # the face may come back in time to have been there all along
        else:
            pause_s = settings.max_gap_s / 2  # a find stands for so long around it: no need to search more often
        search = time_s - self._searched_at_s >= pause_s - TIME_SLACK_S
        if not known and not search:
            self._looked_at_s = time_s
            return
        image = frame.rgb(*self.small)
        scale = np.array([self.info.width / self.small[0], self.info.height / self.small[1]] * 2, dtype=np.float32)
        found = None
        if not search:
            found = self.detector.follow(image, np.stack([track.boxes[-1] for track in known]) / scale)
            search = len(found) < len(known)
        if found is None or search:
            min_face_pixels = max(settings.min_face * min(self.small), MIN_FACE_PIXELS)
            found = self.detector.detect(image[None], min_face_pixels)[0]
            self._searched_at_s = time_s
        self._link(time_s, found, scale)
        if len(found):
            self._found_at_s = time_s
        self._looks += 1
        self._looked_at_s = time_s

    def _link(self, time_s: float, found: Detections, scale: Float32[np.ndarray, " 4"]) -> None:
        """Give each face found to the track it continues, or to a new one."""
        reach = np.array([self.info.width, self.info.height] * 2, dtype=np.float32)
        boxes = [box for box in np.clip(found.boxes * scale, -0.5 * reach, 1.5 * reach) if min(box[2:] - box[:2]) >= 1]
        pairs = [(_mismatch(track, box, time_s, self.settings.max_gap_s), i, j)
                 for i, track in enumerate(self._tracks) for j, box in enumerate(boxes)]  # fmt: skip
        taken_tracks: set[int] = set()
        taken_boxes: set[int] = set()
        for mismatch, i, j in sorted(pairs):
            if mismatch < float("inf") and i not in taken_tracks and j not in taken_boxes:
                self._tracks[i].add(time_s, boxes[j])
                taken_tracks.add(i)
                taken_boxes.add(j)
        for j, box in enumerate(boxes):
            if j not in taken_boxes:
                self._tracks.append(_Track())
                self._tracks[-1].add(time_s, box)
        self._tracks = sorted(self._tracks, key=lambda track: -track.area)[:MAX_TRACKS]

    def _resolve(self, known_s: float, latest: int) -> None:
        """Crop the waiting frames up to a time, or up to an index where memory does not allow to wait longer."""
        cuts: list[_Cut] = []
        while self._waiting:
            frame = self._waiting[0].frame
            if frame.time_s > known_s and frame.index > latest and self._waiting_bytes <= MAX_WAITING_BYTES:
                break
            self._waiting_bytes -= frame.bytes
            cuts += self._cut(self._waiting.popleft())
            if len(cuts) >= JUDGE_BATCH:
                self._judge(cuts)
                cuts = []
        self._judge(cuts)

    def _cut(self, waiting: _Waiting) -> Iterator[_Cut]:
        """The faces in one frame, as O-Net wants to see them."""
        frame = waiting.frame
        known = [(track, *at) for track in self._tracks if (at := track.box_at(frame.time_s, self.settings.max_gap_s))]
        known.sort(key=lambda entry: -float(np.prod(entry[1][2:] - entry[1][:2])))
        for track, box, surely in known[:MAX_CROPS_PER_FRAME]:
            patch = self._picture(frame, squared(box[None])[0], ONET_PIXELS)
            yield _Cut(track, frame, waiting.positions, box, surely, patch)

    def _picture(self, frame: Frame, box: Float32[np.ndarray, " 4"], pixels: int) -> UInt8[np.ndarray, "p p 3"]:
        """What a square box, in displayed pixels, shows of a frame at its full resolution."""
        stored = frame.stored_size
        scale = np.array([stored[0] / self.info.width, stored[1] / self.info.height] * 2, dtype=np.float32)
        part, corner = frame.rgb_part(box * scale)
        return cut_out(part, box * scale - np.array(corner * 2, dtype=np.float32), pixels)

    def _judge(self, cuts: list[_Cut]) -> None:
        """Let O-Net say how sure it is of each face, and where its landmarks are; keep its picture."""
        if not cuts:
            return
        boxes = np.stack([cut.box for cut in cuts])
        judged = self.detector.judge(np.stack([cut.patch for cut in cuts]), squared(boxes))
        for i, cut in enumerate(cuts):
            agrees = bool(judged.scores[i] > ONET_THRESHOLD)
            if agrees or cut.surely:
                score = float(judged.scores[i]) if agrees else float("nan")
                picture = self._picture(cut.frame, with_margin(cut.box, self.margin), self.pixels)
                crop = FaceCrop(encoded(picture, self.jpeg_quality), cut.box, judged.landmarks[i], score)
                cut.track.crops |= dict.fromkeys(cut.positions, crop)


def _mismatch(track: _Track, box: Float32[np.ndarray, " 4"], time_s: float, max_gap_s: float) -> float:
    """How badly a box continues a track, infinite if it does not: distance in sides; tracks lost for long come last."""
    last = track.boxes[-1]
    sides = np.sqrt([np.prod(b[2:] - b[:2]) for b in (last, box)])
    distance = float(np.hypot(*((box[:2] + box[2:]) - (last[:2] + last[2:])))) / 2 / float(sides.mean())
    lost = time_s - track.times_s[-1] > max_gap_s
    limit = SAME_FACE_DISTANCE_LOST if lost else SAME_FACE_DISTANCE
    if distance > limit or sides.max() > SAME_FACE_GROWTH * sides.min():
        return float("inf")
    return distance + (SAME_FACE_DISTANCE if lost else 0.0)


def with_margin(box: Float32[np.ndarray, " 4"], margin: float) -> Float32[np.ndarray, " 4"]:
    """The square around a face's box that is cut out; `margin` is a part of its side, see `FACE_MARGIN`."""
    square = squared(box[None])[0]
    side = square[2] - square[0]
    return square + side * margin * np.array([-1, -1, 1, 1], dtype=np.float32)


def cut_out(
    image: UInt8[np.ndarray, "H W 3"], box: Float32[np.ndarray, " 4"], pixels: int
) -> UInt8[np.ndarray, "pixels pixels 3"]:
    """A box of an image, scaled to a square by an antialiased filter. Beyond the image its edge is repeated."""
    height, width = image.shape[:2]
    x0, y0 = np.rint(box[:2]).astype(int)
    x1, y1 = np.maximum(np.rint(box[2:]).astype(int), (x0 + 1, y0 + 1))
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        piece = image[y0:y1, x0:x1]
    else:
        piece = image[np.clip(np.arange(y0, y1), 0, height - 1)][:, np.clip(np.arange(x0, x1), 0, width - 1)]
    tensor = torch.from_numpy(np.ascontiguousarray(piece)).permute(2, 0, 1)[None]
    scaled = functional.interpolate(tensor, (pixels, pixels), mode="bilinear", antialias=True)
    return np.ascontiguousarray(scaled[0].permute(1, 2, 0).numpy())
