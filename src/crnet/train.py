"""From a clip store to a trained system: three streams, fusion, bundle. What `crnet train` runs.

A run folder holds:

    run.json                 configuration, data, versions and git revision
    scene/ face/ audio-text/ one folder a stream, see `crnet.training.stream`
    bundle/                  the system, all that prediction needs; see `crnet.bundle.bundle`
    scene+face.safetensors   the same fusion of the two visual streams alone, for evaluation
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import VISUAL, VISUAL_FUSION_FILE, load_bundle
from crnet.bundle.save import save_bundle
from crnet.bundle.verify import BUNDLE_FILE, BUNDLE_FOLDER
from crnet.config import Config, to_dict
from crnet.data.dataset import longest_audio_samples, stack_scores
from crnet.data.manifest import ClipRow, Manifest, read_manifest
from crnet.data.splits import (
    FEWEST_CALIBRATION_CLIPS,
    OFFICIAL,
    SplitProtocol,
    assign_splits,
    split_validation,
    training_fingerprint,
)
from crnet.errors import ConfigError, FormatError, LabelError
from crnet.fusion.conformal import Calibration
from crnet.fusion.fusion import Fusion, system_scores
from crnet.models.crnet import StreamNet
from crnet.text.language import guess_language
from crnet.training.checkpoint import load_net
from crnet.training.distributed import choose_device, world
from crnet.training.features import extract_all
from crnet.training.parallel_streams import train_streams
from crnet.training.stream import decisive_fields
from crnet.types import Stream
from crnet.utils.files import write_arrays, write_json
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder

if TYPE_CHECKING:
    from jaxtyping import Float32

logger = logging.getLogger(__name__)

RUN_FILE = "run.json"


def _decisive(document: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration and protocol of a run without the fields that do not affect its results."""
    config = document["config"]
    protocol = document["data"].get("protocol", str(OFFICIAL))  # the first versions recorded none
    return {**config, "training": decisive_fields(config["training"]), "protocol": protocol}


RUN_FOLDER = ResumableFolder("a run", RUN_FILE, _decisive, exclusive=False)


def train_system(
    store: Path,
    run_dir: Path,
    config: Config,
    progress: Progress = no_progress,
    *,
    protocol: SplitProtocol = OFFICIAL,
) -> Bundle | None:
    """Train every stream, fit the fusion, write the bundle; goes on where an earlier call stopped.

    Args:
        store: A store made by `crnet prepare`, with a training split.
        run_dir: Where everything goes.
        config: How. Where `transforms.audio_samples` is None, it becomes the longest sound of the training split.
        progress: Told after every step.
        protocol: Which clips train and which choose; `crnet.evaluation.evaluate` then measures on the others.

    Returns:
        The system; None in all but the first of several processes.

    Raises:
        LabelError: No training clips, or clips without scores, or too few for the protocol.
        ConfigError: `run_dir` holds a run of another configuration, or the configuration fits the data badly.
        CrnetError: A file cannot be read or written; see `crnet.training.parallel_streams.train_streams`.
    """
    manifest = assign_splits(read_manifest(store), protocol)
    rows = manifest.rows("train")
    if not rows:
        raise LabelError(
            "no clip belongs to the training split", path=store, remedy="give some clips split=train, prepare again"
        )
    scores = stack_scores(rows)
    if config.transforms.audio_samples is None:
        longest = longest_audio_samples(store, rows)
        config = replace(config, transforms=replace(config.transforms, audio_samples=longest))
    described = describe_run(store, manifest, config, protocol)
    with world(config.training.device) as here:  # joined once for all streams: a group cannot be joined twice
        config.model.require_trainable_on(here.device)
        RUN_FOLDER.check(run_dir, described)
        here.barrier()
        if here.first:
            write_json(run_dir / RUN_FILE, described)
        weights = train_streams(
            config.streams,
            store,
            manifest,
            run_dir,
            config.model,
            config.transforms,
            config.training,
            here,
            progress,
        )
    if not here.first:
        return None
    if (finished := _finished(run_dir, config)) is not None:
        return finished
    model = replace(config.model, init=None)  # the weights that training began from are not needed any more
    nets = {stream: load_net(path, stream, model) for stream, path in weights.items()}
    features = _features(nets, store, rows, config, progress)
    fusions = _fit_fusions(features, scores, config, progress)
    if VISUAL in fusions:
        write_arrays(run_dir / VISUAL_FUSION_FILE, fusions[VISUAL].to_tensors())
    bundle = Bundle(
        config=config,
        nets=nets,
        fusion=fusions[config.streams],
        training_source=manifest.source,
        encoder=manifest.encoder,
        media=manifest.settings,
        train_medians=np.median(scores, axis=0),
        protocol=protocol,
        training_fingerprint=training_fingerprint(manifest),
        path=run_dir / BUNDLE_FOLDER,
    )
    bundle = replace(bundle, calibration=calibrate(bundle, store, manifest, progress))
    save_bundle(bundle, run_dir / BUNDLE_FOLDER)
    return bundle


