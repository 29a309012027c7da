"""Rows of the face tracker: quality and cost of its boxes, against the full detector on every frame."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement, Usage, medians, timed
from crnet.media.boxes import overlaps
from crnet.media.mtcnn import Mtcnn
from crnet.media.reader import face_tracker, read_video
from crnet.media.settings import MediaSettings
from crnet.media.video import decode, probe

IOU_GOAL, MISSED_GOAL, SAVING_GOAL = 0.85, 0.01, 300.0
DEFAULT_MIN_FACE_PIXELS = 20.0  # MTCNN's default for the smallest face
SAME_FACE_IOU = 0.5


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the rows for evenly spaced frames of the clip."""
    clip, effort = inputs.clip, inputs.effort
    media = read_video(clip)
    tracking = [_track(clip) for _ in range(effort.few_repeats)]
    indices = np.unique(np.linspace(0, len(media.time_s) - 1, effort.face_frames).round().astype(int))
    detected, detecting = _detect(clip, set(indices.tolist()))
    with_face = {index: boxes for index, boxes in detected.items() if len(boxes)}
    # The detector may also find a second person, or a face in a hand: compare with the box nearest to the tracked one.
    ious = np.array([best_overlap(boxes, media.face_box[index]) for index, boxes in with_face.items()])
    matched = ious[ious >= SAME_FACE_IOU]  # drops NaN, where nothing is tracked
    counts = {"frames": len(media.time_s), "frames_compared": len(detected), "frames_with_a_face": len(with_face)}
    per_clip, per_frame = medians("tracking_a_clip", tracking), medians("limit_a_frame", detecting)
    detail = counts | per_clip | per_frame
    limit = "the full detector on every frame at full resolution"
    iou = float(matched.mean()) if len(matched) else 0.0
    smallest = {"smallest_iou": round(float(matched.min(initial=1.0)), 3)}
    yield Measurement("faces: mean IoU", iou, "", IOU_GOAL, limit, at_least=True, detail=detail | smallest)
    missed = (len(with_face) - len(matched)) / max(len(with_face), 1)
    limit += f"; missed: no tracked box overlaps a detected one by {SAME_FACE_IOU:g} or more"
    yield Measurement("faces: missed", missed, "", MISSED_GOAL, limit, detail=detail)
    saving = per_frame["limit_a_frame_cpu_s"] * len(media.time_s) / per_clip["tracking_a_clip_cpu_s"]
    yield Measurement("faces: CPU saved", saving, "x", SAVING_GOAL, limit, at_least=True, detail=detail)


def _track(clip: Path) -> Usage:
    """Return the usage of finding, following and cropping the face in every frame of a clip, without the decoding."""
    info, settings = probe(clip), MediaSettings()
    tracker = face_tracker(Mtcnn(), info, settings)
    last = len(info.frame_times_s) - 1
    steps = [
        timed(partial(tracker.add, frame, [frame.index], last=frame.index == last)) for frame in decode(clip, info)
    ]
    return Usage(sum(step.cpu_s for step in steps), sum(step.wall_s for step in steps))


def _detect(clip: Path, indices: set[int]) -> tuple[dict[int, Float32[np.ndarray, "n 4"]], list[Usage]]:
    """Return the faces in these frames, in displayed pixels, and the usage of the full detector in each."""
    detector = Mtcnn()
    boxes: dict[int, Float32[np.ndarray, "n 4"]] = {}

    def detect(index: int, image: UInt8[np.ndarray, "H W 3"]) -> None:
        boxes[index] = detector.detect(image, DEFAULT_MIN_FACE_PIXELS).boxes

    usages = [timed(partial(detect, frame.index, frame.rgb_full()))
              for frame in decode(clip, probe(clip)) if frame.index in indices]  # fmt: skip
    return boxes, usages


def best_overlap(boxes: Float32[np.ndarray, "n 4"], box: Float32[np.ndarray, " 4"]) -> float:
    """Return the largest IoU of `box` with any of `boxes`: 0 if there are none, NaN if `box` is NaN."""
    if not len(boxes):
        return 0.0
    return float(overlaps(np.concatenate([boxes, box[None]]), over_smaller=False)[-1, :-1].max())
