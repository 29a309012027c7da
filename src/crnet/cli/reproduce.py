"""`crnet reproduce`: every table and figure of the paper by one command."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from crnet.cli.configuration import ConfiguredCommand
from crnet.cli.exit_codes import EXIT_DONE, EXIT_FAILURES
from crnet.cli.options import Engine, Flag, Json, Workers, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json
from crnet.errors import FormatError, UsageError
from crnet.types import BACKBONES, Backbone
from crnet.utils.executors import LOCAL
from crnet.utils.text_format import join_words

if TYPE_CHECKING:
    from crnet.config import Config
    from crnet.experiments.workspace import Experiment


@dataclass(frozen=True)
class Reproduce(ConfiguredCommand):
    """Make the tables and figures of the paper from your own data.

    Works out which networks are needed, trains each distinct one once, and writes every table (Markdown, LaTeX, CSV)
    and figure (PNG, CSV) to OUT, with the paper's numbers next to yours. OUT/README.md is the index. If it is
    interrupted, run the same command again to continue. If you request another table, only the missing networks are
    trained. Options such as --init and --training.stages.1.lr change the full CR-Net, and every row deviates from that.
    docs/reproduce.md shows how to add your own tables.
    """

    resumes = True
    extras = ("report", "train")

    what: Annotated[
        Positional[str],
        option(
            "table1 to table7, open-choices, extremes, fig5, fig6, fig8 to fig12, learning-curve, diagnostics; "
            "several separated by commas, or all."
        ),
    ]
    store: Annotated[
        Path,
        option("Clip store with train, val and test splits, made by `crnet prepare` or `crnet simulate --to-store`."),
    ]
    out: Annotated[Path, option("Folder for the tables, the figures and the trained networks.")]
    seeds: Annotated[int, option("Number of random seeds; every network is trained once with each.")] = 3
    backbones: Annotated[
        str, option("Backbones of the visual streams in Tables 1 and 3, separated by commas.", "BACKBONE,...")
    ] = ",".join(BACKBONES)
    workers: Workers = None
    engine: Engine = LOCAL
    protocol: Annotated[
        str,
        option(
            "How clips are assigned to splits: official, video-disjoint (no source video in two splits), "
            "identity-disjoint (no person in two splits; the store must identify the person in each clip) or "
            "grouped-kfold:5 (each clip is tested once, by networks that saw neither its video nor its person; takes 5 "
            "times as long).",
            "PROTOCOL",
        ),
    ] = "official"
    plan: Annotated[
        Flag, option("Only list the networks, show which are already trained, and estimate what the others cost.")
    ] = False
    json: Json = False

    def __call__(self) -> int:
        """Make the tables and figures, or list the networks they need."""
        from crnet.data.splits import SplitProtocol
        from crnet.experiments.reproduce import reproduce

        if self.seeds < 1:
            raise UsageError("seeds must be 1 or more")
        experiments = chosen_experiments(self.what)
        base = self.base_config()
        seeds, backbones, protocol = (
            tuple(range(self.seeds)),
            _backbones(self.backbones),
            SplitProtocol.parse(self.protocol),
        )
        _require_store(self.store)
        if self.plan:
            from crnet.cli.reproduce_plan import show_plan
            from crnet.experiments.workspace import Workspace

            workspace = Workspace.open(self.store, self.out, base, seeds, backbones, protocol=protocol)
            show_plan(workspace, experiments, self.workers, self.json)
            return EXIT_DONE
        with progress_display(self.quiet) as progress:
            report = reproduce(
                experiments,
                self.store,
                self.out,
                base,
                seeds=seeds,
                backbones=backbones,
                workers=self.workers,
                protocol=protocol,
                command=shlex.join(["crnet", *sys.argv[1:]]),
                preset=self.base_name,
                progress=progress,
                engine=self.engine,
            )
        if self.json:
            print_json({"index": str(report.index), "sections": list(report.sections), "failures": report.failures})
        else:
            print(f"{len(report.sections)} tables and figures: {report.index}")
        for name, reason in report.failures.items():
            print(f"not made: {name}: {reason}", file=sys.stderr)
        return EXIT_FAILURES if report.failures else EXIT_DONE

    def base_config(self) -> Config:
        """Return the configuration that the rows of the tables deviate from.

        Raises:
            UsageError: An option is given that has no effect here.
            ConfigError: The values contradict each other.
        """
        given = self.source.load()
        config = self.overridden(given.streams)
        if (config.training.seed, config.fusion.seed) != (given.training.seed, given.fusion.seed):
            raise UsageError("the tables set the seed of every network", remedy="give the number of seeds: --seeds 3")
        if config.fusion.fit_on != given.fusion.fit_on:
            raise UsageError(
                "the tables fix on which clips the fusion is fitted",
                remedy="leave out --fusion.fit-on: Tables 1 and 3 have rows of both kinds",
            )
        return config

    @property
    def base_name(self) -> str:
        """The name of the configuration for the index: "paper", "paper with my.yaml", "paper with options"."""
        names = [] if self.config is None else [self.config.name]
        if self.base_config() != self.source.load():
            names.append("options")
        return " with ".join([self.preset, *filter(None, [join_words(names)])])


def chosen_experiments(what: str) -> tuple[Experiment, ...]:
    """Return the experiments that a comma-separated list names, in the registry's order.

    Raises:
        UsageError: A name is unknown.
    """
    from crnet.experiments.registry import EXPERIMENTS

    names = [name.strip() for name in what.split(",")]
    unknown = [name for name in names if name not in EXPERIMENTS and name != "all"]
    if unknown:
        remedy = f"choose from all, {', '.join(EXPERIMENTS)}"
        raise UsageError(f"unknown table or figure {unknown[0]!r}", remedy=remedy)
    return tuple(experiment for name, experiment in EXPERIMENTS.items() if name in names or "all" in names)


def _backbones(text: str) -> tuple[Backbone, ...]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in BACKBONES:
            raise UsageError(f"unknown backbone {name!r}", remedy=f"choose from {', '.join(BACKBONES)}")
    return tuple(name for name in BACKBONES if name in names)


def _require_store(store: Path) -> None:
    from crnet.data.manifest import MANIFEST_NAME

    if not (store / MANIFEST_NAME).is_file():
        reason = "is no clip store" if store.exists() else "does not exist"
        source = shlex.quote(str(store))
        raise FormatError(
            reason, path=store, remedy=f"make a store: crnet prepare {source} STORE, and give --store STORE"
        )
