"""Simulated people straight into a clip store: drawn frames, face crops, sound and text, without a video between.

Nothing is encoded, decoded or searched for faces: the drawing knows where the face is. So a store for training is made
many times faster than by `simulate` and `prepare`, and without PyAV and the face detector.
"""

from __future__ import annotations

import functools
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import FORMAT, clip_path, open_if_current, write_clip
from crnet.errors import ConfigError, CrnetError, FormatError
from crnet.media.crops import JpegBuffer, crop_resize, encode_jpeg, with_margin
from crnet.media.frame_sampling import select_frames
from crnet.media.settings import MediaSettings
from crnet.simulate.drawing import Presenter
from crnet.simulate.folder import begin, finish
from crnet.simulate.motion import Motion
from crnet.simulate.performance import act
from crnet.simulate.planning import ClipPlan, SimulationConfig
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import SAMPLE_RATE_HZ, Clip
from crnet.utils.executors import WorkerDied, available_cores, run_jobs
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import short_fingerprint

TASK = "drawing people"
STORING_VERSION = 1
"""Raise it when the same configuration gives other clips than before."""

log = logging.getLogger(__name__)


def simulate_to_store(
    store: Path,
    config: SimulationConfig,
    *,
    frames_per_segment: int | None = 4,
    pixels: int = 112,
    workers: int | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Draw simulated people into a clip store, ready for training. The same call goes on where it was stopped.

    Args:
        store: Folder to fill; new, empty, or begun by the same call.
        config: What to draw.
        frames_per_segment: Frames drawn of each of the 32 segments; None: all of them.
        pixels: Height and width of the stored frames.
        workers: Processes; None: one for each core; 0: no extra process.
        progress: Told after each clip.

    Returns:
        `store`.

    Raises:
        ConfigError: A value is out of range, or the folder was begun with another configuration.
        UsageError: `store` holds something else.
        MissingDependencyError: Real speech is asked for and not installed.
        StorageError: The disk is full or the folder cannot be written.
    """
    if workers is not None and workers < 0:
        raise ConfigError(f"workers = {workers} is out of range", remedy="give at least 0")
    settings = MediaSettings(pixels=pixels, frames_per_segment=frames_per_segment)
    described: dict[str, Any] = {
        "media": settings.to_dict(), "encoder": HashedNgrams.name, "store format": FORMAT, "storing": STORING_VERSION,
    }  # fmt: skip
    plans = begin(store, config, **described)
    fingerprint = short_fingerprint({**described, "config": asdict(config)})
    job = functools.partial(_stored, store, config, settings, fingerprint)
    rows: list[ClipRow] = []
    progress(TASK, 0, len(plans))
    for plan, row in run_jobs(job, plans, available_cores() if workers is None else workers):
        if isinstance(row, WorkerDied):
            raise CrnetError(
                f"the worker process that drew {plan.name} died (exit code {row.exit_code})",
                remedy="run again, with fewer workers if memory is short",
            )
        rows.append(row)
        progress(TASK, len(rows), len(plans))
    write_manifest(store, Manifest(tuple(rows), "simulated", described["media"], fingerprint, HashedNgrams.name))
    finish(store, config, **described)
    return store


def _stored(
    store: Path, config: SimulationConfig, settings: MediaSettings, fingerprint: str, plan: ClipPlan
) -> ClipRow:
    """One job: make the clip file unless it is there and whole."""
    relative = clip_path(plan.name)
    path = store / relative
    file = open_if_current(path, fingerprint)
    if file is None:
        cv2.setNumThreads(1)
        write_clip(path, draw_clip(plan, config, settings), fingerprint)
        file = open_if_current(path, fingerprint)
    if file is None:
        raise FormatError("the clip file reads back different from what was written", path=path)
    return ClipRow(
        clip_id=plan.name,
        file=relative,
        split=plan.split,
        scores=plan.scores,
        person=f"{plan.person:05d}",
        groups={"gender": plan.look.gender.lower(), "ethnicity": plan.look.ethnicity.lower()},
        transcript=plan.transcript,
        duration_s=file.duration_s,
        frames=len(file.time_s),
        faces_found=settings.segments,
        faces_looked_at=settings.segments,
    )


def draw_clip(plan: ClipPlan, config: SimulationConfig, settings: MediaSettings) -> Clip:
    """One clip as `prepare` would make it of the video, less the losses of video and sound compression.

    Args:
        plan: Which clip.
        config: Of the data set.
        settings: What is kept of a clip.
    """
    take = act(plan, config)
    presenter = Presenter(plan.look, plan.cues, config.width, config.height)
    times_s = np.arange(config.frames) / float(config.rate)
    duration_s = config.frames / float(config.rate)
    selection = select_frames(times_s, duration_s, settings.segments, settings.frames_per_segment)
    frames = selection.frames.tolist()
    shots = {index: _shot(presenter, take.motion, index, settings) for index in sorted(set(frames))}
    scene_jpeg, scene_offsets = JpegBuffer(shots[index].scene for index in frames).arrays()
    face_jpeg, face_offsets = JpegBuffer(shots[index].face for index in frames).arrays()
    return Clip(
        clip_id=plan.name,
        scene_jpeg=scene_jpeg,
        scene_offsets=scene_offsets,
        face_jpeg=face_jpeg,
        face_offsets=face_offsets,
        time_s=times_s[frames],
        segment=selection.segment,
        face_box=np.stack([shots[index].box for index in frames]),
        face_landmarks=np.stack([shots[index].landmarks for index in frames]),
        face_score=np.ones(len(frames), np.float32),
        audio=take.speech.audio[: round(settings.max_audio_s * SAMPLE_RATE_HZ)],
        text=HashedNgrams().encode([plan.transcript])[0],
        segments=settings.segments,
        duration_s=duration_s,
        width=config.width,
        height=config.height,
        fps=float(config.rate),
        source_sha256="",
        settings=settings.fingerprint(),
        simulated=True,
        has_audio=True,
        has_transcript=True,
    )


@dataclass(frozen=True, eq=False)
class _Shot:
    """One drawn frame as a clip keeps it: two JPEG files, and where the face is."""

    scene: bytes
    face: bytes
    box: Float32[np.ndarray, " 4"]
    landmarks: Float32[np.ndarray, "5 2"]


def _shot(presenter: Presenter, motion: Motion, index: int, settings: MediaSettings) -> _Shot:
    picture = presenter.frame(motion, index)
    box, landmarks = presenter.face(motion, index)
    scene = np.asarray(cv2.resize(picture, (settings.pixels, settings.pixels), interpolation=cv2.INTER_AREA), np.uint8)
    face = crop_resize(picture, with_margin(box, settings.face_margin), settings.pixels)
    quality = settings.jpeg_quality
    return _Shot(encode_jpeg(scene, quality), encode_jpeg(face, quality), box, landmarks)
