"""Write a simulated dataset in the layout of the official release, with worker processes."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

import cv2

from crnet.errors import ConfigError
from crnet.simulate.encode_video import encode_video
from crnet.simulate.folder import begin_folder, finish_folder
from crnet.simulate.labels import write_labels
from crnet.simulate.planning import ClipPlan, SimulationConfig
from crnet.types import SPLITS
from crnet.utils.executors import available_cores
from crnet.utils.progress import Progress, no_progress

TASK = "drawing synthetic people"

_log = logging.getLogger(__name__)


def write_dataset(
    out: str | Path, config: SimulationConfig, *, workers: int | None = None, progress: Progress = no_progress
) -> Path:
    """Write a dataset of synthetic people in the layout of the official release.

    The same call on the same folder resumes a stopped one. Labels, transcripts, true values and the pixels before
    encoding depend on the configuration alone, not on `workers`.

    Args:
        out: A folder that is new, empty, or begun by the same call.
        config: Configuration of the dataset.
        workers: Number of processes; None starts one per core.
        progress: Called after each clip.

    Returns:
        `out` as a path.

    Raises:
        ConfigError: A value is out of range, or the folder was begun with another configuration.
        UsageError: `out` holds something else.
        MissingDependencyError: The configuration needs the speech synthesiser, which is not installed.
        StorageError: The disk is full or the folder cannot be written.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"workers = {workers} is out of range", remedy="give at least 1")
    out = Path(out)
    plans = begin_folder(out, config)
    write_labels(out, plans)
    for split in SPLITS:
        (out / split).mkdir(exist_ok=True)
    missing = [plan for plan in plans if not video_path(out, plan).exists()]
    done = len(plans) - len(missing)
    if done:
        _log.info("%d of %d clips already exist", done, len(plans))
    progress(TASK, done, len(plans))
    for _ in _encode_videos(missing, config, out, workers or available_cores()):
        done += 1
        progress(TASK, done, len(plans))
    finish_folder(out, config)
    return out


def video_path(out: Path, plan: ClipPlan) -> Path:
    """Return the path of a clip's video in the dataset."""
    return out / plan.split / plan.name


def _encode_videos(plans: list[ClipPlan], config: SimulationConfig, out: Path, workers: int) -> Iterator[ClipPlan]:
    """Encode the clips in this process or in worker processes; yield each one once it is written."""
    if workers == 1 or len(plans) <= 1:
        with _single_threaded():
            for plan in plans:
                encode_video(plan, config, video_path(out, plan))
                yield plan
        return
    # Spawn, because a fork copies locks that other threads (of torch, for example) may hold.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plans)), context, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        jobs = {pool.submit(encode_video, plan, config, video_path(out, plan)): plan for plan in plans}
        try:
            for job in as_completed(jobs):
                job.result()
                yield jobs[job]
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Limit OpenCV to one thread: on pictures this small, more threads cost more than they save."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)
