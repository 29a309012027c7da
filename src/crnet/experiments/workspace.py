"""What an experiment is, and the laboratory that gives it trained networks and what they say of every clip."""

from __future__ import annotations

import hashlib
import json
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
from crnet.data.splits import OFFICIAL, ProtocolKind, SplitProtocol, assign_splits
from crnet.errors import ConfigError, LabelError, UsageError
from crnet.experiments.net_spec import FAILURE_NAME, NetSpec, UntrainedError, digest_of, is_trained
from crnet.fusion.fusion import Fusion, FusionConfig
from crnet.models.crnet import StreamNet
from crnet.text.base import encoder_label
from crnet.training.checkpoint import load_net
from crnet.training.distributed import choose_device
from crnet.training.features import extract_all
from crnet.training.loop import BEST_NAME
from crnet.training.stream import reproducible
from crnet.types import SPLITS, Split, Stream
from crnet.utils.files import write_arrays
from crnet.utils.progress import Progress, no_progress

if TYPE_CHECKING:
    from jaxtyping import Float32, Float64

_DEALT: dict[ProtocolKind, str] = {
    "official": "",
    "video-disjoint": " No source video has clips in two splits, as far as names tell (video-disjoint).",
    "identity-disjoint": " Nobody has clips in two splits (identity-disjoint).",
    "grouped-kfold": (
        " Every clip is scored by networks that saw none of its video or person, as far as names and persons tell "
        "(grouped-kfold); sections other than tables and extremes show the first fold."
    ),
}
"""What a reader must know of each protocol."""

NETS_FOLDER, TREES_FOLDER = "nets", "trees"
OUTPUTS_FORMAT = 2  # files of another one are not read


@dataclass(frozen=True, eq=False)
class Outputs:
    """What a trained network says of the clips of a split.

    Attributes:
        features: float32 [N, 6, F], what the fusion takes.
        scores: float32 [N, 6], nominally in [0, 1], not clipped.
    """

    features: Float32[np.ndarray, "N 6 F"]
    scores: Float32[np.ndarray, "N 6"]


@dataclass(frozen=True)
class Section:
    """What an experiment leaves behind.

    Attributes:
        title: Its heading.
        markdown: Its text, without the heading; links are relative to the experiment's folder.
        files: What it wrote, inside its folder.
        data: The figures as a JSON document. Under "claims": a list of `Verdict.to_dict()`.
    """

    title: str
    markdown: str
    files: tuple[Path, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)


class Experiment(typing.Protocol):
    """A table or a figure: which networks it needs, and what it makes of them.

    It may have `pooled = True`, which says that of several folds it takes them all, `lab.folds`; others are given the
    first one alone.
    """

    @property
    def name(self) -> str:
        """As it is called on the command line, and the name of its folder."""

    @property
    def title(self) -> str:
        """Its heading."""

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The networks it needs, each with all of the lab's seeds."""

    def run(self, lab: Lab, folder: Path) -> Section:
        """Make the table or figure from the trained networks, and write its files into `folder`."""


