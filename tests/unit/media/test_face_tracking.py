"""Following one face: by hand, with a detector that says what the test wants."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from crnet.media import face_tracking
from crnet.media.crops import FrameRegion, crop_resize
from crnet.media.face_linking import PersonCrops
from crnet.media.face_tracking import FaceTracker
from crnet.media.mtcnn import Detections
from crnet.media.settings import DetectionSettings
from crnet.media.video import VideoInfo

FPS = 20
WIDTH, HEIGHT = 400, 200  # the small frame has the same size, so boxes need no scaling
NEAR_PIXELS = 0.12 * HEIGHT  # the smallest face of the usual search
Box = tuple[float, float, float, float]
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@dataclass
class ScriptedDetector:
    """Finds `boxes_at(number)` in the frame whose red level is `number`; judges by what the test says."""

    boxes_at: Any
    judged: float = 0.9
    moved: tuple[float, float, float, float] = (0, 0, 0, 0)
    looks: list[int] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)
    far_searches: list[int] = field(default_factory=list)

    def follow(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        found = self.detect(patches[:1], NEAR_PIXELS)[0]
        self.searches.pop()
        return found if len(found) <= len(boxes) else Detections(*(part[: len(boxes)] for part in vars(found).values()))

    def detect(self, images: np.ndarray, min_face_pixels: float) -> list[Detections]:
        results = []
        for image in images:
            number = int(image[0, 0, 0])
            (self.searches if min_face_pixels == NEAR_PIXELS else self.far_searches).append(number)
            self.looks += [number] if number not in self.looks[-1:] else []
            boxes = np.array(self.boxes_at(number), np.float32).reshape(-1, 4)
            results.append(Detections(boxes, np.ones(len(boxes), np.float32), np.zeros((len(boxes), 5, 2), np.float32)))
        return results

    def judge(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        count = len(boxes)
        centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        moved = boxes + np.array(self.moved, np.float32)
        return Detections(moved, np.full(count, self.judged, np.float32), np.repeat(centres, 5, axis=1))


@dataclass(frozen=True)
class PlainFrame:
    """A frame whose red level is its number."""

    index: int
    bytes: int = 1000

    @property
    def time_s(self) -> float:
        return self.index / FPS

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.full((height, width, 3), (self.index, 0, 0), np.uint8)

    stored_size = WIDTH, HEIGHT

    def rgb_part(self, box: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        return self.rgb(WIDTH, HEIGHT), (0, 0)


def video(times_s: np.ndarray, frame_bytes: int) -> VideoInfo:
    duration_s, tick = len(times_s) / FPS, Fraction(1, FPS)
    return VideoInfo(Path("x"), WIDTH, HEIGHT, FPS, times_s, duration_s, False, 0, False, False, 0, tick, frame_bytes)


def follow(
    detector: ScriptedDetector, count: int, *, keep: set[int] | None = None, frame_bytes: int = 1000
) -> PersonCrops:
    times_s = np.arange(count) / FPS
    info = video(times_s, frame_bytes)
    settings = DetectionSettings(detect_interval_s=0.2, long_side=WIDTH, max_gap_s=1.0)
    tracker = FaceTracker(detector, info, settings, pixels=16, margin=0.25, jpeg_quality=90)  # type: ignore[arg-type]
    for i in range(count):
        kept = keep is None or i in keep
        tracker.add(PlainFrame(i, frame_bytes), [i] if kept else [], last=i == count - 1)  # type: ignore[arg-type]
    return tracker.finish()


def at(x: float, y: float, side: float = 40) -> Box:
    return (x, y, x + side, y + side)


def test_looks_follow_time_and_end_with_the_last_frame() -> None:
    detector = ScriptedDetector(lambda _: [at(10, 10)])
    follow(detector, 11)
    assert detector.looks == [0, 4, 8, 10]


def test_known_faces_are_followed_and_searched_for_where_lost() -> None:
    detector = ScriptedDetector(lambda i: [] if 62 <= i < 70 else [at(10, 10)])
    follow(detector, 100)
    # At the start, every 2 s (40 frames), and at each look while the face is lost: at 64, 68 and, found again, 72.
    assert detector.searches == [0, 40, 64, 68, 72]
    assert detector.looks == [*range(0, 100, 4), 99]


def test_without_a_face_the_search_slows_down() -> None:
    detector = ScriptedDetector(lambda _: [])
    follow(detector, 50)
    assert detector.searches == [0, 12, 24, 36, 48]  # every half second, at the next look
    assert detector.far_searches == [0, 48]  # at once, and after two seconds


def test_far_faces_matter_only_where_there_is_none_nearer() -> None:
    detector = ScriptedDetector(lambda i: [at(10, 10)] if i < 60 else [])
    follow(detector, 120)
    assert detector.far_searches == [100]  # the last find is at 56; from 96 on it is two seconds ago


def test_a_second_face_is_found_by_the_next_search() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10, 10), at(200, 10)] if i >= 8 else [at(10, 10)]), 100)
    assert result.people == 2


def test_boxes_are_interpolated_between_looks() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10 + 2 * i, 10)]), 31)
    assert sorted(result.crops) == list(range(31)) and result.people == 1
    for i, crop in result.crops.items():
        np.testing.assert_allclose(crop.box, at(10 + 2 * i, 10), atol=1e-3)
        np.testing.assert_allclose(crop.landmarks[0], (30 + 2 * i, 30), atol=1e-3)
        assert crop.score == pytest.approx(0.9)
        picture = simplejpeg.decode_jpeg(crop.jpeg, "RGB")
        assert picture.shape == (16, 16, 3) and abs(int(picture[8, 8, 0]) - i) <= 3


def test_the_judge_puts_the_box_right() -> None:
    result = follow(ScriptedDetector(lambda _: [at(50, 50)], moved=(1, 2, 3, 4)), 30)
    np.testing.assert_allclose(result.crops[7].box, (51, 52, 93, 94))
    unsure = follow(ScriptedDetector(lambda _: [at(50, 50)], moved=(1, 2, 3, 4), judged=0.2), 30)
    np.testing.assert_allclose(unsure.crops[7].box, at(50, 50))


def test_a_short_miss_is_bridged() -> None:
    result = follow(ScriptedDetector(lambda i: [] if 10 <= i < 26 else [at(10 + i, 10)]), 60)  # finds at 8 and 28
    np.testing.assert_allclose(result.crops[18].box, at(28, 10), atol=1e-3)
    assert sorted(result.crops) == list(range(60))


def test_a_long_miss_is_not() -> None:
    result = follow(ScriptedDetector(lambda i: [] if 10 <= i < 40 else [at(10, 10)]), 80)  # finds at 8 and 40
    expected = [*range(19), *range(30, 80)]  # half a second beyond the finds, since the judge agrees
    assert sorted(result.crops) == expected


def test_beyond_the_finds_the_judge_must_agree() -> None:
    detector = ScriptedDetector(lambda i: [] if 10 <= i < 40 else [at(10, 10)], judged=0.2)
    result = follow(detector, 80)
    assert sorted(result.crops) == [*range(9), *range(40, 80)]
    assert np.isnan(result.crops[3].score)


def test_the_person_has_most_area_times_frames() -> None:
    small_always = at(300, 50, 30)  # 900 x 100 frames
    large_briefly = at(50, 50, 60)  # 3,600 x 20 frames
    result = follow(ScriptedDetector(lambda i: [small_always] + [large_briefly] * (i < 20)), 100)
    np.testing.assert_allclose(result.crops[60].box, small_always)
    assert len(result.crops) == 100 and result.people == 2
    result = follow(ScriptedDetector(lambda i: [small_always] + [large_briefly] * (i < 60)), 100)
    np.testing.assert_allclose(result.crops[10].box, large_briefly)
    assert 90 not in result.crops


def test_a_stranger_in_the_background_is_no_second_person() -> None:
    assert follow(ScriptedDetector(lambda _: [at(50, 50, 80), at(300, 50, 20)]), 60).people == 1


def test_people_who_stand_still_are_not_mixed_up() -> None:
    left, right = at(50, 50), at(150, 50)
    result = follow(ScriptedDetector(lambda i: [right, left] if i % 8 else [left, right, at(300, 100, 20)]), 60)
    centres = {round(float(crop.box[0])) for crop in result.crops.values()}
    assert len(centres) == 1 and result.people >= 2


def test_after_a_cut_the_person_is_elsewhere() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10, 10)] if i < 30 or i >= 60 else [at(300, 100, 80)]), 90)
    assert sorted(result.crops) == list(range(90)) and result.people == 1
    np.testing.assert_allclose(result.crops[45].box, at(300, 100, 80))
    np.testing.assert_allclose(result.crops[75].box, at(10, 10))


def test_a_much_larger_face_after_a_cut_is_someone_else() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10, 10)] if i < 80 else [at(200, 50, 110)]), 100)
    assert result.people == 2 and sorted(result.crops) == list(range(70, 100))  # where the judge agrees, a bit before


def test_a_find_that_comes_once_is_an_error() -> None:
    result = follow(ScriptedDetector(lambda i: [at(50, 50, 90)] if i == 20 else []), 60)
    assert result.crops == {} and result.people == 0


def test_a_face_in_a_single_frame_counts() -> None:
    result = follow(ScriptedDetector(lambda _: [at(50, 50)]), 1)
    assert list(result.crops) == [0]


def test_no_face() -> None:
    result = follow(ScriptedDetector(lambda _: []), 40)
    assert result.crops == {} and result.people == 0


@pytest.mark.parametrize("frame_bytes", [1000, face_tracking.MAX_WAITING_BYTES // 6, face_tracking.MAX_WAITING_BYTES])
def test_what_else_is_kept_changes_nothing(frame_bytes: int) -> None:
    def boxes(i: int) -> list[Box]:
        return [] if 30 <= i < 40 else [at(10 + i * i / 40, 20 + i / 2)]

    whole = follow(ScriptedDetector(boxes), 90, frame_bytes=frame_bytes)
    part = follow(ScriptedDetector(boxes), 90, keep={0, 7, 33, 50, 51, 89}, frame_bytes=frame_bytes)
    assert sorted(part.crops) == [i for i in sorted(whole.crops) if i in {0, 7, 33, 50, 51, 89}]
    for i, crop in part.crops.items():
        assert crop.jpeg == whole.crops[i].jpeg and (crop.box == whole.crops[i].box).all()


def test_waiting_frames_are_bounded() -> None:
    waiting: list[int] = []

    class Watched(FaceTracker):
        def _resolve(self, known_s: float, latest_number: int) -> None:
            super()._resolve(known_s, latest_number)
            waiting.append(len(self._waiting))

    info = video(np.arange(100) / FPS, face_tracking.MAX_WAITING_BYTES // 5)
    detector: Any = ScriptedDetector(lambda _: [at(10, 10)])
    tracker = Watched(detector, info, DetectionSettings(), pixels=16, margin=0.2, jpeg_quality=90)
    for i in range(100):
        frame: Any = PlainFrame(i, face_tracking.MAX_WAITING_BYTES // 5)
        tracker.add(frame, [i], last=i == 99)
    assert max(waiting) <= 5 and waiting[-1] == 0
    assert len(tracker.finish().crops) == 100


@dataclass(frozen=True)
class SquareFrame:
    """A white square, the face, at a place and of a size of its own, on black; 640x360."""

    index: int
    face: Box
    bytes: int = 1000
    stored_size = 640, 360

    @property
    def time_s(self) -> float:
        return self.index / FPS

    def rgb(self, width: int, height: int) -> np.ndarray:
        x0, y0, x1, y1 = np.rint(np.array(self.face) * np.array([width / 640, height / 360] * 2)).astype(int)
        image = np.zeros((height, width, 3), np.uint8)
        image[y0:y1, x0:x1] = 255
        return image

    def rgb_part(self, box: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
        return self.rgb(640, 360), (0, 0)


@dataclass
class SquareFinder:
    """Finds white squares, none smaller than it is asked for."""

    searches: list[tuple[int, int]] = field(default_factory=list)  # width of the picture, smallest face

    def detect(self, images: np.ndarray, min_face_pixels: float) -> list[Detections]:
        self.searches.append((images.shape[2], round(min_face_pixels)))
        found = self.judge(images, np.array([[0, 0, images.shape[2], images.shape[1]]], np.float32))
        large = (found.boxes[:, 3] - found.boxes[:, 1] >= min_face_pixels) & (found.scores > 0.5)
        return [Detections(found.boxes[large], found.scores[large], found.landmarks[large])]

    def follow(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        found = self.judge(patches, boxes)
        kept = found.scores > 0.5
        return Detections(found.boxes[kept], found.scores[kept], found.landmarks[kept])

    def judge(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        moved, scores = boxes.copy(), np.zeros(len(boxes), np.float32)
        for i, (patch, box) in enumerate(zip(patches, boxes, strict=True)):
            rows, columns = np.nonzero(patch[:, :, 0] > 127)
            scores[i] = len(rows) > 0.2 * 24 * 24
            if scores[i]:
                step = (box[2:] - box[:2]) / patch.shape[1::-1]
                low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
                moved[i] = np.concatenate([box[:2] + step * low, box[:2] + step * high])
        return Detections(moved, scores, np.zeros((len(boxes), 5, 2), np.float32))


class TestFarFace:
    """Of 24 pixels, where the usual search looks for 43 and more."""

    def tracked(self, corner_at: Any) -> tuple[PersonCrops, list[tuple[int, int]]]:
        finder: Any = SquareFinder()
        info = replace(video(np.arange(100) / FPS, 1000), width=640, height=360)
        tracker = FaceTracker(finder, info, DetectionSettings(), pixels=16, margin=0.25, jpeg_quality=90)
        for i in range(100):
            x, y = corner_at(i)
            frame: Any = SquareFrame(i, at(x, y, 24))
            tracker.add(frame, [i], last=i == 99)
        return tracker.finish(), finder.searches

    def test_it_is_found_and_followed_at_full_resolution(self) -> None:
        result, searches = self.tracked(lambda i: (100 + i / 4, 50))
        assert sorted(result.crops) == list(range(100)) and result.people == 1
        for i, crop in result.crops.items():
            np.testing.assert_allclose(crop.box, at(100 + i / 4, 50, 24), atol=2)  # in whole pixels
        # The usual one finds nothing, so one for far faces follows; then the usual ones for others, after 2 and 4 s.
        assert searches == [(400, 27), (640, 20), (400, 27), (400, 27)]

    def test_where_it_jumps_it_is_searched_for_around(self) -> None:
        result, searches = self.tracked(lambda i: (100, 50) if i < 50 else (160, 80))  # at 2.5 s; 2.5 sides, 1.25 down
        assert sorted(result.crops) == list(range(100)) and result.people == 1
        np.testing.assert_allclose(result.crops[60].box, at(160, 80, 24), atol=1.5)
        assert searches == [(400, 27), (640, 20), (400, 27), (210, 24), (400, 27)]


class TestView:
    """Of a frame of 400 x 200 pixels, of which 100 x 80 are converted."""

    def view(self, corner: tuple[int, int]) -> FrameRegion:
        x, y = corner
        return FrameRegion(IMAGE[y : y + 80, x : x + 100], corner, (400, 200), np.ones(4, np.float32))

    @pytest.mark.parametrize(
        ("corner", "box", "shown"),
        [
            ((30, 20), (30, 20, 130, 100), True),
            ((30, 20), (29, 20, 130, 100), False),
            ((30, 20), (30, 20, 130, 101), False),
            ((0, 0), (-20, -5, 80, 70), True),  # beyond the frame's edge there is nothing else to see
            ((0, 20), (-20, 19, 80, 90), False),
            ((300, 120), (310, 130, 460, 280), True),
        ],
    )
    def test_what_it_shows_is_as_in_the_whole_frame(
        self, corner: tuple[int, int], box: tuple[float, ...], shown: bool
    ) -> None:
        view, where = self.view(corner), np.array(box, np.float32)
        assert view.contains(where) is shown
        assert np.array_equal(view.crop(where, 24), crop_resize(IMAGE, where, 24)) is shown

    def test_the_whole_frame_is_known_as_such(self) -> None:
        assert not self.view((0, 0)).is_whole
        assert FrameRegion(IMAGE, (0, 0), (400, 200), np.ones(4, np.float32)).is_whole

    def test_boxes_are_in_displayed_pixels(self) -> None:
        view = FrameRegion(IMAGE[20:100, 30:130], (30, 20), (400, 200), np.array([2, 1, 2, 1], np.float32))
        assert view.contains(np.array([15, 20, 65, 100], np.float32))
        expected = crop_resize(IMAGE, np.array([40, 30, 60, 50], np.float32), 24)
        assert (view.crop(np.array([20, 30, 30, 50], np.float32), 24) == expected).all()


class TestCutOut:
    def test_inside(self) -> None:
        image = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3) % 251
        box = np.array([2, 3, 6, 7], np.float32)
        assert (crop_resize(image, box, 4) == image[3:7, 2:6]).all()

    def test_beyond_the_edge_is_the_edge(self) -> None:
        image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
        crop = crop_resize(image, np.array([-2, -2, 2, 2], np.float32), 4)
        assert crop[:, :, 0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [10, 10, 10, 11]]
        outside = crop_resize(image, np.array([20, 20, 24, 24], np.float32), 4)
        assert (outside == 99).all()

    def test_shrinking_is_antialiased(self) -> None:
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 200
        crop = crop_resize(stripes, np.array([0, 0, 64, 64], np.float32), 8)
        assert np.abs(crop.astype(int) - 100).max() < 12

    def test_smallest(self) -> None:
        image = np.full((1, 1, 3), 9, np.uint8)
        assert (crop_resize(image, np.array([0.4, 0.4, 0.4, 0.4], np.float32), 8) == 9).all()
