"""Experiments and their workspace, which gives access to the clips, the trained networks and the networks' outputs."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from crnet.config import Config, to_dict
from crnet.data.dataset import longest_audio_samples, stack_scores
from crnet.data.failures import missing_clips
from crnet.data.manifest import ClipRow, Manifest, read_manifest
from crnet.data.splits import OFFICIAL, ProtocolKind, SplitProtocol, assign_splits, split_group, split_validation
from crnet.errors import ConfigError, UsageError
from crnet.experiments.missing_split import missing_split
from crnet.experiments.net_spec import FAILURE_NAME, NetSpec, UntrainedError, data_fingerprint, is_trained
from crnet.fusion.fusion import Fusion, FusionConfig
from crnet.fusion.held_out import HeldOutClips
from crnet.models.crnet import StreamNet
from crnet.models.inference import extract_all
from crnet.text.encoder_interface import encoder_label
from crnet.training.checkpoint import load_net
from crnet.training.loop import BEST_NAME
from crnet.training.stream import reproducible
from crnet.types import BACKBONES, DATA_SOURCES, SPLITS, Backbone, Split, Stream
from crnet.utils.device import choose_device
from crnet.utils.files import write_arrays
from crnet.utils.progress import Progress, no_progress
from crnet.utils.resumable import fingerprint, short_fingerprint
from crnet.utils.storage import as_path

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

_PROTOCOL_NOTES: dict[ProtocolKind, str] = {
    "official": "",
    "video-disjoint": " No source video, as identified by file names, has clips in two splits (video-disjoint).",
    "identity-disjoint": " No person has clips in two splits (identity-disjoint).",
    "grouped-kfold": (
        " Every clip is scored by networks that were not trained on its video or person, as identified by file names "
        "and the person column (grouped-kfold). Sections other than tables and extremes show the first fold."
    ),
}
"""The sentence that each protocol adds to the conditions of a result."""

NETS_FOLDER, TREES_FOLDER = "nets", "trees"
OUTPUTS_FORMAT = 2  # cached outputs of another format are computed again


@dataclass(frozen=True, eq=False)
class Outputs:
    """Outputs of a trained network for the clips of a split.

    Attributes:
        features: float32 [N, 6, F], the input of the fusion.
        scores: float32 [N, 6], nominally in [0, 1], not clipped.
    """

    features: Float32[np.ndarray, "N 6 F"]
    scores: Float32[np.ndarray, "N 6"]


@dataclass(frozen=True)
class Section:
    """Result of an experiment.

    Attributes:
        title: The heading.
        markdown: The text without the heading; links are relative to the experiment's folder.
        files: Files that the experiment wrote into its folder.
        data: The numbers as a JSON document. "claims", if present, is a list of `Verdict.to_dict()`.
    """

    title: str
    markdown: str
    files: tuple[Path, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


class Experiment(typing.Protocol):
    """A table or a figure, with the networks that it needs.

    With cross-validation, an experiment sees the first fold only. One with the attribute `pools_folds = True` uses all
    of them: `workspace.folds`.
    """

    @property
    def name(self) -> str:
        """Name on the command line and of the experiment's folder."""

    @property
    def title(self) -> str:
        """The heading."""

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the networks that the experiment needs; each is trained with all of the workspace's seeds."""

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Make the table or figure from the trained networks and write its files into `folder`."""


@dataclass(frozen=True, eq=False)
class Workspace:
    """A clip store, a configuration and a results folder with the networks trained so far. See `Workspace.open`.

    Attributes:
        store: The clip store.
        out: The results folder.
        base: Configuration of the full CR-Net: the preset with all three streams and the length of the sound.
        seeds: Every network is trained once with each seed.
        backbones: Backbones of the visual streams in Tables 1 and 3.
        progress: Called after every step.
        protocol: The protocol that assigns clips to splits; one fold of a grouped-kfold.
    """

    store: Path
    out: Path
    base: Config
    seeds: tuple[int, ...] = (0,)
    backbones: tuple[Backbone, ...] = BACKBONES
    progress: Progress = no_progress
    protocol: SplitProtocol = OFFICIAL

    @classmethod
    def open(
        cls,
        store: Path | str,
        out: Path | str,
        base: Config,
        seeds: tuple[int, ...] = (0,),
        backbones: tuple[Backbone, ...] = BACKBONES,
        progress: Progress = no_progress,
        protocol: SplitProtocol = OFFICIAL,
    ) -> Self:
        """Open a workspace on a prepared store; for a grouped-kfold, the workspace of its first fold.

        Raises:
            UsageError: There are no seeds, or the protocol is a single fold.
            FormatError: The store is damaged or no clip store.
            LabelError: A split has no clips or clips without scores, or the protocol does not fit the clips.
        """
        if not seeds or len(set(seeds)) != len(seeds):
            raise UsageError("give at least one seed, and each seed once")
        if protocol.fold is not None:
            raise UsageError(f"{protocol} is a single fold", remedy=f"use all folds: {protocol.all_folds}")
        # The tables and figures of the paper fit the trees as the paper does; the held-out fusion has rows of its own.
        base = replace(base, fusion=replace(base.fusion, fit_on="training"))
        store = as_path(store)
        workspace = cls(store, Path(out), base, seeds, backbones, progress, protocol.single_folds[0])
        for name in SPLITS:
            workspace.truth(name)
            if not workspace.rows(name):
                raise missing_split(workspace.manifest, name, store)
        if base.transforms.audio_samples is not None:
            return workspace
        rows = [row for fold in workspace.folds for row in fold.rows("train")]
        longest = longest_audio_samples(store, rows)
        return replace(workspace, base=replace(base, transforms=replace(base.transforms, audio_samples=longest)))

    @cached_property
    def folds(self) -> tuple[Self, ...]:
        """The workspaces of all folds of a grouped-kfold; for other protocols, this workspace alone."""
        return tuple(
            self if protocol == self.protocol else replace(self, protocol=protocol)
            for protocol in self.protocol.all_folds.single_folds
        )

    @cached_property
    def manifest(self) -> Manifest:
        """The manifest of the store with the splits of the protocol."""
        return assign_splits(read_manifest(self.store), self.protocol)

    @cached_property
    def data_fingerprint(self) -> str:
        """Hash of the manifest."""
        return data_fingerprint(self.manifest)

    @property
    def conditions(self) -> str:
        """One or two sentences on data, encoder and initialisation, which belong beside every number."""
        model = self.base.model
        init = "He initialisation"
        if model.init is not None:
            init = f"{model.init.name} for visual networks with the backbone {model.backbone}, {init} for the others"
        return (
            f"Trained and tested on {DATA_SOURCES[self.manifest.source].short}; text encoder: "
            f"{encoder_label(self.manifest.encoder)}; initial weights: {init}."
            f"{_PROTOCOL_NOTES[self.protocol.kind]}{self._missing_clips_note}"
        )

    @property
    def _missing_clips_note(self) -> str:
        """A sentence on annotated clips that could not be prepared; empty if there are none."""
        missing = missing_clips(self.manifest, SPLITS, self.store)
        return f" {len(missing)} annotated clips could not be prepared and are left out." if missing else ""

    def rows(self, split: Split) -> Sequence[ClipRow]:
        """Return the clips of a split, in the order of every array."""
        return self.manifest.rows(split)

    def truth(self, split: Split) -> Float64[np.ndarray, "N 6"]:
        """Return the annotated scores of a split, in [0, 1]."""
        return stack_scores(self.rows(split))

    def floor(self, split: Split) -> Float64[np.ndarray, "N 6"]:
        """Return the floor's scores of a split: for every clip, the medians of the training scores."""
        return np.tile(np.median(self.truth("train"), axis=0), (len(self.rows(split)), 1))

    def test_truth_and_floor(self) -> tuple[Float64[np.ndarray, "N 6"], Float64[np.ndarray, "N 6"]]:
        """Return the annotated scores of all folds' test clips, and the floor's scores of the same clips."""
        truths, floors = zip(*((fold.truth("test"), fold.floor("test")) for fold in self.folds), strict=True)
        return np.concatenate(truths), np.concatenate(floors)

    def standard_net(self, stream: Stream) -> NetSpec:
        """Return the network of a stream in the full CR-Net."""
        return NetSpec(stream, self.base)

    def standard_nets(self) -> tuple[NetSpec, ...]:
        """Return the networks of all streams in the full CR-Net."""
        return tuple(self.standard_net(stream) for stream in self.base.streams)

    def folder(self, spec: NetSpec, seed: int) -> Path:
        """Return the folder where a network is trained: `log.jsonl` and, after an epoch, `best.safetensors`."""
        return self.out / NETS_FOLDER / spec.fingerprint(seed, self.data_fingerprint) / spec.stream

    def net(self, spec: NetSpec, seed: int) -> StreamNet:
        """Load a trained network on the CPU, ready to predict.

        Raises:
            ConfigError: The network is not trained because no experiment lists it in `networks`.
            UntrainedError: Training of the network failed.
            FormatError: The network's file is damaged.
        """
        folder = self.folder(spec, seed)
        if (failure := folder.parent / FAILURE_NAME).is_file():
            raise UntrainedError(failure.read_text(encoding="utf-8").strip())
        if not is_trained(folder):
            raise ConfigError(
                f"the {spec.stream} network of seed {seed} is not trained",
                path=folder,
                remedy="list the network in the experiment's networks()",
            )
        return load_net(folder / BEST_NAME, spec.stream, replace(spec.config.model, init=None))

    def outputs(self, spec: NetSpec, seed: int, split: Split) -> Outputs:
        """Return a trained network's outputs for the middle frames of a split; a file beside the network caches them.

        For the training split, the clips are those that the network was trained on: `spec.training_rows`.

        Raises:
            ConfigError, UntrainedError: The network is not trained; see `net`.
            CrnetError: A clip or a file of ours cannot be read.
        """
        rows = spec.training_rows(self.manifest) if split == "train" else self.rows(split)
        path = self.folder(spec, seed) / "outputs" / f"{split}-{self._clips_fingerprint(rows)}.safetensors"
        cached = _read_cache(path, ("features", "scores"))
        if cached is not None:
            return Outputs(cached["features"], cached["scores"])
        net = self.net(spec, seed)
        training = self.base.training
        device = choose_device(training.device)
        transforms, workers = spec.config.transforms, training.workers
        with reproducible(device, training.threads):
            extracted = extract_all({spec.stream: net}, self.store, rows, transforms, workers=workers, device=device)
        features, scores = (by_stream[spec.stream] for by_stream in extracted)
        write_arrays(path, {"features": features, "scores": scores})
        return Outputs(features, scores)

    def fused_scores(
        self, specs: Sequence[NetSpec], seed: int, config: FusionConfig, split: Split
    ) -> Float64[np.ndarray, "N 6"]:
        """Return the fused scores of one or more networks, in [0, 1]; a file caches them.

        Args:
            specs: The networks, one per stream.
            seed: Seed of the networks and of the trees.
            config: Settings of the fusion.
            split: The clips to score.

        Raises:
            ConfigError, UntrainedError: See `outputs`.
        """
        networks = [spec.fingerprint(seed, self.data_fingerprint) for spec in specs]
        settings = [networks, to_dict(config), seed, split]
        path = self.out / TREES_FOLDER / f"{short_fingerprint(settings)}.safetensors"
        cached = _read_cache(path, ("scores",))
        if cached is not None:
            return cached["scores"].astype(np.float64)
        train = {spec.stream: self.outputs(spec, seed, "train").features for spec in specs}
        truth = stack_scores(specs[0].training_rows(self.manifest))
        held_out = self._held_out_clips(specs, seed) if config.fit_on == "held-out" else None
        fusion = Fusion.fit(replace(config, seed=seed), train, truth, held_out)
        outputs = {spec.stream: self.outputs(spec, seed, split) for spec in specs}
        scores = fusion.predict(
            {stream: of_stream.features for stream, of_stream in outputs.items()},
            {stream: of_stream.scores for stream, of_stream in outputs.items()},
        )
        write_arrays(path, {"scores": scores})
        return scores

    def _held_out_clips(self, specs: Sequence[NetSpec], seed: int) -> HeldOutClips:
        """Return the validation clips that selected the networks."""
        rows = self.rows("val")
        selecting = {row.clip_id for row in split_validation(rows)[0]}
        kept = [i for i, row in enumerate(rows) if row.clip_id in selecting]
        outputs = {spec.stream: self.outputs(spec, seed, "val") for spec in specs}
        return HeldOutClips(
            {stream: of_stream.features[kept] for stream, of_stream in outputs.items()},
            {stream: of_stream.scores[kept] for stream, of_stream in outputs.items()},
            self.truth("val")[kept],
            [split_group(rows[i]) for i in kept],
        )

    def _clips_fingerprint(self, rows: Sequence[ClipRow]) -> str:
        """Return a short hash of the clips of an outputs file."""
        return fingerprint([OUTPUTS_FORMAT, self.manifest.fingerprint, *(row.clip_id for row in rows)])[:8]


def _read_cache(path: Path, names: tuple[str, ...]) -> dict[str, Any] | None:
    """Read the arrays of a cache file; None if it is missing, damaged or incomplete."""
    try:
        arrays = load_file(path) if path.is_file() else {}
    except (SafetensorError, OSError):
        return None
    return arrays if set(names) <= set(arrays) else None
