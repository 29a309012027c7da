"""`crnet bench`: the parts one after the other, with one bar of progress for all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from benchmarks.clips import standard_clip
from benchmarks.dataloader import per_core_row, store_of, workers_row
from benchmarks.forest import Size, clip_row, growing_rows
from benchmarks.measurements import Figure
from benchmarks.predict import predicting_rows, untrained_bundle
from benchmarks.prepare import decoding_rows, face_rows, memory_rows
from benchmarks.training_step import step_rows
from crnet.config import Preset
from crnet.utils.progress import Progress, no_progress

Part = Literal["prepare", "loader", "train", "predict", "trees"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        repeats: Rounds of everything that is compared.
        seconds: Length of the clip.
        face_frames: Frames of it that the whole detector looks at, a tenth of a second and more each.
        clips: Of the store that the loader reads, a multiple of its batch.
        steps: Of a training epoch of `small`.
        preset: Size of the system that trains and predicts.
        trees: To grow.
    """

    repeats: int = 5
    seconds: float = 15.0
    face_frames: int = 45
    clips: int = 240
    steps: int = 8
    preset: Preset = "paper"
    trees: Size = field(default_factory=Size)


QUICK = Effort(repeats=1, seconds=2.0, face_frames=3, clips=30, steps=1, preset="tiny", trees=Size(4, 200, 32))
"""Shows that everything runs; its figures mean little."""


def measure(
    parts: tuple[Part, ...], video: Path | None = None, effort: Effort | None = None, progress: Progress = no_progress
) -> Iterator[Figure]:
    """Measure the parts; each row comes as soon as it is known.

    Args:
        parts: Which.
        video: The clip to measure with, brought to 720p30; None: a drawn one.
        effort: How much.
        progress: Told after each group of rows.

    Raises:
        MediaError: The video cannot be read.
    """
    effort = effort or Effort()
    with tempfile.TemporaryDirectory(prefix="crnet-bench-") as name:
        folder = Path(name)
        clip = folder / "clip.mp4"
        steps = _steps(parts, clip, folder, effort)
        if parts != ("trees",):
            steps.insert(0, ("making the clip", lambda: _made(standard_clip(video, clip, effort.seconds))))
        for number, (what, rows) in enumerate(steps):
            progress("benchmark", number, len(steps), what)
            yield from rows()
        progress("benchmark", len(steps), len(steps))


def _steps(
    parts: tuple[Part, ...], clip: Path, folder: Path, effort: Effort
) -> list[tuple[str, Callable[[], Iterator[Figure]]]]:
    """What is done, in order: a few words for the watcher, and the work."""
    store, bundle, repeats = folder / "store", folder / "bundle", effort.repeats
    steps: list[tuple[str, Callable[[], Iterator[Figure]]]] = []
    if "prepare" in parts:
        steps += [
            ("decoding", partial(decoding_rows, clip, repeats)),
            ("faces", partial(face_rows, clip, effort.face_frames, max(repeats // 2, 1))),
            ("memory", partial(memory_rows, clip, folder, max(repeats // 2, 1))),
        ]
    if "loader" in parts or "train" in parts:
        steps.append(("making a store", lambda: _made(store_of(clip, store, effort.clips))))
    if "loader" in parts:
        steps.append(("loader", lambda: iter([per_core_row(store, repeats)])))
        steps.append(("loader's workers", partial(workers_row, store, repeats)))
    if "train" in parts:
        steps.append(("training", partial(step_rows, store, effort.preset, repeats, effort.steps)))
    if "predict" in parts:
        size = effort.trees
        make = partial(
            untrained_bundle, bundle, effort.preset, None if effort.preset == "paper" else size.trees, size.clips
        )
        steps.append(("making a system", lambda: _made(make())))
        steps.append(("prediction", partial(predicting_rows, clip, bundle, repeats)))
    if "trees" in parts:
        steps.append(("growing trees", partial(growing_rows, effort.trees, max(repeats // 2, 1))))
        steps.append(("one clip through the forest", lambda: iter([clip_row(effort.trees, repeats)])))
    return steps


def _made(path: Path) -> Iterator[Figure]:
    """A step that prepares and measures nothing."""
    return iter(())
