"""The one person's face through a clip, in a single pass over its frames.

The detector looks about four times a second, chosen by time alone, so that it does not matter to a face crop which
other frames are kept. Its last network follows the known faces, on pieces cut from the full resolution. The whole frame
is searched every two seconds and where a face is lost; for faces far away, only if there is none nearer. Finds are
linked into tracks. A frame that is kept waits until the finds around it are known; between them the box is
interpolated, and the last network puts it right, to one or two percent of its side. Who the clip's person is, is known
only at the end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32, Int64, UInt8

from crnet.media.crops import View, encoded, with_margin
from crnet.media.face_tracks import SAME_FACE_DISTANCE, FaceCrop, FaceTrack, Track, person_of
from crnet.media.mtcnn import ONET_PIXELS, ONET_THRESHOLD, RNET_PIXELS, Mtcnn, unseen, whole_squares

if TYPE_CHECKING:
    from crnet.media.video import Frame, VideoInfo

FACE_MARGIN = 0.2
"""Part of the squared box's side added on each side of a face crop. The paper gives none."""

MAX_WAITING_BYTES = 128 << 20  # decoded frames that wait for their boxes, together
MAX_WAITING_FRAMES = 128
MAX_TRACKS = 16  # remembered; the smallest are forgotten
MAX_CROPS_PER_FRAME = 4  # tracks that get a crop of one frame: those with the largest boxes
MAX_FAR_AND_LOST = 2  # far faces that are searched for where they were at one look
JUDGE_BATCH = 8  # always: a face gets the same numbers whichever others come with it, if they are as many

SPARE_MARGIN = 0.05  # more of the side is converted than is kept, so that a corrected box still lies within
FACE_SHRINKS = 1.25  # how much smaller a lost face may be when it is searched for where it was
MIN_FACE_PIXELS = 12  # P-Net's window: smaller faces cannot be seen
TIME_SLACK_S = 1e-3  # a look that is due a rounding error later is due now


