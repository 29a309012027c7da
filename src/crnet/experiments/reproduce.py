"""All tables and figures of a clip store: plan the networks, train the missing ones, make every section and the index.

The results folder holds:

    README.md, results.json  the index, and all numbers
    settings.json            configuration, split protocol and fingerprint of the store (lab.json in version 0.1)
    nets/KEY/STREAM/         every network, named by the fingerprint of its settings, with its outputs
    trees/                   scores of the extra-trees, likewise
    NAME/                    files of a table or figure; README.md shows them, section.json holds the numbers
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crnet.config import Config, to_dict
from crnet.data.splits import OFFICIAL, SplitProtocol
from crnet.errors import CrnetError, FormatError, StorageError
from crnet.experiments.plan import experiment_folds, network_executor, plan, require_initial_weights, train_plan
from crnet.experiments.registry import EXPERIMENTS
from crnet.experiments.rendering.index import INDEX_FILE, SECTION_FILE, RunInfo, write_index
from crnet.experiments.table_experiment import Table
from crnet.experiments.workspace import Experiment, Section, Workspace
from crnet.training.old_names import with_current_fields
from crnet.training.stream import result_settings
from crnet.types import BACKBONES, SPLITS, Backbone
from crnet.utils.device import choose_device
from crnet.utils.executors import LOCAL
from crnet.utils.file_lock import exclusive
from crnet.utils.files import read_json, remove_leftovers, write_json, write_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import code_fingerprint, git_revision, versions
from crnet.utils.resumable import ResumableFolder, as_json, fingerprint

logger = logging.getLogger(__name__)

SETTINGS_FILE, OLD_SETTINGS_FILE, LOCK_FILE = "settings.json", "lab.json", ".lock"


def _results_settings(document: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a results folder from its file, with current names and fields."""
    return {**document, "config": with_current_fields(document["config"])}


RESULTS_FOLDER = ResumableFolder("results of `crnet reproduce`", SETTINGS_FILE, _results_settings, exclusive=False)


@dataclass(frozen=True)
class Report:
    """Outcome of `reproduce`.

    Attributes:
        index: The page that links all sections.
        sections: Names of the sections in the results folder.
        failures: The reason for each failed network or section, by its name.
    """

    index: Path
    sections: tuple[str, ...]
    failures: dict[str, str]


def reproduce(
    experiments: Sequence[Experiment],
    store: Path | str,
    out: Path | str,
    base: Config,
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    backbones: tuple[Backbone, ...] = BACKBONES,
    workers: int | None = None,
    protocol: SplitProtocol = OFFICIAL,
    command: str = "",
    preset: str = "",
    progress: Progress = no_progress,
    engine: str = LOCAL,
) -> Report:
    """Train the networks that the experiments need and make their tables and figures; resume an interrupted call.

    A failed network or section does not stop the others.

    Args:
        experiments: The experiments.
        store: A clip store with the three splits.
        out: The results folder. It may hold other experiments on the same store with the same configuration.
        base: Configuration of the full CR-Net, such as `crnet.config.PRESETS["tiny"]`.
        seeds: Every network is trained once with each seed.
        backbones: Backbones of the visual streams in Tables 1 and 3.
        workers: Number of networks to train at once; 0 and 1 train in this process. None: as many as the cores allow,
            one on a GPU.
        protocol: The protocol that assigns clips to splits. A grouped-kfold trains the networks of the tables K times.
        command, preset: The command line and the name of `base`, for the index.
        progress: Called after every step.
        engine: Where the networks are trained; see `network_executor`. Tables and figures are made here.

    Raises:
        ConfigError: `out` holds results of another store or configuration.
        UsageError: Another run uses `out`, or `workers` is negative.
        FormatError: The file of initial weights does not fit.
        CrnetError: The store is unusable, the disk is full, or a training process died.
    """
    out = Path(out)
    executor = network_executor(base.training, workers, engine)
    workspace = Workspace.open(store, out, base, seeds, backbones, progress, protocol)
    with exclusive(out / LOCK_FILE, out, "wait until it has finished, or choose another folder"):
        planned = plan(workspace, experiments)
        require_initial_weights(planned)
        _check_settings(workspace)
        remove_leftovers(out)
        logger.info("%d networks for %s", len(planned), ", ".join(experiment.name for experiment in experiments))
        untrained = train_plan(workspace, planned, executor)
        failures = {net.spec.summary: untrained[net.folder] for net in planned if net.folder in untrained}
        failures |= _run_experiments(workspace, experiments)
        run = _run_info(workspace, command, preset)
        sections = write_index(out, run, failures, order=tuple(EXPERIMENTS))
    return Report(out / INDEX_FILE, sections, failures)


