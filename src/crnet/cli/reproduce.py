"""Every table and figure of the paper by one command."""

from __future__ import annotations

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from crnet.cli.exit_codes import EXIT_DONE, EXIT_FAILURES
from crnet.cli.terminal import bars, console, print_json
from crnet.errors import FormatError, UsageError
from crnet.utils.device import Device

if TYPE_CHECKING:
    from crnet.experiments.workspace import Experiment, Lab


def reproduce(
    what: str,
    /,
    *,
    data: Path,
    out: Path,
    preset: Literal["tiny", "small", "paper"] = "paper",
    seeds: int = 3,
    backbones: str = "r2d34,r3d34",
    workers: int | None = None,
    protocol: str = "official",
    device: Device = "auto",
    plan: bool = False,
    json: bool = False,
) -> int:
    """Tables and figures of the paper, with its numbers beside those measured here.

    Plans the networks that are needed, trains each distinct one once, and leaves Markdown, LaTeX, CSV and PNG of every
    table and figure in OUT, with OUT/README.md as the index. Stopped at any moment, the same command goes on where it
    was; another table needs only the networks that are not there yet. docs/reproduce.md shows how to add your own.

    Args:
        what: table1 to table7, readings, extremes, fig5, fig6, fig8 to fig12, learning-curve, diagnostics; several with
            commas, or all.
        data: A clip store with the splits train, val and test, made by `crnet prepare` or `crnet simulate --to-store`.
        out: Where everything goes.
        preset: The configuration that rows deviate from: paper (full size), small, tiny.
        seeds: How often every network is trained.
        backbones: Of the visual streams in Tables 1 and 3: r2d34, r3d34, or both with a comma.
        workers: Networks trained at once; by default one on a GPU, on the CPU as many as the preset's threads allow.
        protocol: How the clips are dealt to splits: official, video-disjoint (no source video in two splits),
            identity-disjoint (no person in two; needs persons in DATA), or grouped-kfold:5 (each clip is tested once,
            by networks that saw none of its video or person; the tables take K times as long).
        device: Where the networks compute; auto takes a GPU if there is one.
        plan: Only list the networks, and which of them are trained already.
        json: Print the result as JSON.
    """
    from crnet.config import PRESETS
    from crnet.data.splits import SplitProtocol
    from crnet.experiments.reproduce import reproduce as make

    if seeds < 1 or (workers is not None and workers < 1):
        raise UsageError("seeds and workers must be 1 or more")
    experiments = chosen_experiments(what)
    base = PRESETS[preset]
    base = replace(base, training=replace(base.training, device=device))
    numbers, kinds, dealt = tuple(range(seeds)), _backbones(backbones), SplitProtocol.parse(protocol)
    _refuse_what_is_no_store(data)
    if plan:
        from crnet.experiments.workspace import Lab

        return _show_plan(Lab.open(data, out, base, numbers, kinds, protocol=dealt), experiments, json)
    with bars() as progress:
        report = make(
            experiments,
            data,
            out,
            base,
            seeds=numbers,
            backbones=kinds,
            workers=workers,
            protocol=dealt,
            command=shlex.join(["crnet", *sys.argv[1:]]),
            preset=preset,
            progress=progress,
        )
    if json:
        print_json({"index": str(report.index), "sections": list(report.made), "failures": report.failures})
    else:
        print(f"{len(report.made)} tables and figures: {report.index}")
    for name, reason in report.failures.items():
        print(f"not made: {name}: {reason}", file=sys.stderr)
    return EXIT_FAILURES if report.failures else EXIT_DONE


def chosen_experiments(what: str) -> tuple[Experiment, ...]:
    """The experiments that a comma-separated list names, in the registry's order.

    Raises:
        UsageError: One is unknown.
    """
    from crnet.experiments.registry import EXPERIMENTS

    names = [name.strip() for name in what.split(",")]
    unknown = [name for name in names if name not in EXPERIMENTS and name != "all"]
    if unknown:
        raise UsageError(f"unknown table or figure {unknown[0]!r}", remedy=f"all, or some of {','.join(EXPERIMENTS)}")
    return tuple(experiment for name, experiment in EXPERIMENTS.items() if name in names or "all" in names)


def _backbones(text: str) -> tuple[str, ...]:
    known = ("r2d34", "r3d34")
    names = [name.strip() for name in text.split(",")]
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"unknown backbone {unknown[0]!r}", remedy=f"choose of {','.join(known)}")
    return tuple(name for name in known if name in names)


def _refuse_what_is_no_store(data: Path) -> None:
    from crnet.data.manifest import MANIFEST_NAME

    if not (data / MANIFEST_NAME).is_file():
        missing = "is no clip store" if data.exists() else "does not exist"
        raise FormatError(
            missing,
            path=data,
            remedy=f"make a store: crnet prepare {shlex.quote(str(data))} STORE, and give --data STORE",
        )


def _show_plan(lab: Lab, experiments: tuple[Experiment, ...], json: bool) -> int:
    from crnet.experiments.net_spec import is_trained
    from crnet.experiments.plan import plan

    nets = plan(lab, experiments)
    rows = [
        {
            "network": net.spec.summary,
            "seed": net.seed,
            "protocol": str(net.protocol),
            "epochs": net.epochs,
            "epochs_done": net.epochs_done,
            "trained": is_trained(net.folder),
            "folder": str(net.folder),
            "needed_by": list(net.needed_by),
        }
        for net in nets
    ]
    if json:
        print_json({"networks": rows})
        return EXIT_DONE
    screen = console()
    for net, row in zip(nets, rows, strict=True):
        state = "trained" if row["trained"] else f"{net.epochs_done} of {net.epochs} epochs"
        fold = "" if net.protocol.fold is None else f"; fold {net.protocol.fold} of {net.protocol.folds}"
        line = f"{net.spec.summary}; seed {net.seed}{fold}; {state}; for {', '.join(net.needed_by)}"
        screen.print(line, highlight=False, markup=False)
    print(f"{len(nets)} networks, {sum(bool(row['trained']) for row in rows)} of them trained")
    return EXIT_DONE
