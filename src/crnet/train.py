"""Train a system from a clip store: three streams, fusion, bundle. `crnet train` runs this.

A run folder holds:

    run.json                 configuration, data, versions and git revision
    scene/ face/ audio-text/ one folder per stream, see `crnet.training.stream`
    bundle/                  the system: everything that prediction needs, see `crnet.bundle.bundle`
    scene+face.safetensors   the fusion of the two visual streams alone, for evaluation
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import VISUAL_FUSION_FILE, load_bundle
from crnet.bundle.save import save_bundle
from crnet.bundle.verify import BUNDLE_FILE, BUNDLE_FOLDER, model_info, read_document
from crnet.config import RUN_FILE, Config, to_dict
from crnet.data.clip_rows import light_rows
from crnet.data.dataset import longest_audio_samples, require_scores, stack_scores
from crnet.data.manifest import ClipRow, Manifest, read_manifest
from crnet.data.splits import (
    FEWEST_CALIBRATION_CLIPS,
    OFFICIAL,
    SplitProtocol,
    assign_splits,
    split_group,
    split_validation,
    training_fingerprint,
)
from crnet.errors import FormatError, LabelError
from crnet.fusion.conformal import Calibration
from crnet.fusion.feature_file import FeatureFile
from crnet.fusion.fusion import Fusion, system_scores
from crnet.fusion.held_out import HeldOutClips
from crnet.fusion.interval_width import ClipFacts, WidthModel
from crnet.models.crnet import StreamNet
from crnet.models.inference import extract_all, extract_in_blocks
from crnet.text.language import guess_language
from crnet.training.checkpoint import load_net
from crnet.training.distributed import DistributedContext, distributed_context
from crnet.training.old_names import with_current_fields
from crnet.training.parallel_streams import train_streams
from crnet.training.stream import TrainingJob, result_settings
from crnet.types import VISUAL_STREAMS, Stream
from crnet.utils.device import choose_device, require_fast
from crnet.utils.files import remove_leftovers, write_arrays, write_json
from crnet.utils.path_checks import on_disk
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder
from crnet.utils.storage import as_path

if TYPE_CHECKING:
    from jaxtyping import Float32

logger = logging.getLogger(__name__)


def _run_settings(document: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration and protocol of a run without the fields that do not affect its results."""
    protocol = document["data"].get("protocol", str(OFFICIAL))  # the first versions recorded none
    return {**_result_config(document["config"]), "protocol": protocol}


