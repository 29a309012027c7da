"""From a store to all tables and figures: plan the networks, train what is missing, make every section, index them.

The results' folder holds:

    README.md, results.json  the index, and all numbers
    lab.json                 on which store and with which configuration
    nets/KEY/STREAM/         every network, named by what decides it; its outputs beside it
    trees/                   what extra-trees said, likewise
    NAME/                    a table's or figure's files; README.md shows it, section.json holds its numbers
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import crnet
from crnet.config import Config, to_dict
from crnet.data.splits import OFFICIAL, SplitProtocol
from crnet.errors import CrnetError, FormatError, StorageError, UsageError
from crnet.experiments.plan import folds_of, plan, train_plan
from crnet.experiments.rendering.index import About, write_index
from crnet.experiments.table import Table
from crnet.experiments.workspace import Experiment, Lab, Section
from crnet.training.distributed import choose_device
from crnet.training.parallel_streams import nets_at_once
from crnet.training.stream import decisive_fields
from crnet.utils.files import read_json, write_json, write_text
from crnet.utils.progress import Progress, no_progress
from crnet.utils.provenance import git_revision, versions
from crnet.utils.resumable import ResumableFolder, as_json, content_fingerprint, fingerprint

logger = logging.getLogger(__name__)

LAB_FILE, LOCK_FILE = "lab.json", ".lock"
SECTION_FILE = "section.json"
PAGE_FILE = "README.md"
RESULTS_FOLDER = ResumableFolder("results of `crnet reproduce`", LAB_FILE, exclusive=False)


@dataclass(frozen=True)
class Report:
    """What came of it.

    Attributes:
        index: The page that links everything.
        made: Names of the sections that are there.
        failures: Why a network or a section could not be made, by its name.
    """

    index: Path
    made: tuple[str, ...]
    failures: dict[str, str]


def reproduce(
    experiments: Sequence[Experiment],
    store: Path,
    out: Path,
    base: Config,
    *,
    seeds: tuple[int, ...] = (0, 1, 2),
    backbones: tuple[str, ...] = ("r2d34", "r3d34"),
    workers: int | None = None,
    protocol: SplitProtocol = OFFICIAL,
    command: str = "",
    preset: str = "",
    progress: Progress = no_progress,
) -> Report:
    """Train what the experiments need and make their tables and figures; goes on where an earlier call stopped.

    Args:
        experiments: Which.
        store: A store with the three splits.
        out: Where everything goes. Other experiments on the same store and configuration may be there already.
        base: The full CR-Net, such as `crnet.config.PRESETS["tiny"]`.
        seeds: Every network is trained once with each.
        backbones: Of the visual streams, in Tables 1 and 3.
        workers: Networks to train at once; None: as many as the cores allow, one on a GPU.
        protocol: How the clips are dealt to splits. A grouped-kfold trains every network of the tables K times.
        command, preset: For the record.
        progress: Told after every step.

    Returns:
        What is there now. A failed network or section does not end the others.

    Raises:
        ConfigError: `out` holds results of another store or configuration.
        UsageError: Another run works in `out`.
        CrnetError: The store is unusable, the disk is full, or a training process died.
    """
    lab = Lab.open(store, out, base, seeds, backbones, progress, protocol)
    with _alone(out):
        _begin(lab)
        return _reproduce(lab, experiments, workers, command, preset)


def _reproduce(lab: Lab, experiments: Sequence[Experiment], workers: int | None, command: str, preset: str) -> Report:
    planned = plan(lab, experiments)
    if workers is None:
        workers = nets_at_once(lab.base.training, choose_device(lab.base.training.device))
    logger.info("%d networks for %s", len(planned), ", ".join(experiment.name for experiment in experiments))
    broken = train_plan(lab, planned, workers)
    failures = {net.spec.summary: broken[net.folder] for net in planned if net.folder in broken}
    about = About(
        command=command,
        preset=preset,
        seeds=lab.seeds,
        store=str(lab.store),
        source=lab.manifest.source,
        conditions=lab.conditions,
        protocol=str(lab.protocol.whole),
        clips={split: len(lab.rows(split)) for split in ("train", "val", "test")},
        device=str(choose_device(lab.base.training.device)),
        versions=versions(),
        git_revision=git_revision(),
    )
    for done, experiment in enumerate(experiments):
        lab.progress("tables and figures", done, len(experiments), experiment.name)
        try:
            _make(lab, experiment)
        except StorageError:
            raise
        except CrnetError as error:
            logger.warning("%s: %s", experiment.name, error)
            failures[experiment.name] = str(error)
    lab.progress("tables and figures", len(experiments), len(experiments))
    made = write_index(lab.out, about, failures)
    return Report(lab.out / PAGE_FILE, made, failures)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder: both would train the same networks, each over the other's files.

    Raises:
        UsageError: There is one already.
        OSError: The folder cannot be written.
    """
    try:
        import fcntl
    except ImportError:  # not on Windows, whose users must look themselves
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                "another `crnet reproduce` works in this folder",
                path=out,
                remedy="wait for it, or choose another folder",
            ) from error
        yield