@dataclass(frozen=True)
class DetectionSettings:
    """How faces are looked for.

    Attributes:
        every_s: Time between two looks.
        afresh_s: Time between two searches of the whole frame while every known face can be followed. Following takes
            a tenth of the time of searching; a lost face is searched for at once.
        long_side: Long side of the picture that is searched for faces from `min_face` on, pixels.
        min_face: Side of the smallest face looked for, as a part of the frame's short side.
        far_face: The same at the first look, and after every `afresh_s` without a face. This search takes three times
            as long.
        max_gap_s: A face that is missed for no longer than this is taken to have stayed.
        min_sightings: A face seen in fewer looks is taken for an error of the detector (if there were twice as many).
    """

    every_s: float = 0.25
    afresh_s: float = 2.0
    long_side: int = 400
    min_face: float = 0.12
    far_face: float = 0.055
    max_gap_s: float = 1.0
    min_sightings: int = 3


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A kept frame without its boxes yet; `positions` are its places in the clip."""

    frame: Frame
    positions: Sequence[int]


@dataclass(frozen=True, eq=False)
class _Cut:
    """A face that is expected in a frame, before O-Net has judged it."""

    track: Track
    frame: Frame
    positions: Sequence[int]
    box: Float32[np.ndarray, " 4"]
    surely: bool
    view: View | None  # None: it would be the whole frame, too much to hold for a moment's work
    square: Float32[np.ndarray, " 4"]
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
        self._tracks: list[Track] = []
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._cuts: list[_Cut] = []
        self._max_wait = min(max(MAX_WAITING_BYTES // max(info.frame_bytes, 1), 2), MAX_WAITING_FRAMES)
        self._looks = 0
        self._looked_at_s = self._searched_at_s = self._found_at_s = self._empty_since_s = -float("inf")
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
        self._judge_cuts(all_of_them=True)
        least = min(self.settings.min_sightings, (self._looks + 1) // 2)
        return person_of([track for track in self._tracks if len(track.times_s) >= least])

    def _look(self, frame: Frame) -> None:
        """Follow the faces of the look before; search where one is lost, and now and then for others."""
        settings, time_s = self.settings, frame.time_s
        known = self._found_at(self._looked_at_s)
        if known:
            pause_s = settings.afresh_s
        elif time_s - self._found_at_s <= settings.max_gap_s + TIME_SLACK_S:
            pause_s = 0.0  # the face may come back in time to have been there all along
        else:
            pause_s = settings.max_gap_s / 2  # a find stands for so long around it: no need to search more often
        due = time_s - self._searched_at_s >= pause_s - TIME_SLACK_S
        self._looked_at_s = time_s
        if not known and not due:
            return
        self._looks += 1
        if known:
            squares = whole_squares(np.stack([track.boxes[-1] for track in known]))
            patches = np.stack([self._picture(frame, square, ONET_PIXELS) for square in squares])
            self._link(time_s, self.detector.follow(patches, squares).boxes)
        for track in self._far_and_lost(time_s):
            self._link(time_s, self._search_around(frame, track.boxes[-1]))
        if due or any(track.times_s[-1] < time_s for track in known):
            self._searched_at_s = time_s
            self._link(time_s, self._search(frame, settings.min_face))
        if not self._found_at(time_s) and time_s - self._empty_since_s >= settings.afresh_s - TIME_SLACK_S:
            self._empty_since_s = time_s
            self._link(time_s, self._search(frame, settings.far_face))
        if self._found_at(time_s):
            self._found_at_s = self._empty_since_s = time_s

    def _found_at(self, time_s: float) -> list[Track]:
        return [track for track in self._tracks if track.times_s[-1] == time_s]

    def _far_and_lost(self, time_s: float) -> list[Track]:
        """Faces missed now or a moment ago that are too small for the usual search; the few that were seen last."""
        usual = self.settings.min_face * min(self.info.width, self.info.height)
        missed = [t for t in self._tracks if 0 < time_s - t.times_s[-1] <= self.settings.max_gap_s + TIME_SLACK_S]
        far = [track for track in missed if track.last_side < usual]
        return sorted(far, key=lambda track: -track.times_s[-1])[:MAX_FAR_AND_LOST]

    def _search(self, frame: Frame, smallest: float) -> Float32[np.ndarray, "n 4"]:
        """Boxes of the whole frame's faces, in displayed pixels, from a part of the short side on."""
        long_side = self.settings.long_side * self.settings.min_face / smallest
        scale = min(long_side / max(self.info.width, self.info.height), 1.0)
        width, height = max(round(self.info.width * scale), 1), max(round(self.info.height * scale), 1)
        smallest_pixels = max(smallest * min(width, height), MIN_FACE_PIXELS)
        found = self.detector.detect(frame.rgb(width, height)[None], smallest_pixels)[0]
        return found.boxes * np.array([self.info.width / width, self.info.height / height] * 2, dtype=np.float32)

    def _search_around(self, frame: Frame, box: Float32[np.ndarray, " 4"]) -> Float32[np.ndarray, "n 4"]:
        """Boxes of the faces, in displayed pixels, near where one was, as far as they could continue its track."""
        window = with_margin(box, SAME_FACE_DISTANCE)
        pixels = round((1 + 2 * SAME_FACE_DISTANCE) * FACE_SHRINKS * RNET_PIXELS)
        found = self.detector.detect(self._picture(frame, window, pixels)[None], RNET_PIXELS)[0]
        return found.boxes * ((window[2] - window[0]) / pixels) + np.tile(window[:2], 2)

    def _link(self, time_s: float, found: Float32[np.ndarray, "n 4"]) -> None:
        """Give each face found to the track it continues, or to a new one; those known at this time are left out."""
        current = self._found_at(time_s)
        reach = np.array([self.info.width, self.info.height] * 2, dtype=np.float32)
        known = np.array([track.boxes[-1] for track in current], dtype=np.float32).reshape(-1, 4)
        new = unseen(np.clip(found, -0.5 * reach, 1.5 * reach), known)
        boxes = [box for box in new if min(box[2:] - box[:2]) >= 1]
        pairs = [(track.mismatch(box, time_s, self.settings.max_gap_s), i, j)
                 for i, track in enumerate(self._tracks) if track not in current
                 for j, box in enumerate(boxes)]  # fmt: skip
        taken_tracks: set[int] = set()
        taken_boxes: set[int] = set()
        for mismatch, i, j in sorted(pairs):
            if mismatch < float("inf") and i not in taken_tracks and j not in taken_boxes:
                self._tracks[i].add(time_s, boxes[j])
                taken_tracks.add(i)
                taken_boxes.add(j)
        for j, box in enumerate(boxes):
            if j not in taken_boxes:
                self._tracks.append(Track())
                self._tracks[-1].add(time_s, box)
        self._tracks = sorted(self._tracks, key=lambda track: -track.area)[:MAX_TRACKS]

    def _resolve(self, known_s: float, latest: int) -> None:
        """Crop the waiting frames up to a time, or up to an index where memory does not allow to wait longer."""
        while self._waiting:
            frame = self._waiting[0].frame
            if frame.time_s > known_s and frame.index > latest and self._waiting_bytes <= MAX_WAITING_BYTES:
                break
            self._waiting_bytes -= frame.bytes
            self._cuts += self._cut(self._waiting.popleft())
            self._judge_cuts(all_of_them=self._max_wait < JUDGE_BATCH)

    def _cut(self, waiting: _Waiting) -> Iterator[_Cut]:
        """The faces in one frame, as O-Net wants to see them."""
        frame = waiting.frame
        known = [(track, *at) for track in self._tracks if (at := track.box_at(frame.time_s, self.settings.max_gap_s))]
        known.sort(key=lambda entry: -float(np.prod(entry[1][2:] - entry[1][:2])))
        for track, box, surely in known[:MAX_CROPS_PER_FRAME]:
            square = whole_squares(box[None])[0]
            view = View.of(frame, self.info, with_margin(box, self.margin + SPARE_MARGIN))
            patch = view.picture(square, ONET_PIXELS)
            held = None if view.is_whole else view
            yield _Cut(track, frame, waiting.positions, box, surely, held, square, patch)

    def _picture(
        self, frame: Frame, box: Float32[np.ndarray, " 4"], pixels: int, held: View | None = None
    ) -> UInt8[np.ndarray, "p p 3"]:
        """What a square box, in displayed pixels, shows of a frame at its full resolution."""
        view = held if held is not None and held.shows(box) else View.of(frame, self.info, box)
        return view.picture(box, pixels)

    def _judge_cuts(self, *, all_of_them: bool) -> None:
        """Judge as many as fill a batch; or, if so many large frames cannot wait, all of them."""
        while len(self._cuts) >= JUDGE_BATCH or (all_of_them and self._cuts):
            self._judge(self._cuts[:JUDGE_BATCH])
            del self._cuts[:JUDGE_BATCH]

    def _judge(self, cuts: list[_Cut]) -> None:
        """Let O-Net say how sure it is of each face, and where it and its landmarks are; keep its picture."""
        filled = [*cuts, *cuts[:1] * (JUDGE_BATCH - len(cuts))]
        judged = self.detector.judge(np.stack([cut.patch for cut in filled]), np.stack([cut.square for cut in filled]))
        for i, cut in enumerate(cuts):
            agrees = bool(judged.scores[i] > ONET_THRESHOLD)
            if agrees or cut.surely:
                box, score = (judged.boxes[i], float(judged.scores[i])) if agrees else (cut.box, float("nan"))
                picture = self._picture(cut.frame, with_margin(box, self.margin), self.pixels, cut.view)
                crop = FaceCrop(encoded(picture, self.jpeg_quality), box, judged.landmarks[i], score)
                cut.track.crops |= dict.fromkeys(cut.positions, crop)
