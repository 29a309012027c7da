"""Link detections of the same face into tracks, and choose which tracks are the clip's one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float32

OTHER_PERSON_AREA = 0.15  # share of the person's area x frames from which another face counts as a second person

# A detection continues a track if it is this near to the track's last one (in sides of the box; people walk and cameras
# pan) and of similar size. A face lost for longer than the gap must return where it was.
SAME_FACE_DISTANCE, SAME_FACE_DISTANCE_LOST = 3.0, 0.5
SAME_FACE_GROWTH = 1.6
SAME_PERSON_GROWTH = 2.5  # a cut may bring the camera nearer


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """The face in one frame.

    Attributes:
        jpeg: The picture.
        box: float32 [4], x0 y0 x1 y1 in displayed pixels.
        landmarks: float32 [5, 2], displayed pixels.
        score: Confidence of the detector; NaN if the box is interpolated.
    """

    jpeg: bytes
    box: Float32[np.ndarray, " 4"]
    landmarks: Float32[np.ndarray, "5 2"]
    score: float


@dataclass(frozen=True, eq=False)
class PersonCrops:
    """The face crops of the clip's person.

    Attributes:
        crops: The crop for each position in the clip where the face is in view.
        people: Number of faces in view for a good part of the person's time, the person included; 0 without a face.
    """

    crops: dict[int, FaceCrop]
    people: int


@dataclass(eq=False)
class FaceTrack:
    """The detections of one face in order of time, and its crops."""

    times_s: list[float] = field(default_factory=list)
    boxes: list[Float32[np.ndarray, " 4"]] = field(default_factory=list)
    area: float = 0.0  # sum over the detections
    crops: dict[int, FaceCrop] = field(default_factory=dict)

    @property
    def side(self) -> float:
        """Typical side of the box, displayed pixels."""
        return float(np.sqrt(self.area / len(self.boxes)))

    @property
    def last_side(self) -> float:
        """Side of the last box, displayed pixels."""
        return float(np.sqrt(np.prod(self.boxes[-1][2:] - self.boxes[-1][:2])))

    def add(self, time_s: float, box: Float32[np.ndarray, " 4"]) -> None:
        """Append a detection that is later than all others."""
        self.times_s.append(time_s)
        self.boxes.append(box)
        self.area += float(np.prod(box[2:] - box[:2]))

    def box_at(self, time_s: float, max_gap_s: float) -> tuple[Float32[np.ndarray, " 4"], bool] | None:
        """Return the box at a time and whether it is interpolated; None if the face is not in view.

        At a detection, or between two that are at most `max_gap_s` apart, the box is interpolated and the face counts
        as present. Up to half a gap beyond a detection its box is repeated, and O-Net must confirm the face.
        """
        after = int(np.searchsorted(self.times_s, time_s))
        if after < len(self.times_s) and self.times_s[after] == time_s:
            return self.boxes[after], True
        if 0 < after < len(self.times_s):
            span_s = self.times_s[after] - self.times_s[after - 1]
            if span_s <= max_gap_s:
                part = np.float32((time_s - self.times_s[after - 1]) / span_s)
                return self.boxes[after - 1] * (1 - part) + self.boxes[after] * part, True
        neighbours = [i for i in (after - 1, after) if 0 <= i < len(self.times_s)]
        best = min(neighbours, key=lambda i: abs(self.times_s[i] - time_s))
        return (self.boxes[best], False) if abs(self.times_s[best] - time_s) <= max_gap_s / 2 else None

    def mismatch(self, box: Float32[np.ndarray, " 4"], time_s: float, max_gap_s: float) -> float:
        """Return how badly a box continues the track: its distance in sides, more for a lost face, or infinity.

        Args:
            box: A detection at `time_s`.
            time_s: Later than all detections of the track.
            max_gap_s: A face missed for longer is lost.
        """
        last = self.boxes[-1]
        sides = np.sqrt([np.prod(b[2:] - b[:2]) for b in (last, box)])
        distance = float(np.hypot(*((box[:2] + box[2:]) - (last[:2] + last[2:])))) / 2 / float(sides.mean())
        is_lost = time_s - self.times_s[-1] > max_gap_s
        limit = SAME_FACE_DISTANCE_LOST if is_lost else SAME_FACE_DISTANCE
        if distance > limit or sides.max() > SAME_FACE_GROWTH * sides.min():
            return float("inf")
        return distance + (SAME_FACE_DISTANCE if is_lost else 0.0)


def link_detections(
    tracks: Sequence[FaceTrack], boxes: Sequence[Float32[np.ndarray, " 4"]], time_s: float, max_gap_s: float
) -> list[FaceTrack]:
    """Add each box to the track that it continues best, and return new tracks for the other boxes.

    Args:
        tracks: Tracks without a detection at `time_s`; each gets one box at most.
        boxes: Faces detected at `time_s`.
        time_s: Later than all detections of the tracks.
        max_gap_s: A face missed for longer is lost.
    """
    mismatches = sorted(
        (track.mismatch(box, time_s, max_gap_s), i, j) for i, track in enumerate(tracks) for j, box in enumerate(boxes)
    )
    linked_tracks: set[int] = set()
    linked_boxes: set[int] = set()
    for mismatch, i, j in mismatches:
        if mismatch < float("inf") and i not in linked_tracks and j not in linked_boxes:
            tracks[i].add(time_s, boxes[j])
            linked_tracks.add(i)
            linked_boxes.add(j)
    new_tracks = []
    for j, box in enumerate(boxes):
        if j not in linked_boxes:
            new_tracks.append(FaceTrack())
            new_tracks[-1].add(time_s, box)
    return new_tracks


def choose_person(tracks: Sequence[FaceTrack]) -> PersonCrops:
    """Choose the clip's person: the face with the most area x frames, joined with similar faces never in view with it.

    People talk to the camera in several takes: after a cut the same face is elsewhere, nearer or further away. Two
    people who appear in turn count as one, because the detector cannot tell faces apart.
    """
    if not tracks:
        return PersonCrops({}, 0)
    person: list[FaceTrack] = []
    others: list[FaceTrack] = []
    for track in sorted(tracks, key=lambda track: -track.area):
        (person if all(_may_be_same_person(track, part) for part in person) else others).append(track)
    crops: dict[int, FaceCrop] = {}
    for part in person:
        for position, crop in part.crops.items():
            current = crops.get(position)
            if current is None or np.nan_to_num(crop.score) > np.nan_to_num(current.score):
                crops[position] = crop
    smallest = OTHER_PERSON_AREA * sum(part.area for part in person)
    return PersonCrops(crops, 1 + sum(track.area >= smallest for track in others))


def _may_be_same_person(track: FaceTrack, other: FaceTrack) -> bool:
    small, large = sorted((track.side, other.side))
    return large <= SAME_PERSON_GROWTH * small and set(track.times_s).isdisjoint(other.times_s)
