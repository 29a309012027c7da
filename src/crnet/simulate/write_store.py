"""Write synthetic people directly into a clip store: drawn frames, face crops, sound and text, without videos.

Nothing is encoded or decoded, and no face detector runs, because the renderer knows where the face is. This is many
times faster than `write_dataset` and `prepare`, and needs neither PyAV nor the face detector.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float32

from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import CLIP_FORMAT, clip_path, open_if_current, write_clip
from crnet.errors import FormatError
from crnet.media.crops import JpegBuffer, crop_resize, encode_jpeg, with_margin
from crnet.media.frame_sampling import select_frames
from crnet.media.settings import MediaSettings
from crnet.simulate.clip_jobs import run_clip_jobs, single_opencv_thread
from crnet.simulate.dataset_folder import begin_folder, finish_folder
from crnet.simulate.drawing import PersonRenderer
from crnet.simulate.motion import Motion
from crnet.simulate.performance import perform
from crnet.simulate.planning import ClipPlan, SimulationConfig
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import SAMPLE_RATE_HZ, Clip
from crnet.utils.executors import LOCAL, choose_executor
from crnet.utils.files import leaves_no_leftovers
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import short_fingerprint
from crnet.utils.storage import as_path

CLIP_VERSION = 2
"""Increase it if the same configuration gives other clips than before."""


def write_store(
    store: str | Path,
    config: SimulationConfig,
    *,
    frames_per_segment: int | None = 4,
    pixels: int = 112,
    workers: int | None = None,
    progress: Progress = no_progress,
    engine: str = LOCAL,
) -> Path:
    """Write synthetic people into a clip store, ready for training. The same call resumes a stopped one.

    Args:
        store: A folder that is new, empty, or begun by the same call.
        config: Configuration of the dataset.
        frames_per_segment: Frames to draw for each of the 32 segments; None draws all of them.
        pixels: Height and width of the stored frames.
        workers: See `worker_processes`.
        progress: Called after each clip.
        engine: See `choose_executor`.

    Returns:
        `store` as a path.

    Raises:
        ConfigError: A value is out of range, or the folder was begun with another configuration.
        UsageError: `store` holds something else, or `workers` is negative.
        MissingDependencyError: The configuration needs the speech synthesiser, which is not installed.
        StorageError: The disk is full or the folder cannot be written.
    """
    executor = choose_executor(engine, workers)
    store = as_path(store)
    media = MediaSettings(pixels=pixels, frames_per_segment=frames_per_segment)
    settings: dict[str, Any] = {
        "media": media.to_dict(), "encoder": HashedNgrams.name, "store format": CLIP_FORMAT, "storing": CLIP_VERSION,
    }  # fmt: skip
    plans = begin_folder(store, config, **settings)
    fingerprint = short_fingerprint({**settings, "config": config.to_dict()})
    job = functools.partial(_write_clip, store, config, media, fingerprint)
    with leaves_no_leftovers(store):
        rows = run_clip_jobs(job, plans, executor, progress, len(plans), store)
    write_manifest(store, Manifest(tuple(rows), "simulated", settings["media"], fingerprint, HashedNgrams.name))
    finish_folder(store, config, **settings)
    return store


def _write_clip(
    store: Path, config: SimulationConfig, media: MediaSettings, fingerprint: str, plan: ClipPlan
) -> ClipRow:
    """Write one clip file, unless a complete one exists, and return its row."""
    relative = clip_path(plan.name)
    path = store / relative
    file = open_if_current(path, fingerprint)
    if file is None:
        with single_opencv_thread():
            write_clip(path, render_clip(plan, config, media), fingerprint)
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
        faces_found=media.segments,
        faces_looked_at=media.segments,
    )


def render_clip(plan: ClipPlan, config: SimulationConfig, media: MediaSettings) -> Clip:
    """Return the clip that `prepare` would extract from the video, but without its compression losses.

    Args:
        plan: Plan of the clip.
        config: Configuration of the dataset.
        media: Settings of the extraction.
    """
    performance = perform(plan, config)
    renderer = PersonRenderer(plan.look, plan.cues, config.width, config.height)
    times_s = np.arange(config.frames) / float(config.rate)
    duration_s = config.frames / float(config.rate)
    selection = select_frames(times_s, duration_s, media.segments, media.frames_per_segment)
    indices = selection.frames.tolist()
    frames = {index: _render_frame(renderer, performance.motion, index, media) for index in sorted(set(indices))}
    scene_jpeg, scene_offsets = JpegBuffer(frames[index].scene for index in indices).arrays()
    face_jpeg, face_offsets = JpegBuffer(frames[index].face for index in indices).arrays()
    return Clip(
        clip_id=plan.name,
        scene_jpeg=scene_jpeg,
        scene_offsets=scene_offsets,
        face_jpeg=face_jpeg,
        face_offsets=face_offsets,
        time_s=times_s[indices],
        segment=selection.segment,
        face_box=np.stack([frames[index].box for index in indices]),
        face_landmarks=np.stack([frames[index].landmarks for index in indices]),
        face_score=np.ones(len(indices), np.float32),
        audio=performance.speech.audio[: round(media.max_audio_s * SAMPLE_RATE_HZ)],
        text=HashedNgrams().encode([plan.transcript])[0],
        segments=media.segments,
        duration_s=duration_s,
        width=config.width,
        height=config.height,
        fps=float(config.rate),
        source_sha256="",
        settings=media.fingerprint(),
        simulated=True,
        has_audio=True,
        has_transcript=True,
    )


@dataclass(frozen=True, eq=False)
class _RenderedFrame:
    """A frame in the form that a clip stores: two JPEG files, and the position of the face."""

    scene: bytes
    face: bytes
    box: Float32[np.ndarray, " 4"]
    landmarks: Float32[np.ndarray, "5 2"]


def _render_frame(renderer: PersonRenderer, motion: Motion, index: int, media: MediaSettings) -> _RenderedFrame:
    picture = renderer.render(motion, index)
    box, landmarks = renderer.locate_face(motion, index)
    scene = np.asarray(cv2.resize(picture, (media.pixels, media.pixels), interpolation=cv2.INTER_AREA), np.uint8)
    face = crop_resize(picture, with_margin(box, media.face_margin), media.pixels)
    return _RenderedFrame(encode_jpeg(scene, media.jpeg_quality), encode_jpeg(face, media.jpeg_quality), box, landmarks)
