"""Making a whole simulated data set: a folder that looks like the official release, filled by worker processes."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import cv2

from crnet.errors import ConfigError
from crnet.simulate.encode_video import film
from crnet.simulate.folder import begin, finish
from crnet.simulate.labels import write_labels
from crnet.simulate.planning import ClipPlan, SimulationConfig
from crnet.types import SPLITS
from crnet.utils.executors import available_cores
from crnet.utils.progress import Progress, no_progress

log = logging.getLogger(__name__)

TASK = "drawing people"


def simulate(
    out: Path, config: SimulationConfig, *, workers: int | None = None, progress: Progress = no_progress
) -> Path:
    """Draw a data set of simulated people in the layout of the official release.

    The same call on the same folder goes on where it was stopped. Labels, transcripts, truth and the pixels before
    encoding depend on the configuration alone, not on `workers`.

    Args:
        out: Folder to fill; new, empty, or begun by the same call.
        config: What to draw.
        workers: Processes; None: one for each core.
        progress: Told after each clip.

    Returns:
        `out`.

    Raises:
        ConfigError: A value is out of range, or the folder was begun with another configuration.
        UsageError: `out` holds something else.
        MissingDependencyError: Real speech is asked for and not installed.
        StorageError: The disk is full or the folder cannot be written.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers = {workers} is out of range", remedy="give at least 1")
    plans = begin(out, config)
    write_labels(out, plans)
    for split in SPLITS:
        (out / split).mkdir(exist_ok=True)
    missing = [plan for plan in plans if not clip_path(out, plan).exists()]
    if len(missing) < len(plans):
        log.info("%d of %d clips are there already", len(plans) - len(missing), len(plans))
    done = len(plans) - len(missing)
    progress(TASK, done, len(plans))
    for _ in _filmed(missing, config, out, workers or available_cores()):
        done += 1
        progress(TASK, done, len(plans))
    finish(out, config)
    return out


def clip_path(out: Path, plan: ClipPlan) -> Path:
    """Where a clip lies."""
    return out / plan.split / plan.name


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
