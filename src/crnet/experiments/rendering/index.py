"""README.md and results.json of a results' folder: everything that is there, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.experiments.paper.claims import Verdict
from crnet.experiments.paper.open_choices import OPEN_READING
from crnet.experiments.registry import EXPERIMENTS
from crnet.experiments.rendering.write_table import write_claims
from crnet.utils.files import read_json, write_json, write_text

SIMULATED = (
    "**Simulated people.** These clips are drawings whose scores follow known rules. What holds here says whether the "
    "method can learn such rules, not how good it is on real people; compare orderings, not numbers, with the paper's."
)


@dataclass(frozen=True)
class About:
    """What results were made with.

    Attributes:
        command: The command line.
        preset: Name of the configuration.
        seeds: Of the repetitions.
        store: Where the clips are.
        source: What kind of clips.
        conditions: What a reader of any number must know.
        protocol: How they were dealt to splits.
        clips: Number of clips of each split; of several folds, of the first.
        device: Where the networks were trained.
        versions: Of the packages.
        git_revision: Of the code, None outside a checkout.
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


def write_index(out: Path, about: About, failures: Mapping[str, str]) -> tuple[str, ...]:
    """Write the index of all sections in `out`, whichever call made them.

    Returns:
        The sections' names.
    """
    sections = _sections(out)
    lines = ["# Tables and figures of CR-Net", ""]
    lines += [SIMULATED, ""] if about.source == "simulated" else []
    lines += [about.conditions, ""]
    if failures:
        lines += ["**Not everything could be made:**", ""]
        lines += [f"- {name}: {reason}" for name, reason in failures.items()] + [""]
    lines += ["| section | seeds | files |", "|---|---|---|", *(_line(name, s) for name, s in sections.items()), ""]
    lines += _judged(out, sections)
    lines += ["## Made with", "", *_made_with(about), ""]
    write_text(out / "README.md", "\n".join(lines))
    write_json(out / "results.json", {"about": asdict(about), "failures": dict(failures), "sections": sections})
    return tuple(sections)


def _sections(out: Path) -> dict[str, Any]:
    """What every finished section left, in the order of the registry; sections of one's own come last."""
    found: dict[str, Any] = {}
    for path in sorted(out.glob("*/section.json")):
        try:
            document = read_json(path, "a section")
            found[path.parent.name] = {name: document[name] for name in ("title", "files", "seeds", "data")}
        except (FormatError, KeyError, TypeError):
            continue  # not ours
    order = [*EXPERIMENTS, *found]
    return {name: found[name] for name in sorted(found, key=order.index)}


def _judged(out: Path, sections: Mapping[str, Any]) -> list[str]:
    """All claims of all sections, the paper's and the open readings apart, and their files."""
    found = [
        (name, Verdict.from_dict(document))
        for name, section in sections.items()
        for document in section["data"].get("claims", ())
    ]
    lines = []
    for stem, heading, is_open in (
        ("claims", "Which of the paper's orderings hold here", False),
        ("open-readings", "Open readings", True),
    ):
        chosen = [(name, verdict) for name, verdict in found if (verdict.source == OPEN_READING) == is_open]
        if chosen:
            names, verdicts = zip(*chosen, strict=True)
            grid, files = write_claims(out, stem, verdicts, names)
            links = ", ".join(f"[{path.name}]({path.name})" for path in files)
            lines += [f"## {heading}", "", grid.to_markdown(), f"Files: {links}", ""]
    return lines


def _line(name: str, section: Mapping[str, Any]) -> str:
    by_stem: dict[str, list[str]] = {}
    for file in section["files"]:
        stem, _, ending = file.rpartition(".")
        by_stem.setdefault(stem, []).append(f"[{ending}]({name}/{file})")
    files = "; ".join(f"{stem}: {' '.join(links)}" for stem, links in by_stem.items())
    return f"| [{section['title']}]({name}/README.md) | {len(section['seeds'])} | {files} |"


_OF_FOLDS = {False: "", True: " in the first fold, of which fig10 and fig11 are; tables and extremes pool all folds"}


def _made_with(about: About) -> Sequence[str]:
    packages = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    clips = ", ".join(f"{count} {split}" for split, count in about.clips.items())
    folds = about.protocol.startswith("grouped-kfold")
    return [
        f"- command: `{about.command or 'Python'}`",
        f"- preset: {about.preset or 'its own configuration'}; seeds: {', '.join(map(str, about.seeds))}",
        f"- store: `{about.store}` ({about.source}); splits: {about.protocol}; clips: {clips}{_OF_FOLDS[folds]}; "
        "networks are chosen on val, numbers are of test",
        f"- trained on: {about.device}",
        f"- versions: {packages}; revision {about.git_revision or 'unknown'}",
        "- numbers: [results.json](results.json), and a CSV in each section's folder",
    ]
