"""The campaign of damaged bundles, stores, labels, tables, subtitles and archives."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz.file_kinds import KINDS, FileKind
from tests.fuzz.measure import CaseResult, classify, measured
from tests.fuzz.mutators import Rng, mutate_bytes
from tests.fuzz.structure_mutators import STRUCTURED

IN_FORMAT = 0.45  # share of the damage that keeps the format of the file, where there is such a mutator
REPLACED = 0.1  # share of the damage that puts another file of the same format in its place


@dataclass(frozen=True)
class FileJob:
    """One case: its number, the seed of the campaign, and the folder for its files."""

    number: int
    seed: int
    work: Path


_intact: dict[Path, object] = {}


def run_file_job(job: FileJob) -> CaseResult:
    """Damage one file of a copy of an intact folder, and read the folder. Runs in a worker."""
    rng = np.random.default_rng([job.seed, job.number])
    kind = _choose(rng)
    intact_folder = _intact_folder(kind, job.work)
    # The same path for every case, so that results that quote it are equal.
    folder = job.work / "case"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(intact_folder, folder)
    damage = _damage(kind, folder, rng)
    sizes: list[float] = []
    with measured(sizes):
        outcome, detail = classify(
            lambda: kind.read(folder),
            _intact[intact_folder],
            lambda result: kind.judge(_intact[intact_folder], result, folder),
            (str(folder),),
        )
    return CaseResult(job.number, kind.name, damage, outcome, detail, *sizes)


def _choose(rng: Rng) -> FileKind:
    weights = np.array([kind.weight for kind in KINDS])
    return KINDS[int(rng.choice(len(KINDS), p=weights / weights.sum()))]


def _intact_folder(kind: FileKind, work: Path) -> Path:
    """Return the intact folder of a kind, made at first use, and read once to know its result."""
    folder = work / f"intact {kind.make.__name__}"
    if not folder.exists():
        folder.mkdir(parents=True)
        kind.make(folder)
    if folder not in _intact:
        copy = work / "case"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        _intact[folder] = kind.read(copy)
    return folder


def _damage(kind: FileKind, folder: Path, rng: Rng) -> str:
    """Damage one file of a folder; return its name and what was done."""
    files = sorted(path for path in folder.glob(kind.only) if path.is_file())
    path = files[int(rng.integers(len(files)))]
    alike = [other for other in files if other.suffix == path.suffix and other != path] or files
    other = alike[int(rng.integers(len(alike)))].read_bytes()
    content, choice = path.read_bytes(), rng.random()
    if choice < REPLACED and len(alike) and alike != files:
        changed, damage = other, "replaced"
    elif choice < REPLACED + IN_FORMAT and path.suffix in STRUCTURED:
        changed, damage = STRUCTURED[path.suffix](content, rng)
    else:
        changed, damage = mutate_bytes(content, other, rng)
    path.write_bytes(changed)
    kind.after(folder)
    return f"{path.relative_to(folder)}: {damage}"[:200]