def _result_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration without the fields that do not affect its results."""
    current = with_current_fields(config)
    return {**current, "training": result_settings(current["training"])}


RUN_FOLDER = ResumableFolder("a run", RUN_FILE, _run_settings, exclusive=False)


def train_system(
    store: Path | str,
    run_dir: Path | str,
    config: Config,
    progress: Progress = no_progress,
    *,
    protocol: SplitProtocol = OFFICIAL,
) -> Bundle | None:
    """Train every stream, fit the fusion and write the bundle. Repeating the call resumes an interrupted run.

    Args:
        store: A store made by `crnet prepare`, with a training split.
        run_dir: The run folder.
        config: The configuration; `transforms.audio_samples` None becomes the longest sound of the training split.
        progress: Called after every step.
        protocol: Decides which clips train and which select networks; `crnet.evaluation.evaluate` measures on the rest.

    Returns:
        The system; None in all processes but the main one.

    Raises:
        LabelError: There are no training clips, clips lack scores, or there are too few clips for the protocol.
        ConfigError: `run_dir` holds a run of another configuration, or the configuration does not fit the data.
        CrnetError: A file cannot be read or written; see `crnet.training.parallel_streams.train_streams`.
    """
    store, run_dir = as_path(store), on_disk(run_dir, "a run")
    manifest = assign_splits(read_manifest(store), protocol)
    _require_labels(store, manifest)
    config = _with_audio_length(config, store, manifest)
    with distributed_context(config.training.device) as context:  # joined once for all streams; it cannot be rejoined
        _begin_run(run_dir, describe_run(store, manifest, config, protocol), config, context)
        job = TrainingJob(store, manifest, run_dir, config.model, config.transforms, config.training)
        weights = train_streams(config.streams, job, context, progress)
    if not context.is_main:
        return None
    remove_leftovers(run_dir)
    if (bundle := _finished_bundle(run_dir, config)) is not None:
        return bundle
    bundle, held_out = _fit_system(store, manifest, run_dir, config, weights, protocol, progress)
    bundle = replace(bundle, calibration=calibrate(bundle, store, manifest, held_out, progress))
    folder = run_dir / BUNDLE_FOLDER
    save_bundle(bundle, folder)
    return replace(bundle, path=folder, model=model_info(folder, read_document(folder)))


def _require_labels(store: Path, manifest: Manifest) -> None:
    """Check that there are training clips and that all of them have scores.

    Raises:
        LabelError: There are none, or some lack scores.
    """
    rows = manifest.rows("train")
    if not rows:
        remedy = "give some clips split=train and prepare again"
        if any(row.scores is not None for row in manifest.clips):
            remedy += ", or let --protocol video-disjoint or identity-disjoint assign them to splits"
        raise LabelError("no clip belongs to the training split", path=store, remedy=remedy)
    require_scores(rows)


def _with_audio_length(config: Config, store: Path, manifest: Manifest) -> Config:
    """Return the configuration with the length of the audio input, in samples."""
    if config.transforms.audio_samples is not None:
        return config
    longest = longest_audio_samples(store, manifest.rows("train"))
    return replace(config, transforms=replace(config.transforms, audio_samples=longest))


def _begin_run(run_dir: Path, description: dict[str, Any], config: Config, context: DistributedContext) -> None:
    """Write the description of a new run, or check that of an earlier one.

    Raises:
        ConfigError: `run_dir` holds a run of another configuration, or the networks cannot be trained on this device.
        UsageError: `run_dir` is a file.
    """
    config.model.require_trainable_on(context.device.type)
    require_fast(config.training.precision, context.device.type)
    RUN_FOLDER.check(run_dir, description)
    context.barrier()  # every process has read the folder before the main one writes
    if context.is_main:
        write_json(run_dir / RUN_FILE, description)


def _finished_bundle(run_dir: Path, config: Config) -> Bundle | None:
    """Return the run's bundle if it is complete and its configuration gives the same results."""
    if not (run_dir / BUNDLE_FOLDER / BUNDLE_FILE).is_file():
        return None
    try:
        bundle = load_bundle(run_dir)
    except FormatError as error:
        logger.warning("%s: writing the bundle again", error)
        return None
    same = _result_config(to_dict(bundle.config)) == _result_config(to_dict(config))
    return bundle if same else None


def _fit_system(
    store: Path,
    manifest: Manifest,
    run_dir: Path,
    config: Config,
    weights: Mapping[Stream, Path],
    protocol: SplitProtocol,
    progress: Progress,
) -> tuple[Bundle, HeldOutClips | None]:
    """Fit the fusion of the trained networks.

    Returns:
        The system without its calibration, and the clips that fitted the fusion; None if those are training clips.
    """
    rows = manifest.rows("train")
    scores = stack_scores(rows)
    model = replace(config.model, init=None)  # trained networks do not need the initial weights
    networks = {stream: load_net(path, stream, model) for stream, path in weights.items()}
    features = _features_on_disk(networks, store, rows, run_dir, config, progress)
    held_out = _held_out_clips(networks, store, manifest, config, progress)
    fusions = _fit_fusions(features, scores, held_out, config, progress)
    if VISUAL_STREAMS in fusions:
        write_arrays(run_dir / VISUAL_FUSION_FILE, fusions[VISUAL_STREAMS].to_tensors())
    bundle = Bundle(
        config=config,
        networks=networks,
        fusion=fusions[config.streams],
        training_source=manifest.source,
        encoder=manifest.encoder,
        media=manifest.settings,
        train_medians=np.median(scores, axis=0),
        protocol=protocol,
        training_fingerprint=training_fingerprint(manifest),
        path=run_dir / BUNDLE_FOLDER,
    )
    return bundle, held_out


def _features_on_disk(
    networks: Mapping[Stream, StreamNet],
    store: Path,
    rows: Sequence[ClipRow],
    run_dir: Path,
    config: Config,
    progress: Progress,
) -> dict[Stream, FeatureFile]:
    """Return the features of all clips, which may be too many for the memory, in temporary files of the run folder."""
    files = {stream: FeatureFile(run_dir) for stream in networks}
    for features, _ in extract_in_blocks(networks, store, rows, **_inference(config, progress)):
        for stream, file in files.items():
            file.append(features[stream])
    return files