def _finished(run_dir: Path, config: Config) -> Bundle | None:
    """The run's bundle, if it is whole and of this configuration."""
    if not (run_dir / BUNDLE_FOLDER / BUNDLE_FILE).is_file():
        return None
    try:
        bundle = load_bundle(run_dir)
    except FormatError as error:
        logger.warning("%s: it is made again", error)
        return None
    return bundle if bundle.config == config else None


def calibrate(bundle: Bundle, store: Path, manifest: Manifest, progress: Progress = no_progress) -> Calibration | None:
    """How far a system is off on the validation clips that chose none of its networks; None if they are too few."""
    rows = split_validation(manifest.rows("val"))[1]
    if not rows:
        logger.warning(
            "no intervals: the validation split has %d clips, half of which must be %d or more",
            len(manifest.rows("val")),
            FEWEST_CALIBRATION_CLIPS,
        )
        return None
    features = _features(bundle.nets, store, rows, bundle.config, progress)
    scores, _ = system_scores(bundle.fusion, features, {})
    spoken = Counter(filter(None, (guess_language(row.transcript) for row in manifest.rows("train"))))
    language = spoken.most_common(1)[0][0] if spoken else None
    return Calibration.fit(stack_scores(rows), scores, bundle.fusion.distances(features), language)


def _features(
    nets: Mapping[Stream, StreamNet], store: Path, rows: Sequence[ClipRow], config: Config, progress: Progress
) -> dict[Stream, Float32[np.ndarray, "N 6 F"]]:
    """The features f_reg_p of every clip in the order of `rows`, from its middle frames."""
    features, _ = extract_all(
        nets,
        store,
        rows,
        config.transforms,
        workers=config.training.workers,
        device=choose_device(config.training.device),
        progress=progress,
    )
    return features


def describe_run(store: Path, manifest: Manifest, config: Config, protocol: SplitProtocol = OFFICIAL) -> dict[str, Any]:
    """What a run is made of, as JSON values: the content of `run.json`."""
    return {
        "config": to_dict(config),
        "data": {
            "store": str(store),
            "source": manifest.source,
            "fingerprint": manifest.fingerprint,
            "encoder": manifest.encoder,
            "protocol": str(protocol),
            "train_clips": len(manifest.rows("train")),
            "val_clips": len(manifest.rows("val")),
        },
        "versions": versions(),
        "git_revision": git_revision(),
    }


def _fit_fusions(
    features: Mapping[Stream, Float32[np.ndarray, "N 6 F"]],
    scores: np.ndarray,
    config: Config,
    progress: Progress,
) -> dict[tuple[Stream, ...], Fusion]:
    """The fusion of all streams, and of the two visual ones alone where both and a third are there."""
    if set(features) != set(config.streams):
        raise ConfigError("features of other streams than the configuration names")
    wanted = [config.streams]
    if set(VISUAL) < set(config.streams):
        wanted.append(VISUAL)
    fusions = {}
    for done, streams in enumerate(wanted):
        progress("growing trees", done, len(wanted), "+".join(streams))
        fusions[streams] = Fusion.fit(config.fusion, {stream: features[stream] for stream in streams}, scores)
    progress("growing trees", len(wanted), len(wanted))
    return fusions
