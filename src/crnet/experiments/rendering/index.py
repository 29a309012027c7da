"""README.md and results.json of a results folder: all sections in it and what they were made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.experiments.claims import OPEN_CHOICE, Verdict
from crnet.experiments.rendering.claims_table import write_claims
from crnet.types import SCALE
from crnet.utils.files import read_json, write_json, write_text

INDEX_FILE, RESULTS_FILE, SECTION_FILE = "README.md", "results.json", "section.json"

SIMULATED = (
    "**Synthetic people.** A simulator drew these clips, and their scores follow known rules. The results show whether "
    "the method can learn such rules, not how good it is on real people. Compare orderings with the paper, not numbers."
)


@dataclass(frozen=True)
class RunInfo:
    """Settings and environment of a run, for the index.

    Attributes:
        command: The command line.
        preset: Name of the configuration.
        seeds: Seeds of the networks.
        store: Path of the clip store.
        source: Kind of clips in the store.
        conditions: See `Workspace.conditions`.
        protocol: The protocol that assigns clips to splits.
        clips: Number of clips in each split; with cross-validation, of the first fold.
        device: The device of the training.
        versions: Versions of the packages.
        git_revision: Revision of the code; None outside a checkout.
    """

    command: str
    preset: str
    seeds: tuple[int, ...]
    store: str
    source: str
    conditions: str
    protocol: str
    clips: Mapping[str, int]
    device: str
    versions: Mapping[str, str]
    git_revision: str | None


def write_index(out: Path, run: RunInfo, failures: Mapping[str, str], order: Sequence[str]) -> tuple[str, ...]:
    """Write the index of all sections in `out`, including those of earlier calls.

    Args:
        out: The results folder.
        run: Settings and environment.
        failures: The reason for each failed network or section.
        order: Names of sections, in the order of the index; other sections come last.

    Returns:
        Names of the sections.

    Raises:
        StorageError: The files cannot be written.
    """
    sections = _read_sections(out, order)
    lines = ["# Tables and figures of CR-Net", ""]
    lines += [SIMULATED, ""] if run.source == "simulated" else []
    lines += [run.conditions, ""]
    if failures:
        lines += ["**Some networks or sections failed:**", ""]
        lines += [f"- {name}: {reason}" for name, reason in failures.items()] + [""]
    lines += ["| section | seeds | files |", "|---|---|---|"]
    lines += [_section_line(name, section) for name, section in sections.items()] + [""]
    lines += _claims_lines(out, sections)
    lines += ["## How these results were made", "", *_run_lines(run), ""]
    write_text(out / INDEX_FILE, "\n".join(lines))
    document = {"about": asdict(run), "scale": dict(SCALE), "failures": dict(failures), "sections": sections}
    write_json(out / RESULTS_FILE, document)
    return tuple(sections)


def _read_sections(out: Path, order: Sequence[str]) -> dict[str, Any]:
    """Read every finished section. Sections of older versions, without a fingerprint, are left out until made again."""
    sections: dict[str, Any] = {}
    for path in sorted(out.glob(f"*/{SECTION_FILE}")):
        try:
            document = read_json(path, "a section")
            if "fingerprint" not in document:
                continue
            sections[path.parent.name] = {name: document[name] for name in ("title", "files", "seeds", "data")}
        except (FormatError, KeyError, TypeError):
            continue  # not a section
    places = [*order, *sections]
    return {name: sections[name] for name in sorted(sections, key=places.index)}


def _claims_lines(out: Path, sections: Mapping[str, Any]) -> list[str]:
    """Write the claims of all sections, the paper's and the open choices apart; return the lines that show them."""
    verdicts = [
        (name, Verdict.from_dict(document))
        for name, section in sections.items()
        for document in section["data"].get("claims", ())
    ]
    lines = []
    for stem, heading, is_open in (
        ("claims", "Which of the paper's claims hold", False),
        ("open-choices", "Open choices", True),
    ):
        chosen = [(name, verdict) for name, verdict in verdicts if (verdict.source == OPEN_CHOICE) == is_open]
        if chosen:
            table, files = write_claims(out, stem, [verdict for _, verdict in chosen], [name for name, _ in chosen])
            links = ", ".join(f"[{path.name}]({path.name})" for path in files)
            lines += [f"## {heading}", "", table.to_markdown(), f"Files: {links}", ""]
    return lines


def _section_line(name: str, section: Mapping[str, Any]) -> str:
    by_stem: dict[str, list[str]] = {}
    for file in section["files"]:
        stem, _, extension = file.rpartition(".")
        by_stem.setdefault(stem, []).append(f"[{extension}]({name}/{file})")
    files = "; ".join(f"{stem}: {' '.join(links)}" for stem, links in by_stem.items())
    return f"| [{section['title']}]({name}/README.md) | {len(section['seeds'])} | {files} |"


def _run_lines(run: RunInfo) -> list[str]:
    packages = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    clips = ", ".join(f"{count} {split}" for split, count in run.clips.items())
    if run.protocol.startswith("grouped-kfold"):
        clips += " in the first fold, which fig10 and fig11 show; tables and extremes pool all folds"
    return [
        f"- command: `{run.command or 'Python'}`",
        f"- preset: {run.preset or 'custom configuration'}; seeds: {', '.join(map(str, run.seeds))}",
        f"- store: `{run.store}` ({run.source}); splits: {run.protocol}; clips: {clips}; "
        "the validation split selects the networks, and all numbers are from the test split",
        f"- device: {run.device}",
        f"- versions: {packages}; revision {run.git_revision or 'unknown'}",
        f"- numbers: [{RESULTS_FILE}]({RESULTS_FILE}), and a CSV in each section's folder",
    ]