def _held_out_clips(
    networks: Mapping[Stream, StreamNet], store: Path, manifest: Manifest, config: Config, progress: Progress
) -> HeldOutClips | None:
    """Return the validation clips that selected the networks; None if there are none, or the fusion needs none."""
    rows, _ = split_validation(manifest.rows("val"))
    if not rows or config.fusion.fit_on == "training":
        return None
    features, scores = _outputs(networks, store, rows, config, progress)
    return HeldOutClips(features, scores, stack_scores(rows), [split_group(row) for row in light_rows(rows)])


def calibrate(
    bundle: Bundle,
    store: Path,
    manifest: Manifest,
    held_out: HeldOutClips | None = None,
    progress: Progress = no_progress,
) -> Calibration | None:
    """Measure the errors of a system on the validation clips that did not select its networks.

    Args:
        bundle: The system.
        store: Its clip store.
        manifest: The clips of the store.
        held_out: Other clips that trained no network, which decide how the width of an interval depends on the clip;
            None: it does not.
        progress: Called after every batch of clips.

    Returns:
        The calibration; None, with a warning, if there are too few such clips.
    """
    rows = split_validation(manifest.rows("val"))[1]
    if not rows:
        logger.warning(
            "no intervals: half of the validation split (%d clips) must provide at least %d clips for calibration",
            len(manifest.rows("val")),
            FEWEST_CALIBRATION_CLIPS,
        )
        return None
    widths = None
    if held_out is not None:
        widths = WidthModel.fit(held_out.truth, _clip_facts(bundle, held_out.features, held_out.scores))
    blocks = extract_in_blocks(bundle.networks, store, rows, **_inference(bundle.config, progress))
    facts = ClipFacts.joined(_clip_facts(bundle, *block) for block in blocks)
    languages = Counter(filter(None, (guess_language(row.transcript) for row in manifest.rows("train"))))
    language = languages.most_common(1)[0][0] if languages else None
    return Calibration.fit(stack_scores(rows), facts, language, widths)


def _clip_facts(bundle: Bundle, features: Mapping[Stream, ArrayLike], scores: Mapping[Stream, ArrayLike]) -> ClipFacts:
    return ClipFacts(*system_scores(bundle.fusion, features, scores), bundle.fusion.distances(features))


def _outputs(
    networks: Mapping[Stream, StreamNet], store: Path, rows: Sequence[ClipRow], config: Config, progress: Progress
) -> tuple[dict[Stream, Float32[np.ndarray, "N 6 F"]], dict[Stream, Float32[np.ndarray, "N 6"]]]:
    """Return the features f_reg_p and the scores of every clip in the order of `rows`, from its middle frames."""
    return extract_all(networks, store, rows, **_inference(config, progress))


def _inference(config: Config, progress: Progress) -> dict[str, Any]:
    """Return how networks are run, as arguments of `extract_all`."""
    training = config.training
    device = choose_device(training.device)
    return {"transforms": config.transforms, "workers": training.workers, "device": device, "progress": progress}


def describe_run(store: Path, manifest: Manifest, config: Config, protocol: SplitProtocol = OFFICIAL) -> dict[str, Any]:
    """Return the content of `run.json`: configuration, data and versions, as JSON values."""
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
    features: Mapping[Stream, FeatureFile],
    scores: np.ndarray,
    held_out: HeldOutClips | None,
    config: Config,
    progress: Progress,
) -> dict[tuple[Stream, ...], Fusion]:
    """Fit the fusion of all streams and, if there is a third stream, that of the two visual streams alone."""
    combinations = [config.streams]
    if set(VISUAL_STREAMS) < set(config.streams):
        combinations.append(VISUAL_STREAMS)
    fusions = {}
    for done, streams in enumerate(combinations):
        progress("growing trees", done, len(combinations), "+".join(streams))
        chosen = {stream: features[stream] for stream in streams}
        fusions[streams] = Fusion.fit(config.fusion, chosen, scores, held_out)
        logger.info("fusion of %s: %s", "+".join(streams), fusions[streams].summary)
    progress("growing trees", len(combinations), len(combinations))
    return fusions
