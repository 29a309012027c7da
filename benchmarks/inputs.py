"""Inputs of the table's benchmarks: a clip, a clip store and an untrained system, each made on first use."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.clips import standard_clip
from benchmarks.untrained import save_untrained_bundle
from crnet.config import Preset
from crnet.data.extract import extract_clip
from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import clip_path, write_clip
from crnet.fusion.fusion import PAPER_MAX_FEATURES
from crnet.media.settings import MediaSettings
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import TARGETS


@dataclass(frozen=True)
class ForestSize:
    """Size of an extra-trees task: trees for each target, clips and features."""

    trees: int = 50
    clips: int = 6_000
    features: int = PAPER_MAX_FEATURES


@dataclass(frozen=True)
class Effort:
    """Amount of measuring.

    Attributes:
        repeats: Rounds of every comparison.
        seconds: Duration of the clip.
        face_frames: Frames of the clip that the full detector searches, at a tenth of a second and more each.
        clips: Clips in the store, a multiple of the batch size.
        steps: Steps of a training epoch of `small`.
        preset: Size of the system that trains and predicts.
        forest: Size of the extra-trees.
    """

    repeats: int = 5
    seconds: float = 15.0
    face_frames: int = 45
    clips: int = 240
    steps: int = 8
    preset: Preset = "paper"
    forest: ForestSize = field(default_factory=ForestSize)

    @property
    def few_repeats(self) -> int:
        """Rounds of slow measurements."""
        return max(self.repeats // 2, 1)


QUICK = Effort(repeats=1, seconds=2.0, face_frames=3, clips=30, steps=1, preset="tiny", forest=ForestSize(4, 200, 32))
"""Enough to check that everything runs; its values mean little."""


class Inputs:
    """Inputs that the benchmarks share.

    Args:
        folder: Where the inputs are written.
        video: Video to measure with, converted to 720p30; None: a synthetic clip.
        effort: Amount of measuring.
    """

    def __init__(self, folder: Path, video: Path | None, effort: Effort) -> None:
        self.folder = folder
        self.effort = effort
        self._video = video

    @cached_property
    def clip(self) -> Path:
        """The clip to measure with. Raises `MediaError` if the video cannot be read."""
        return standard_clip(self._video, self.folder / "clip.mp4", self.effort.seconds)

    @cached_property
    def store(self) -> Path:
        """A store with copies of the clip."""
        return write_store_of_copies(self.clip, self.folder / "store", self.effort.clips)

    @cached_property
    def bundle(self) -> Path:
        """An untrained system of the effort's size."""
        preset, forest = self.effort.preset, self.effort.forest
        trees = None if preset == "paper" else forest.trees
        return save_untrained_bundle(self.folder / "bundle", preset, trees, forest.clips)


@contextmanager
def temporary_inputs(video: Path | None, effort: Effort) -> Iterator[Inputs]:
    """Provide inputs in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="crnet-benchmarks-") as folder:
        yield Inputs(Path(folder), video, effort)


def write_store_of_copies(clip: Path, store: Path, copies: int) -> Path:
    """Write a clip store with copies of one clip, all its frames kept, and random scores."""
    extracted = extract_clip(clip, clip_id="clip", transcript="", encoder=HashedNgrams(), settings=MediaSettings())
    scores = np.random.default_rng(0).uniform(0.2, 0.8, (copies, len(TARGETS)))
    rows: list[ClipRow] = []
    for number in range(copies):
        clip_id = f"copy{number:05d}"
        write_clip(store / clip_path(clip_id), replace(extracted, clip_id=clip_id))
        rows.append(ClipRow(clip_id, clip_path(clip_id), "train", tuple(scores[number].tolist())))
    write_manifest(store, Manifest(tuple(rows), "simulated", {}, "benchmark", HashedNgrams.name))
    return store
