"""Which finds of the detector are one face's, and which faces are the clip's one person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

OTHER_PERSON_AREA = 0.15  # of the person's area x frames: smaller faces are no second person

# A face found continues a track if it is this near to its last find (in sides of the box; people walk and cameras pan)
# and of like size. A face that was lost for longer than the gap must come back where it was.
SAME_FACE_DISTANCE, SAME_FACE_DISTANCE_LOST = 3.0, 0.5
SAME_FACE_GROWTH = 1.6
SAME_PERSON_GROWTH = 2.5  # a cut may bring the camera nearer


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
class Track:
    """One face's finds in order of time, and its crops."""

    times_s: list[float] = field(default_factory=list)
    boxes: list[Float32[np.ndarray, " 4"]] = field(default_factory=list)
    area: float = 0.0  # sum over the finds
    crops: dict[int, FaceCrop] = field(default_factory=dict)

    @property
    def side(self) -> float:
        """Typical side of the box, displayed pixels."""
        return float(np.sqrt(self.area / len(self.boxes)))

    @property
    def last_side(self) -> float:
        """Side of the last box."""
        return float(np.sqrt(np.prod(self.boxes[-1][2:] - self.boxes[-1][:2])))

    def add(self, time_s: float, box: Float32[np.ndarray, " 4"]) -> None:
        """The next find, later than those before."""
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

    def mismatch(self, box: Float32[np.ndarray, " 4"], time_s: float, max_gap_s: float) -> float:
        """How badly a box continues the track, infinite if it does not: distance in sides; ones lost for long are last.

        Args:
            box: Found at `time_s`.
            time_s: Later than all finds.
            max_gap_s: A face missed for longer is lost.
        """
        last = self.boxes[-1]
        sides = np.sqrt([np.prod(b[2:] - b[:2]) for b in (last, box)])
        distance = float(np.hypot(*((box[:2] + box[2:]) - (last[:2] + last[2:])))) / 2 / float(sides.mean())
        lost = time_s - self.times_s[-1] > max_gap_s
        limit = SAME_FACE_DISTANCE_LOST if lost else SAME_FACE_DISTANCE
        if distance > limit or sides.max() > SAME_FACE_GROWTH * sides.min():
            return float("inf")
        return distance + (SAME_FACE_DISTANCE if lost else 0.0)


def person_of(tracks: Sequence[Track]) -> FaceTrack:
    """The person is the face with the most area x frames, and every face of like size that is never seen beside it.

    People talk to the camera in several takes: after a cut the same face is elsewhere, nearer or further away. Two
    people who are shown by turns pass for one: who a face belongs to, the detector cannot tell.
    """
    if not tracks:
        return FaceTrack({}, 0)
    person: list[Track] = []
    others: list[Track] = []
    for track in sorted(tracks, key=lambda track: -track.area):
        (person if all(_may_be_one_person(track, part) for part in person) else others).append(track)
    crops: dict[int, FaceCrop] = {}
    for part in person:
        for position, crop in part.crops.items():
            known = crops.get(position)
            if known is None or np.nan_to_num(crop.score) > np.nan_to_num(known.score):
                crops[position] = crop
    least = OTHER_PERSON_AREA * sum(part.area for part in person)
    return FaceTrack(crops, 1 + sum(track.area >= least for track in others))


def _may_be_one_person(one: Track, other: Track) -> bool:
    small, large = sorted((one.side, other.side))
    return large <= SAME_PERSON_GROWTH * small and set(one.times_s).isdisjoint(other.times_s)