def _begin(lab: Lab) -> None:
    """Record what the results are made from. One folder holds one configuration on one store, with any seeds.

    Raises:
        ConfigError: The folder holds results of another store, protocol or configuration.
    """
    config = to_dict(lab.base)
    config["training"] = {name: value for name, value in decisive_fields(config["training"]).items() if name != "seed"}
    settings = {"config": config, "protocol": str(lab.protocol.whole), "data": lab.data_digest}
    if not RESULTS_FOLDER.check(lab.out, settings):
        write_json(lab.out / LAB_FILE, as_json(settings))


def _make(lab: Lab, experiment: Experiment) -> None:
    """A section and its files, unless it is there already, of the same networks and the same code."""
    folder = lab.out / experiment.name
    section_fingerprint = _section_fingerprint(lab, experiment)
    ours = type(experiment).__module__.startswith("crnet.")  # what one of your own does may have changed unseen
    if ours and _is_made(folder, section_fingerprint):
        return
    folder.mkdir(parents=True, exist_ok=True)
    section = experiment.run(lab, folder)
    names = [path.relative_to(folder).as_posix() for path in section.files]
    write_text(folder / PAGE_FILE, _page(section, names))
    document = {"identity": section_fingerprint, "title": section.title, "files": names, "seeds": list(lab.seeds)}
    write_json(folder / SECTION_FILE, {**document, "data": section.data})


def _page(section: Section, names: Sequence[str]) -> str:
    links = ", ".join(f"[{name}]({name})" for name in names)
    return f"# {section.title}\n\n{section.markdown}\n\nFiles: {links or 'none'}\n"


def _is_made(folder: Path, section_fingerprint: str) -> bool:
    try:
        document = read_json(folder / SECTION_FILE, "a section")
        names = document["files"]
        return document["identity"] == section_fingerprint and all((folder / name).is_file() for name in names)
    except (FormatError, KeyError, TypeError):
        return False


def _section_fingerprint(lab: Lab, experiment: Experiment) -> str:
    """Of everything that decides a section: networks, clips, seeds, and the code of this package."""
    keys = [
        spec.key(seed, fold.data_digest)
        for fold in folds_of(lab, experiment)
        for spec in experiment.nets(fold)
        for seed in lab.seeds
    ]
    decisive: list[Any] = [experiment.name, keys, list(lab.seeds), lab.data_digest]
    decisive += [to_dict(lab.base.fusion), list(lab.backbones), source_fingerprint()]
    if isinstance(experiment, Table):  # perhaps one of your own, which the package's code does not tell
        fusions = [to_dict(row.change(lab.base).fusion) for row in experiment.rows]
        words = [(row.key, row.asked, row.printed) for row in experiment.rows]
        decisive += [experiment.title, experiment.notes, fusions, words, [asdict(claim) for claim in experiment.claims]]
    return fingerprint(decisive)


@cache
def source_fingerprint() -> str:
    """A hash of the package's own code: after a change, tables and figures are made again, networks are not."""
    return content_fingerprint(path.read_bytes() for path in sorted(Path(crnet.__file__).parent.rglob("*.py")))
