"""Measure whether MTCNN finds the faces of synthetic people of every skin tone, in every light.

A face counts as found if a detection overlaps it with an IoU of 0.3 or more. Hair styles have no goal: each has about a
dozen people.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator

import numpy as np

from benchmarks.faces import best_overlap
from benchmarks.measurements import Measurement
from crnet.media.mtcnn import Mtcnn
from crnet.media.settings import DetectionSettings
from crnet.simulate.drawing import PersonRenderer
from crnet.simulate.performance import perform
from crnet.simulate.planning import ClipPlan, SimulationConfig, plan_clips

OVERALL_GOAL, GROUP_GOAL = 0.99, 0.98
MIN_IOU = 0.3
LIGHTS = ((0.6, "dim"), (0.8, "medium"), (1.01, "bright"))  # upper bounds of the cue room_brightness


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the number of people and frames."""
    parser.add_argument("--people", type=int, default=200, help="number of synthetic people")
    parser.add_argument("--seed", type=int, default=0, help="random seed")
    parser.add_argument("--frames", type=int, default=4, help="frames of each person")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the share of frames with a found face, over all people and for each group."""
    config = SimulationConfig(5 * options.people, options.seed, seconds=3.0, fps=2.0, difficulty="fivalike")
    detector, hits, frames = Mtcnn(), Counter[str](), Counter[str]()
    for plan in one_clip_per_person(config, options.people):
        hits_of_person = count_found(plan, config, detector, options.frames)
        for group in groups(plan):
            hits[group] += hits_of_person
            frames[group] += options.frames
    for group in sorted(frames):
        goal = None if group.startswith("hair") else OVERALL_GOAL if group == "all" else GROUP_GOAL
        share = hits[group] / frames[group]
        limit = f"share of frames in which a detection overlaps the face by {MIN_IOU:g} or more"
        detail = {"frames": frames[group]}
        yield Measurement(f"faces found: {group}", share, "", goal, limit, at_least=True, detail=detail)


def one_clip_per_person(config: SimulationConfig, count: int) -> Iterator[ClipPlan]:
    """Yield the first clip of each of `count` people."""
    people: set[int] = set()
    for plan in plan_clips(config):
        if plan.person not in people and len(people) < count:
            people.add(plan.person)
            yield plan


def count_found(plan: ClipPlan, config: SimulationConfig, detector: Mtcnn, frames: int) -> int:
    """Return in how many of the first frames the detector finds the synthetic face."""
    motion, renderer = perform(plan, config).motion, PersonRenderer(plan.look, plan.cues, config.width, config.height)
    min_face_pixels = DetectionSettings().min_face * config.height
    hits = 0
    for index in range(frames):
        detections = detector.detect(renderer.render(motion, index), min_face_pixels)
        true_box, _ = renderer.locate_face(motion, index)
        hits += best_overlap(detections.boxes, np.asarray(true_box, np.float32)) >= MIN_IOU
    return hits


def groups(plan: ClipPlan) -> tuple[str, ...]:
    """Return the groups of a person that may affect detection."""
    light = next(name for below, name in LIGHTS if plan.cues["room_brightness"] < below)
    look = plan.look
    return ("all", f"skin tone {look.skin_tone}", f"light {light}", f"gender {look.gender}", f"hair {look.hair_style}")