def _run_info(workspace: Workspace, command: str, preset: str) -> RunInfo:
    return RunInfo(
        command=command,
        preset=preset,
        seeds=workspace.seeds,
        store=str(workspace.store),
        source=workspace.manifest.source,
        conditions=workspace.conditions,
        protocol=str(workspace.protocol.all_folds),
        clips={split: len(workspace.rows(split)) for split in SPLITS},
        device=str(choose_device(workspace.base.training.device)),
        versions=versions(),
        git_revision=git_revision(),
    )


def _check_settings(workspace: Workspace) -> None:
    """Record store and configuration in the results folder; its seeds and experiments may vary from call to call.

    Raises:
        ConfigError: The folder holds results of another store, protocol or configuration.
    """
    if (old := workspace.out / OLD_SETTINGS_FILE).is_file():
        old.replace(workspace.out / SETTINGS_FILE)
    if not require_same_settings(workspace):
        write_json(workspace.out / SETTINGS_FILE, as_json(_settings(workspace)))


def require_same_settings(workspace: Workspace) -> bool:
    """Return True if the results folder holds results of this store and configuration, False if it holds none.

    Raises:
        ConfigError: The folder holds results of another store, protocol or configuration.
    """
    return RESULTS_FOLDER.check(workspace.out, _settings(workspace))


def _settings(workspace: Workspace) -> dict[str, Any]:
    config = to_dict(workspace.base)
    config["training"] = {name: value for name, value in result_settings(config["training"]).items() if name != "seed"}
    protocol = str(workspace.protocol.all_folds)
    return {"config": config, "protocol": protocol, "data": workspace.data_fingerprint}


def _run_experiments(workspace: Workspace, experiments: Sequence[Experiment]) -> dict[str, str]:
    """Make every section; return the reason for each failed one."""
    failures = {}
    for done, experiment in enumerate(experiments):
        workspace.progress("tables and figures", done, len(experiments), experiment.name)
        try:
            _run_experiment(workspace, experiment)
        except StorageError:
            raise
        except CrnetError as error:
            logger.warning("%s: %s", experiment.name, error)
            failures[experiment.name] = str(error)
    workspace.progress("tables and figures", len(experiments), len(experiments))
    return failures


def _run_experiment(workspace: Workspace, experiment: Experiment) -> None:
    """Make a section, unless it exists with the same fingerprint."""
    folder = workspace.out / experiment.name
    current = _section_fingerprint(workspace, experiment)
    built_in = type(experiment).__module__.startswith("crnet.")  # code outside may have changed without our noticing
    if built_in and _is_current(folder, current):
        return
    folder.mkdir(parents=True, exist_ok=True)
    section = experiment.run(workspace, folder)
    files = [path.relative_to(folder).as_posix() for path in section.files]
    write_text(folder / INDEX_FILE, _section_page(section, files))
    document = {"fingerprint": current, "title": section.title, "files": files, "seeds": list(workspace.seeds)}
    write_json(folder / SECTION_FILE, {**document, "data": section.data})


def _section_page(section: Section, files: Sequence[str]) -> str:
    links = ", ".join(f"[{name}]({name})" for name in files)
    return f"# {section.title}\n\n{section.markdown}\n\nFiles: {links or 'none'}\n"


def _is_current(folder: Path, current: str) -> bool:
    """Return True if the folder holds a complete section with the current fingerprint."""
    try:
        document = read_json(folder / SECTION_FILE, "a section")
        return document["fingerprint"] == current and all((folder / name).is_file() for name in document["files"])
    except (FormatError, KeyError, TypeError):
        return False


def _section_fingerprint(workspace: Workspace, experiment: Experiment) -> str:
    """Return a hash of everything that decides a section: networks, clips, seeds, and the code of this package."""
    networks = [
        spec.fingerprint(seed, fold.data_fingerprint)
        for fold in experiment_folds(workspace, experiment)
        for spec in experiment.networks(fold)
        for seed in workspace.seeds
    ]
    settings: list[Any] = [experiment.name, networks, list(workspace.seeds), workspace.data_fingerprint]
    settings += [to_dict(workspace.base.fusion), list(workspace.backbones), code_fingerprint()]
    if isinstance(experiment, Table):  # may be defined outside the package, whose code the hash does not cover
        fusions = [to_dict(row.override(workspace.base).fusion) for row in experiment.rows]
        words = [(row.label, row.resolved_method, row.published) for row in experiment.rows]
        settings += [experiment.title, experiment.notes, fusions, words, [asdict(claim) for claim in experiment.claims]]
    return fingerprint(settings)
