"""Does MTCNN take drawn faces for faces? 200 people, every skin tone and light.

    python benchmarks/face_finding.py [--people 200] [--seed 0] [--frames 4]

A face is found where a detection overlaps the drawn face by IoU 0.3 or more. Prints one JSON document with the share by
group; exit code 1 if it is under 99% of all frames, or under 98% for a skin tone, a light or a gender (hair styles are
told, not judged: they have a dozen people each).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import torch

from crnet.media.mtcnn import Mtcnn
from crnet.media.settings import DetectionSettings
from crnet.simulate.drawing import Presenter
from crnet.simulate.performance import act
from crnet.simulate.planning import ClipPlan, SimulationConfig, plan_clips

OF_ALL, OF_GROUP = 0.99, 0.98
LEAST_IOU = 0.3
LIGHTS = ((0.6, "dim"), (0.8, "middling"), (1.01, "bright"))  # of the cue room_brightness


def main() -> int:
    """Draw, look, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--frames", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    config = SimulationConfig(5 * asked.people, asked.seed, seconds=3.0, fps=2.0, difficulty="fivalike")
    detector, found, looked = Mtcnn(), Counter[str](), Counter[str]()
    for plan in people(config, asked.people):
        hits = faces_found(plan, config, detector, asked.frames)
        for group in groups_of(plan):
            found[group] += hits
            looked[group] += asked.frames
    shares = {group: found[group] / looked[group] for group in sorted(looked)}
    judged = [share for group, share in shares.items() if not group.startswith("hair")]
    holds = shares["all"] >= OF_ALL and min(judged) >= OF_GROUP
    print(json.dumps({"frames": looked, "share_found": shares, "holds": holds}, indent=2))
    return 0 if holds else 1


def people(config: SimulationConfig, count: int) -> Iterator[ClipPlan]:
    """One clip of each of so many people."""
    seen: set[int] = set()
    for plan in plan_clips(config):
        if plan.person not in seen and len(seen) < count:
            seen.add(plan.person)
            yield plan


def faces_found(plan: ClipPlan, config: SimulationConfig, detector: Mtcnn, frames: int) -> int:
    """In how many of the first frames the detector finds the drawn face."""
    motion, presenter = act(plan, config).motion, Presenter(plan.look, plan.cues, config.width, config.height)
    pictures = np.stack([presenter.frame(motion, index) for index in range(frames)])
    smallest = DetectionSettings().min_face * config.height
    hits = 0
    for index, detections in enumerate(detector.detect(pictures, smallest)):
        drawn, _ = presenter.face(motion, index)
        hits += any(overlap(np.asarray(box), drawn) >= LEAST_IOU for box in detections.boxes)
    return hits


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    """IoU of two boxes x0 y0 x1 y1."""
    shared = float(np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)))
    return shared / float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def groups_of(plan: ClipPlan) -> tuple[str, ...]:
    """What a face may be hard to find for."""
    light = next(name for below, name in LIGHTS if plan.cues["room_brightness"] < below)
    look = plan.look
    return ("all", f"skin tone {look.skin_tone}", f"light {light}", f"gender {look.gender}", f"hair {look.hair_style}")


if __name__ == "__main__":
    sys.exit(main())
