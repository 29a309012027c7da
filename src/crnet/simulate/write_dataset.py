"""Write a simulated dataset in the layout of the official release, with worker processes."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

from crnet.simulate.clip_jobs import run_clip_jobs, single_opencv_thread
from crnet.simulate.dataset_folder import begin_folder, finish_folder
from crnet.simulate.encode_video import encode_video
from crnet.simulate.labels import write_labels
from crnet.simulate.planning import ClipPlan, SimulationConfig
from crnet.types import SPLITS
from crnet.utils.executors import LOCAL, choose_executor
from crnet.utils.files import leaves_no_leftovers
from crnet.utils.progress import Progress, no_progress

_log = logging.getLogger(__name__)


def write_dataset(
    out: str | Path,
    config: SimulationConfig,
    *,
    workers: int | None = None,
    progress: Progress = no_progress,
    engine: str = LOCAL,
) -> Path:
    """Write a dataset of synthetic people in the layout of the official release.

    The same call on the same folder resumes a stopped one. Labels, transcripts, true values and the pixels before
    encoding depend on the configuration alone, not on `workers`.

    Args:
        out: A folder that is new, empty, or begun by the same call.
        config: Configuration of the dataset.
        workers: See `worker_processes`.
        progress: Called after each clip.
        engine: See `choose_executor`.

    Returns:
        `out` as a path.

    Raises:
        ConfigError: A value is out of range, or the folder was begun with another configuration.
        UsageError: `out` holds something else, or `workers` is negative.
        MissingDependencyError: The configuration needs the speech synthesiser, which is not installed.
        StorageError: The disk is full or the folder cannot be written.
    """
    executor = choose_executor(engine, workers)
    out = Path(out)
    plans = begin_folder(out, config)
    write_labels(out, plans)
    for split in SPLITS:
        (out / split).mkdir(exist_ok=True)
    missing = [plan for plan in plans if not video_path(out, plan).exists()]
    if len(missing) < len(plans):
        _log.info("%d of %d clips already exist", len(plans) - len(missing), len(plans))
    with leaves_no_leftovers(out):
        run_clip_jobs(functools.partial(_encode_clip, out, config), missing, executor, progress, len(plans), out)
    finish_folder(out, config)
    return out


def video_path(out: Path, plan: ClipPlan) -> Path:
    """Return the path of a clip's video in the dataset."""
    return out / plan.split / plan.name


def _encode_clip(out: Path, config: SimulationConfig, plan: ClipPlan) -> None:
    with single_opencv_thread():
        encode_video(plan, config, video_path(out, plan))