@dataclass(frozen=True, eq=False)
class Lab:
    """A store, a configuration and the networks trained so far. Made by `Lab.open`.

    Attributes:
        store: The clip store.
        out: Where everything goes.
        base: The full CR-Net of the preset, all three streams, the length of the sound filled in.
        seeds: Every network is trained once with each.
        backbones: Of the visual streams, in Tables 1 and 3.
        progress: Told after every step.
        protocol: How the clips are dealt to splits; of a grouped-kfold, one fold.
    """

    store: Path
    out: Path
    base: Config
    seeds: tuple[int, ...] = (0,)
    backbones: tuple[str, ...] = ("r2d34", "r3d34")
    progress: Progress = no_progress
    protocol: SplitProtocol = OFFICIAL

    @classmethod
    def open(
        cls,
        store: Path,
        out: Path,
        base: Config,
        seeds: tuple[int, ...] = (0,),
        backbones: tuple[str, ...] = ("r2d34", "r3d34"),
        progress: Progress = no_progress,
        protocol: SplitProtocol = OFFICIAL,
    ) -> Self:
        """A lab on a prepared store; of a grouped-kfold as a whole, that of its first fold.

        Raises:
            UsageError: No seeds, or a single fold.
            FormatError: Not a store, or a damaged one.
            LabelError: A split has no clips, or clips without scores, or the protocol does not fit the clips.
        """
        if not seeds or len(set(seeds)) != len(seeds):
            raise UsageError("name each seed once, and at least one")
        if protocol.fold is not None:
            raise UsageError(f"{protocol} is one fold", remedy=f"ask for all: {protocol.whole}")
        lab = cls(store, out, base, seeds, backbones, progress, protocol.parts[0])
        for name in SPLITS:
            lab.truth(name)
            if not lab.rows(name):
                raise LabelError(
                    f"no clip belongs to the {name} split", path=store, remedy=f"give some clips split={name}"
                )
        if base.transforms.audio_samples is None:
            rows = [row for fold in lab.folds for row in fold.rows("train")]
            longest = longest_audio_samples(store, rows)
            lab = replace(lab, base=replace(base, transforms=replace(base.transforms, audio_samples=longest)))
        return lab

    @cached_property
    def folds(self) -> tuple[Self, ...]:
        """The labs of all folds of a grouped-kfold; of another protocol, this one alone."""
        return tuple(
            self if part == self.protocol else replace(self, protocol=part) for part in self.protocol.whole.parts
        )

    @cached_property
    def manifest(self) -> Manifest:
        """What the store holds, with the splits of the protocol."""
        return assign_splits(read_manifest(self.store), self.protocol)

    @cached_property
    def data_digest(self) -> str:
        """What the store holds, as a hash."""
        return digest_of(self.manifest)

    @property
    def conditions(self) -> str:
        """What a reader of any number must know, as a sentence."""
        init = self.base.model.init
        people = {"simulated": "drawn people", "folder": "people of a folder of one's own"}
        return (
            f"Trained and tested on {people.get(self.manifest.source, self.manifest.source)}; words encoded by "
            f"{encoder_label(self.manifest.encoder)}; weights started from "
            f"{'He initialisation' if init is None else init.name}.{_DEALT[self.protocol.kind]}{self._missing}"
        )

    @property
    def _missing(self) -> str:
        """A sentence on annotated clips that could not be prepared; empty if there are none."""
        missing = missing_clips(self.manifest, SPLITS, self.store)
        return f" {len(missing)} annotated clips could not be prepared and are left out." if missing else ""

    def rows(self, split: Split) -> tuple[ClipRow, ...]:
        """The clips of a split, in the order of every array."""
        return self.manifest.rows(split)

    def tested(self) -> tuple[Float64[np.ndarray, "N 6"], Float64[np.ndarray, "N 6"]]:
        """The annotated scores of all folds' test clips, and the floor: the median of each clip's own training."""
        truths = [fold.truth("test") for fold in self.folds]
        medians = [np.median(fold.truth("train"), axis=0) for fold in self.folds]
        floors = [np.tile(median, (len(truth), 1)) for median, truth in zip(medians, truths, strict=True)]
        return np.concatenate(truths), np.concatenate(floors)

    def truth(self, split: Split) -> Float64[np.ndarray, "N 6"]:
        """The annotated scores of a split, in [0, 1]."""
        return stack_scores(self.rows(split))

    def standard(self, stream: Stream) -> NetSpec:
        """The full CR-Net of the preset."""
        return NetSpec(stream, self.base)

    def standards(self) -> tuple[NetSpec, ...]:
        """The full CR-Net of every stream."""
        return tuple(self.standard(stream) for stream in self.base.streams)

    def folder(self, spec: NetSpec, seed: int) -> Path:
        """Where a network is trained: holds `log.jsonl` and, once there is one, `best.safetensors`."""
        return self.out / NETS_FOLDER / spec.key(seed, self.data_digest) / spec.stream

    def net(self, spec: NetSpec, seed: int) -> StreamNet:
        """A trained network, on the CPU, ready to predict.

        Raises:
            ConfigError: It is not trained: no experiment has named it among its nets.
            UntrainedError: Its training failed.
            FormatError: Its file is damaged.
        """
        folder = self.folder(spec, seed)
        if (failure := folder.parent / FAILURE_NAME).is_file():
            raise UntrainedError(failure.read_text(encoding="utf-8").strip())
        if not is_trained(folder):
            raise ConfigError(
                f"the {spec.stream} network of seed {seed} is not trained",
                path=folder,
                remedy="let the experiment name it among its nets",
            )
        return load_net(folder / BEST_NAME, spec.stream, replace(spec.config.model, init=None))

    def outputs(self, spec: NetSpec, seed: int, split: Split) -> Outputs:
        """What a trained network says of a split's middle frames; kept in a file beside the network.

        For the training split of a network trained on some of its clips, only those: `spec.training_rows`.

        Raises:
            ConfigError, UntrainedError: The network is not trained; see `net`.
            CrnetError: A clip or a file of ours cannot be read.
        """
        rows = spec.training_rows(self.manifest) if split == "train" else self.rows(split)
        path = self.folder(spec, seed) / "outputs" / f"{split}-{self._content_of(rows)}.safetensors"
        kept = _read(path, ("features", "scores"))
        if kept is not None:
            return Outputs(kept["features"], kept["scores"])
        net = self.net(spec, seed)
        training = self.base.training
        device = choose_device(training.device)
        transforms, workers = spec.config.transforms, training.workers
        with reproducible(device, training.threads):
            said = extract_all({spec.stream: net}, self.store, rows, transforms, workers=workers, device=device)
        features, scores = (by_stream[spec.stream] for by_stream in said)
        write_arrays(path, {"features": features, "scores": scores})
        return Outputs(features, scores)

    def fused(
        self, specs: Sequence[NetSpec], seed: int, config: FusionConfig, split: Split
    ) -> Float64[np.ndarray, "N 6"]:
        """What extra-trees make of the features of one or more networks: scores in [0, 1]; kept in a file.

        Args:
            specs: The networks, one of each stream.
            seed: Of the networks and of the trees.
            config: How the streams are joined and the trees are grown.
            split: Whose clips are scored; the trees are grown on the training split.

        Raises:
            ConfigError, UntrainedError: See `outputs`.
        """
        rows = specs[0].training_rows(self.manifest)
        named = [[spec.key(seed, self.data_digest) for spec in specs], to_dict(config), seed, split]
        content = hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]
        path = self.out / TREES_FOLDER / f"{content}.safetensors"
        kept = _read(path, ("scores",))
        if kept is not None:
            return kept["scores"].astype(np.float64)
        train, scored = (
            {spec.stream: self.outputs(spec, seed, name).features for spec in specs} for name in ("train", split)
        )
        fusion = Fusion.fit(replace(config, seed=seed), train, stack_scores(rows))
        scores = np.clip(fusion.predict(scored), 0, 1)
        write_arrays(path, {"scores": scores})
        return scores

    def _content_of(self, rows: tuple[ClipRow, ...]) -> str:
        """A short name of the clips that outputs are of."""
        named = json.dumps([OUTPUTS_FORMAT, self.manifest.fingerprint, *(row.clip_id for row in rows)])
        return hashlib.sha256(named.encode()).hexdigest()[:8]


def _read(path: Path, names: tuple[str, ...]) -> dict[str, Any] | None:
    """The arrays of a file of ours, or None if it is not there; a damaged one counts as not there."""
    try:
        kept = load_file(path) if path.is_file() else {}
    except (SafetensorError, OSError):
        return None
    return kept if set(names) <= set(kept) else None
