"""Making a whole simulated data set: a folder that looks like the official release, filled by worker processes."""

from __future__ import annotations

import logging
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2

from crnet.data.simulate.cues import Difficulty
from crnet.data.simulate.filming import film
from crnet.data.simulate.labels import write_labels
from crnet.data.simulate.planning import ClipPlan, SimulationConfig, plan_clips
from crnet.errors import ConfigError, UsageError
from crnet.files import read_json, write_json
from crnet.progress import Progress, no_progress
from crnet.provenance import versions
from crnet.schema import SPLITS

log = logging.getLogger(__name__)

MARKER = "simulated.json"
FORMAT = 1
GENERATOR = "crnet simulate"

TASK = "drawing people"


def simulate(
    out: Path,
    *,
    clips: int,
    seed: int = 0,
    seconds: float = 15.0,
    fps: float = 30.0,
    height: int = 360,
    workers: int | None = None,
    difficulty: Difficulty = "easy",
    identity_disjoint: bool = False,
    progress: Progress = no_progress,
) -> Path:
    """Draw a data set of simulated people in the layout of the official release.

    The same call on the same folder goes on where it was stopped. Labels, transcripts, truth and the pixels before
    encoding depend on the configuration alone, not on `workers`.

    Args:
        out: Folder to fill; new, empty, or begun by the same call.
        clips: Number of clips, split 3:1:1.
        seed: Of all randomness.
        seconds: Length of a clip.
        fps: Frames per second.
        height: Of the picture in pixels; the width is 16/9 of it.
        workers: Processes; None takes every core this process may use.
        difficulty: How much noise is in the cues.
        identity_disjoint: Keep each person in one split.
        progress: Told after each clip.

    Returns:
        `out`.

    Raises:
        ConfigError: A value is out of range.
        UsageError: `out` holds something else.
        StorageError: The disk is full or the folder cannot be written.
    """
    config = SimulationConfig(clips, seed, seconds, fps, height, difficulty, identity_disjoint)
    if workers is not None and workers < 1:
        raise ConfigError(f"workers = {workers} is out of range", remedy="give at least 1")
    marker: dict[str, Any] = {"format": FORMAT, "generator": GENERATOR, "config": asdict(config)}
    done_before = _check_folder(out, marker)
    plans = plan_clips(config)
    if not done_before:
        write_json(out / MARKER, {**marker, "seed": seed, "versions": versions(), "complete": False})
    write_labels(out, plans)
    for split in SPLITS:
        (out / split).mkdir(exist_ok=True)
    missing = [plan for plan in plans if not clip_path(out, plan).exists()]
    if len(missing) < clips:
        log.info("%d of %d clips are there already", clips - len(missing), clips)
    done = clips - len(missing)
    progress(TASK, done, clips)
    for _ in _filmed(missing, config, out, workers or len(os.sched_getaffinity(0))):
        done += 1
        progress(TASK, done, clips)
    write_json(out / MARKER, {**marker, "seed": seed, "versions": versions(), "complete": True})
    return out


def clip_path(out: Path, plan: ClipPlan) -> Path:
    """Where a clip lies."""
    return out / plan.split / plan.name


def _check_folder(out: Path, marker: dict[str, Any]) -> bool:
    """Whether the same call began this folder before.

    Raises:
        UsageError: The folder holds something else.
    """
    if out.exists() and not out.is_dir():
        raise UsageError("is a file, not a folder", path=out, remedy="name a new folder")
    if not out.exists() or not any(out.iterdir()):
        return False
    if not (out / MARKER).exists():
        raise UsageError("holds other files", path=out, remedy="name a new or an empty folder")
    found = read_json(out / MARKER, "the mark of simulated data")
    if not isinstance(found, dict) or any(found.get(key) != value for key, value in marker.items()):
        raise UsageError(
            f"holds simulated data of another configuration, see {MARKER}",
            path=out,
            remedy="name another folder, repeat the settings it was made with, or remove it",
        )
    return True


def _filmed(plans: list[ClipPlan], config: SimulationConfig, out: Path, workers: int) -> Iterator[ClipPlan]:
    """Film the clips, here or in worker processes; yields each when it is written."""
    if workers == 1 or len(plans) <= 1:
        with _single_threaded():
            for plan in plans:
                film(plan, config, clip_path(out, plan))
                yield plan
        return
    # Not forked: a fork copies the locks that other threads (torch's, say) may hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plans)), context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        jobs = {pool.submit(film, plan, config, clip_path(out, plan)): plan for plan in plans}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """OpenCV's threads cost more than they save on pictures this small."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
