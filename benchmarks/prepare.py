"""The rows of `prepare`: what a clip costs beyond decoding it, how good and cheap its face boxes are, its memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float32, UInt8

from benchmarks.clips import bare_decode, looped
from benchmarks.measurements import Figure, Spent, cpu_ratio, in_turn, medians, threads, timed
from crnet.media.mtcnn import Mtcnn, overlaps
from crnet.media.reader import face_tracker, read_video
from crnet.media.settings import MediaSettings
from crnet.media.video import decode, probe
from crnet.utils.executors import THREAD_VARIABLES

ALL_FRAMES_GOAL, FOUR_FRAMES_GOAL = 2.2, 1.6
IOU_GOAL, MISSES_GOAL, CHEAPER_GOAL = 0.85, 0.01, 300.0
MEMORY_GOAL_MIB, FLAT_GOAL = 400.0, 1.1
DEFAULT_MIN_FACE_PIXELS = 20.0  # the smallest face that MTCNN looks for unless told otherwise
SAME_FACE_IOU = 0.5
LONGER = 4  # times as long a clip, and as many of them, must not take more memory


def decoding_rows(clip: Path, repeats: int) -> Iterator[Figure]:
    """CPU seconds of reading a clip with all frames, and with four of each segment, over those of bare decoding."""
    with threads(1):
        bare, everything, four = in_turn(
            repeats,
            partial(bare_decode, clip),
            partial(read_video, clip),
            partial(read_video, clip, MediaSettings(frames_per_segment=4)),
        )
    for name, spent, goal in (("all frames", everything, ALL_FRAMES_GOAL), ("4 a segment", four, FOUR_FRAMES_GOAL)):
        detail = medians("work", spent) | medians("limit", bare) | {"repeats": repeats}
        limit = "CPU seconds of bare decoding of picture and sound"
        yield Figure(f"prepare: {name}", cpu_ratio(spent, bare), "x", goal, limit, detail=detail)


def face_rows(clip: Path, sampled: int, repeats: int) -> Iterator[Figure]:
    """Boxes of the tracker beside those of the whole detector on whole frames, of frames evenly chosen."""
    with threads(1):
        media = read_video(clip)
        tracking = [_tracking(clip) for _ in range(repeats)]
        chosen = np.unique(np.linspace(0, len(media.time_s) - 1, sampled).round().astype(int))
        exact, detecting = _exact_boxes(clip, set(chosen.tolist()))
    shown = {index: boxes for index, boxes in exact.items() if len(boxes)}
    # The detector may see a second person too, or a face in a hand: of its boxes, the one that the tracker means.
    overlaps = np.array([_best_overlap(boxes, media.face_box[index]) for index, boxes in shown.items()])
    found = overlaps >= SAME_FACE_IOU  # not where nothing is tracked: then it is NaN
    frames = len(media.time_s)
    per_clip, per_frame = medians("tracking_a_clip", tracking), medians("limit_a_frame", detecting)
    saved = per_frame["limit_a_frame_cpu_s"] * frames / per_clip["tracking_a_clip_cpu_s"]
    counts = {"frames": frames, "frames_compared": len(exact), "frames_with_a_face": len(shown)}
    detail = counts | per_clip | per_frame
    limit = "the whole detector on every frame at full resolution"
    iou = overlaps[found]
    mean_iou = float(iou.mean()) if len(iou) else 0.0
    worst = round(float(iou.min(initial=1.0)), 3)
    yield Figure(
        "faces: mean IoU", mean_iou, "", IOU_GOAL, limit, at_least=True, detail=detail | {"smallest_iou": worst}
    )
    share = float((~found).sum() / max(len(shown), 1))
    limit += f"; missed: no box, or one that overlaps none of its faces by {SAME_FACE_IOU:g}"
    yield Figure("faces: missed", share, "", MISSES_GOAL, limit, detail=detail)
    yield Figure("faces: CPU saved", saved, "x", CHEAPER_GOAL, limit, at_least=True, detail=detail)


def _tracking(clip: Path) -> Spent:
    """What finding, following and cutting out the face of every frame of a clip take, without the decoding."""
    info, settings = probe(clip), MediaSettings()
    tracker = face_tracker(Mtcnn(), info, settings)
    last = len(info.frame_times_s) - 1
    steps = [
        timed(partial(tracker.add, frame, [frame.index], last=frame.index == last)) for frame in decode(clip, info)
    ]
    return Spent(sum(step.cpu_s for step in steps), sum(step.wall_s for step in steps))


def _exact_boxes(clip: Path, chosen: set[int]) -> tuple[dict[int, Float32[np.ndarray, "n 4"]], list[Spent]]:
    """The faces of each chosen frame, in displayed pixels, and what finding them took in each."""
    detector = Mtcnn()
    boxes: dict[int, Float32[np.ndarray, "n 4"]] = {}

    def look(index: int, image: UInt8[np.ndarray, "H W 3"]) -> None:
        boxes[index] = detector.detect(image[None], DEFAULT_MIN_FACE_PIXELS).pop().boxes

    spent = [timed(partial(look, frame.index, frame.rgb_full()))
             for frame in decode(clip, probe(clip)) if frame.index in chosen]  # fmt: skip
    return boxes, spent


def _best_overlap(boxes: Float32[np.ndarray, "n 4"], box: Float32[np.ndarray, " 4"]) -> float:
    """The largest intersection over union of any of the boxes with one; NaN if that is."""
    return float(overlaps(np.concatenate([boxes, box[None]]), of_smaller=False)[-1, :-1].max())


def memory_rows(clip: Path, folder: Path, repeats: int) -> Iterator[Figure]:
    """Peak memory of a process that prepares clips: one, several, and one that is longer."""
    long = looped(clip, LONGER, folder / "long.mp4")
    work = ([clip], [clip] * LONGER, [long])
    rounds = [[_peak_mib(clips) for clips in work] for _ in range(repeats)]
    one, several, longer = (statistics.median(of_work) for of_work in zip(*rounds, strict=True))
    detail = {
        "one_clip_mib": round(one),
        f"{LONGER}_clips_mib": round(several),
        f"{LONGER}_times_as_long_mib": round(longer),
        "repeats": repeats,
    }
    limit = "all frames kept; the largest of one clip, several and a longer one"
    yield Figure("prepare: memory of a worker", max(one, several, longer), "MiB", MEMORY_GOAL_MIB, limit, detail=detail)
    growth = statistics.median(max(more) / first for first, *more in rounds)
    limit = f"memory with one clip, against {LONGER} clips and one {LONGER} times as long"
    yield Figure("prepare: memory grows", growth, "x", FLAT_GOAL, limit, detail=detail)


def _peak_mib(clips: list[Path]) -> float:
    """Peak memory of a fresh process, with one thread as workers have, that reads these clips one after the other."""
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1")}
    command = [sys.executable, "-m", "benchmarks.peak_memory", *map(str, clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return float(done.stdout)
