"""Face tracking with detectors whose results the test decides, and crops."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
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
from crnet.media.orientation import Orientation
from crnet.media.settings import DetectionSettings
from crnet.media.timeline import Timeline
from crnet.media.video import VideoInfo

FPS = 20
WIDTH, HEIGHT = 400, 200  # the reduced frame has the same size, so boxes need no scaling
NEAR_PIXELS = 0.12 * HEIGHT  # the smallest face of the usual search
Box = tuple[float, float, float, float]
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


@dataclass
class ScriptedDetector:
    """Detects `boxes_at(number)` in the frame whose red level is `number`, with the scores that the test sets."""

    boxes_at: Any
    score: float = 0.9
    offset: tuple[float, float, float, float] = (0, 0, 0, 0)
    passes: list[int] = field(default_factory=list)
    searches: list[int] = field(default_factory=list)
    far_searches: list[int] = field(default_factory=list)

    def follow(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        detections = self.detect(patches[0], NEAR_PIXELS)
        self.searches.pop()
        if len(detections) <= len(boxes):
            return detections
        return Detections(*(array[: len(boxes)] for array in vars(detections).values()))

    def detect(self, image: np.ndarray, min_face_pixels: float) -> Detections:
        number = int(image[0, 0, 0])
        (self.searches if min_face_pixels == NEAR_PIXELS else self.far_searches).append(number)
        self.passes += [number] if number not in self.passes[-1:] else []
        boxes = np.array(self.boxes_at(number), np.float32).reshape(-1, 4)
        return Detections(boxes, np.ones(len(boxes), np.float32), np.zeros((len(boxes), 5, 2), np.float32))

    def judge(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        count = len(boxes)
        centres = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        corrected = boxes + np.array(self.offset, np.float32)
        return Detections(corrected, np.full(count, self.score, np.float32), np.repeat(centres, 5, axis=1))


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
    duration_s, clock = len(times_s) / FPS, Timeline(0.0)
    return VideoInfo(
        Path("x"),
        WIDTH,
        HEIGHT,
        FPS,
        times_s,
        duration_s,
        False,
        Orientation(),
        False,
        False,
        None,
        clock,
        0,
        frame_bytes,
    )


def follow(
    detector: ScriptedDetector, count: int, *, keep: set[int] | None = None, frame_bytes: int = 1000
) -> PersonCrops:
    times_s = np.arange(count) / FPS
    info = video(times_s, frame_bytes)
    settings = DetectionSettings(detect_interval_s=0.2, long_side=WIDTH, max_gap_s=1.0)
    tracker = FaceTracker(detector, info, settings, pixels=16, margin=0.25, jpeg_quality=90)  # type: ignore[arg-type]
    for i in range(count):
        is_kept = keep is None or i in keep
        tracker.add(PlainFrame(i, frame_bytes), [i] if is_kept else [], last=i == count - 1)  # type: ignore[arg-type]
    return tracker.finish()


def at(x: float, y: float, side: float = 40) -> Box:
    return (x, y, x + side, y + side)


def test_detection_passes_follow_time_and_include_the_last_frame() -> None:
    detector = ScriptedDetector(lambda _: [at(10, 10)])
    follow(detector, 11)
    assert detector.passes == [0, 4, 8, 10]


def test_known_faces_are_followed_and_lost_ones_searched_for() -> None:
    detector = ScriptedDetector(lambda i: [] if 62 <= i < 70 else [at(10, 10)])
    follow(detector, 100)
    # At the start, every 2 s (40 frames), and at each pass while the face is lost: at 64, 68 and, found again, 72.
    assert detector.searches == [0, 40, 64, 68, 72]
    assert detector.passes == [*range(0, 100, 4), 99]


def test_without_a_face_searches_are_less_frequent() -> None:
    detector = ScriptedDetector(lambda _: [])
    follow(detector, 50)
    assert detector.searches == [0, 12, 24, 36, 48]  # every half second, at the next pass
    assert detector.far_searches == [0, 48]  # at once, and after two seconds


class BlindDetector:
    """Finds nothing, and counts how often it looks."""

    looks = 0

    def detect(self, image: np.ndarray, min_face_pixels: float) -> Detections:
        self.looks += 1
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


@dataclass(frozen=True)
class SlowFrame(PlainFrame):
    """A frame of a video with two frames a second, of which the detector sees one pixel."""

    @property
    def time_s(self) -> float:
        return self.index / 2

    def rgb(self, width: int, height: int) -> np.ndarray:
        return np.zeros((1, 1, 3), np.uint8)


def looks_without_a_face(seconds: int) -> int:
    info, detector = video(np.arange(2 * seconds) / 2, 1000), BlindDetector()
    tracker = FaceTracker(detector, info, DetectionSettings(), pixels=16, margin=0.25, jpeg_quality=90)  # type: ignore[arg-type]
    for i in range(2 * seconds):
        tracker.add(SlowFrame(i), [], last=i == 2 * seconds - 1)  # type: ignore[arg-type]
    return detector.looks


def test_hours_without_a_face_cost_little_more_than_minutes() -> None:
    # For 32 s, a search every half second and one for distant faces every two seconds: 64 and 16.
    assert looks_without_a_face(32) == 64 + 16
    # The pause of both is a 64th of the time so far from 32 s and from 128 s on. Three hours are 5.8 natural logarithms
    # more than 32 s, and 4.4 more than 128 s: at most 64 * 5.83 = 373 searches, and 48 + 64 * 4.44 = 332 for distant
    # faces.
    assert 500 < looks_without_a_face(3 * 3600) < 80 + 373 + 332 + 30


def test_distant_faces_are_searched_for_only_without_a_nearer_one() -> None:
    detector = ScriptedDetector(lambda i: [at(10, 10)] if i < 60 else [])
    follow(detector, 120)
    assert detector.far_searches == [100]  # the last detection is at 56, two seconds before 96


def test_the_next_search_finds_a_second_face() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10, 10), at(200, 10)] if i >= 8 else [at(10, 10)]), 100)
    assert result.people == 2


def test_boxes_are_interpolated_between_passes() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10 + 2 * i, 10)]), 31)
    assert sorted(result.crops) == list(range(31)) and result.people == 1
    for i, crop in result.crops.items():
        np.testing.assert_allclose(crop.box, at(10 + 2 * i, 10), atol=1e-3)
        np.testing.assert_allclose(crop.landmarks[0], (30 + 2 * i, 30), atol=1e-3)
        assert crop.score == pytest.approx(0.9)
        picture = simplejpeg.decode_jpeg(crop.jpeg, "RGB")
        assert picture.shape == (16, 16, 3) and abs(int(picture[8, 8, 0]) - i) <= 3


def test_onet_corrects_the_box() -> None:
    result = follow(ScriptedDetector(lambda _: [at(50, 50)], offset=(1, 2, 3, 4)), 30)
    np.testing.assert_allclose(result.crops[7].box, (51, 52, 93, 94))
    unconfirmed = follow(ScriptedDetector(lambda _: [at(50, 50)], offset=(1, 2, 3, 4), score=0.2), 30)
    np.testing.assert_allclose(unconfirmed.crops[7].box, at(50, 50))


def test_a_short_gap_is_interpolated() -> None:
    result = follow(ScriptedDetector(lambda i: [] if 10 <= i < 26 else [at(10 + i, 10)]), 60)  # detected at 8 and 28
    np.testing.assert_allclose(result.crops[18].box, at(28, 10), atol=1e-3)
    assert sorted(result.crops) == list(range(60))


def test_a_long_gap_is_not_interpolated() -> None:
    result = follow(ScriptedDetector(lambda i: [] if 10 <= i < 40 else [at(10, 10)]), 80)  # detected at 8 and 40
    expected = [*range(19), *range(30, 80)]  # half a second beyond the detections, because O-Net confirms the face
    assert sorted(result.crops) == expected


def test_beyond_a_detection_onet_must_confirm_the_face() -> None:
    detector = ScriptedDetector(lambda i: [] if 10 <= i < 40 else [at(10, 10)], score=0.2)
    result = follow(detector, 80)
    assert sorted(result.crops) == [*range(9), *range(40, 80)]
    assert np.isnan(result.crops[3].score)


def test_the_person_has_the_most_area_times_frames() -> None:
    small_always = at(300, 50, 30)  # 900 x 100 frames
    large_briefly = at(50, 50, 60)  # 3,600 x 20 frames
    result = follow(ScriptedDetector(lambda i: [small_always] + [large_briefly] * (i < 20)), 100)
    np.testing.assert_allclose(result.crops[60].box, small_always)
    assert len(result.crops) == 100 and result.people == 2
    result = follow(ScriptedDetector(lambda i: [small_always] + [large_briefly] * (i < 60)), 100)
    np.testing.assert_allclose(result.crops[10].box, large_briefly)
    assert 90 not in result.crops


def test_a_small_face_in_the_background_is_not_a_second_person() -> None:
    assert follow(ScriptedDetector(lambda _: [at(50, 50, 80), at(300, 50, 20)]), 60).people == 1


def test_people_who_stand_still_are_not_confused() -> None:
    left, right = at(50, 50), at(150, 50)
    result = follow(ScriptedDetector(lambda i: [right, left] if i % 8 else [left, right, at(300, 100, 20)]), 60)
    centres = {round(float(crop.box[0])) for crop in result.crops.values()}
    assert len(centres) == 1 and result.people >= 2


def test_after_a_cut_the_same_person_may_be_elsewhere() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10, 10)] if i < 30 or i >= 60 else [at(300, 100, 80)]), 90)
    assert sorted(result.crops) == list(range(90)) and result.people == 1
    np.testing.assert_allclose(result.crops[45].box, at(300, 100, 80))
    np.testing.assert_allclose(result.crops[75].box, at(10, 10))


def test_a_much_larger_face_after_a_cut_is_another_person() -> None:
    result = follow(ScriptedDetector(lambda i: [at(10, 10)] if i < 80 else [at(200, 50, 110)]), 100)
    assert result.people == 2 and sorted(result.crops) == list(range(70, 100))  # O-Net confirms it shortly before too


def test_a_single_detection_counts_as_false() -> None:
    result = follow(ScriptedDetector(lambda i: [at(50, 50, 90)] if i == 20 else []), 60)
    assert result.crops == {} and result.people == 0


def test_a_face_in_a_video_of_one_frame_counts() -> None:
    result = follow(ScriptedDetector(lambda _: [at(50, 50)]), 1)
    assert list(result.crops) == [0]


def test_without_a_face_there_are_no_crops() -> None:
    result = follow(ScriptedDetector(lambda _: []), 40)
    assert result.crops == {} and result.people == 0


@pytest.mark.parametrize("frame_bytes", [1000, face_tracking.MAX_WAITING_BYTES // 6, face_tracking.MAX_WAITING_BYTES])
def test_a_crop_does_not_depend_on_other_kept_frames(frame_bytes: int) -> None:
    def boxes(i: int) -> list[Box]:
        return [] if 30 <= i < 40 else [at(10 + i * i / 40, 20 + i / 2)]

    all_frames = follow(ScriptedDetector(boxes), 90, frame_bytes=frame_bytes)
    some_frames = follow(ScriptedDetector(boxes), 90, keep={0, 7, 33, 50, 51, 89}, frame_bytes=frame_bytes)
    assert sorted(some_frames.crops) == [i for i in sorted(all_frames.crops) if i in {0, 7, 33, 50, 51, 89}]
    for i, crop in some_frames.crops.items():
        assert crop.jpeg == all_frames.crops[i].jpeg and (crop.box == all_frames.crops[i].box).all()


def test_the_number_of_waiting_frames_is_bounded() -> None:
    waiting: list[int] = []

    class RecordingTracker(FaceTracker):
        def _resolve(self, resolved_s: float, latest: int) -> None:
            super()._resolve(resolved_s, latest)
            waiting.append(len(self._waiting))

    info = video(np.arange(100) / FPS, face_tracking.MAX_WAITING_BYTES // 5)
    detector: Any = ScriptedDetector(lambda _: [at(10, 10)])
    tracker = RecordingTracker(detector, info, DetectionSettings(), pixels=16, margin=0.2, jpeg_quality=90)
    for i in range(100):
        frame: Any = PlainFrame(i, face_tracking.MAX_WAITING_BYTES // 5)
        tracker.add(frame, [i], last=i == 99)
    assert max(waiting) <= 5 and waiting[-1] == 0
    assert len(tracker.finish().crops) == 100


@dataclass(frozen=True)
class SquareFrame:
    """A black frame of 640x360 with a white square, the face."""

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
class SquareDetector:
    """Detects white squares of at least the requested size."""

    searches: list[tuple[int, int]] = field(default_factory=list)  # width of the picture, smallest face

    def detect(self, image: np.ndarray, min_face_pixels: float) -> Detections:
        self.searches.append((image.shape[1], round(min_face_pixels)))
        detections = self.judge(image[None], np.array([[0, 0, image.shape[1], image.shape[0]]], np.float32))
        heights = detections.boxes[:, 3] - detections.boxes[:, 1]
        large = (heights >= min_face_pixels) & (detections.scores > 0.5)
        return Detections(detections.boxes[large], detections.scores[large], detections.landmarks[large])

    def follow(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        detections = self.judge(patches, boxes)
        keep = detections.scores > 0.5
        return Detections(detections.boxes[keep], detections.scores[keep], detections.landmarks[keep])

    def judge(self, patches: np.ndarray, boxes: np.ndarray) -> Detections:
        corrected, scores = boxes.copy(), np.zeros(len(boxes), np.float32)
        for i, (patch, box) in enumerate(zip(patches, boxes, strict=True)):
            rows, columns = np.nonzero(patch[:, :, 0] > 127)
            scores[i] = len(rows) > 0.2 * 24 * 24
            if scores[i]:
                step = (box[2:] - box[:2]) / patch.shape[1::-1]
                low, high = (columns.min(), rows.min()), (columns.max() + 1, rows.max() + 1)
                corrected[i] = np.concatenate([box[:2] + step * low, box[:2] + step * high])
        return Detections(corrected, scores, np.zeros((len(boxes), 5, 2), np.float32))


class TestDistantFace:
    """A face of 24 pixels, while the usual search detects faces of 43 pixels and more."""

    def track(self, corner_at: Any) -> tuple[PersonCrops, list[tuple[int, int]]]:
        detector: Any = SquareDetector()
        info = replace(video(np.arange(100) / FPS, 1000), width=640, height=360)
        tracker = FaceTracker(detector, info, DetectionSettings(), pixels=16, margin=0.25, jpeg_quality=90)
        for i in range(100):
            x, y = corner_at(i)
            frame: Any = SquareFrame(i, at(x, y, 24))
            tracker.add(frame, [i], last=i == 99)
        return tracker.finish(), detector.searches

    def test_it_is_detected_and_followed_at_full_resolution(self) -> None:
        result, searches = self.track(lambda i: (100 + i / 4, 50))
        assert sorted(result.crops) == list(range(100)) and result.people == 1
        for i, crop in result.crops.items():
            np.testing.assert_allclose(crop.box, at(100 + i / 4, 50, 24), atol=2)  # in whole pixels
        # The usual search finds nothing, so a search for distant faces follows; after 2 and 4 s, usual ones for others.
        assert searches == [(400, 27), (640, 20), (400, 27), (400, 27)]

    def test_after_a_jump_it_is_searched_for_nearby(self) -> None:
        result, searches = self.track(lambda i: (100, 50) if i < 50 else (160, 80))  # at 2.5 s; 2.5 sides, 1.25 down
        assert sorted(result.crops) == list(range(100)) and result.people == 1
        np.testing.assert_allclose(result.crops[60].box, at(160, 80, 24), atol=1.5)
        assert searches == [(400, 27), (640, 20), (400, 27), (210, 24), (400, 27)]


class TestFrameRegion:
    """A region of 100 x 80 pixels in a frame of 400 x 200."""

    def region(self, corner: tuple[int, int]) -> FrameRegion:
        x, y = corner
        return FrameRegion(IMAGE[y : y + 80, x : x + 100], corner, (400, 200), np.ones(4, np.float32))

    @pytest.mark.parametrize(
        ("corner", "box", "contained"),
        [
            ((30, 20), (30, 20, 130, 100), True),
            ((30, 20), (29, 20, 130, 100), False),
            ((30, 20), (30, 20, 130, 101), False),
            ((0, 0), (-20, -5, 80, 70), True),  # there are no pixels beyond the edge of the frame
            ((0, 20), (-20, 19, 80, 90), False),
            ((300, 120), (310, 130, 460, 280), True),
        ],
    )
    def test_a_crop_of_a_contained_box_is_that_of_the_whole_frame(
        self, corner: tuple[int, int], box: tuple[float, ...], contained: bool
    ) -> None:
        region, box_array = self.region(corner), np.array(box, np.float32)
        assert region.contains(box_array) is contained
        assert np.array_equal(region.crop(box_array, 24), crop_resize(IMAGE, box_array, 24)) is contained

    def test_is_whole_only_for_the_whole_frame(self) -> None:
        assert not self.region((0, 0)).is_whole
        assert FrameRegion(IMAGE, (0, 0), (400, 200), np.ones(4, np.float32)).is_whole

    def test_boxes_are_in_displayed_pixels(self) -> None:
        region = FrameRegion(IMAGE[20:100, 30:130], (30, 20), (400, 200), np.array([2, 1, 2, 1], np.float32))
        assert region.contains(np.array([15, 20, 65, 100], np.float32))
        expected = crop_resize(IMAGE, np.array([40, 30, 60, 50], np.float32), 24)
        assert (region.crop(np.array([20, 30, 30, 50], np.float32), 24) == expected).all()


class TestCropResize:
    def test_a_crop_inside_the_image_is_exact(self) -> None:
        image = np.arange(10 * 12 * 3, dtype=np.uint8).reshape(10, 12, 3) % 251
        box = np.array([2, 3, 6, 7], np.float32)
        assert (crop_resize(image, box, 4) == image[3:7, 2:6]).all()

    def test_edge_pixels_are_repeated_outside_the_image(self) -> None:
        image = np.arange(100, dtype=np.uint8).reshape(10, 10, 1).repeat(3, axis=2)
        crop = crop_resize(image, np.array([-2, -2, 2, 2], np.float32), 4)
        assert crop[:, :, 0].tolist() == [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [10, 10, 10, 11]]
        outside = crop_resize(image, np.array([20, 20, 24, 24], np.float32), 4)
        assert (outside == 99).all()

    def test_reduction_is_antialiased(self) -> None:
        stripes = np.zeros((64, 64, 3), np.uint8)
        stripes[:, ::2] = 200
        crop = crop_resize(stripes, np.array([0, 0, 64, 64], np.float32), 8)
        assert np.abs(crop.astype(int) - 100).max() < 12

    def test_the_smallest_box_is_one_pixel(self) -> None:
        image = np.full((1, 1, 3), 9, np.uint8)
        assert (crop_resize(image, np.array([0.4, 0.4, 0.4, 0.4], np.float32), 8) == 9).all()
