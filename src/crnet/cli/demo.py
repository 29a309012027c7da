"""`crnet demo`: the whole job on synthetic people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import Command, DeviceOption, Seed, Workers, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import console


@dataclass(frozen=True)
class Demo(Command):
    """Run the whole pipeline on synthetic people.

    Simulates people, prepares the clips, trains three tiny streams and the fusion, evaluates them, scores one clip, and
    writes tables, plots and report.html to OUT. This takes a few minutes on two cores. If it is interrupted, run the
    same command again to continue.
    """

    resumes = True
    extras = ("report", "simulate", "train")

    out: Annotated[Positional[Path], option("Folder for everything the demo makes.")] = Path("runs/demo")
    clips: Annotated[int, option("Number of synthetic clips.")] = 320
    seed: Seed = 0
    device: DeviceOption = "auto"
    workers: Workers = None

    def __call__(self) -> int:
        """Run the demo and print its tables."""
        from crnet.cli.evaluation_tables import tables
        from crnet.demo import run_demo

        screen = console()
        with progress_display(self.quiet) as progress:
            result = run_demo(
                self.out,
                clips=self.clips,
                seed=self.seed,
                device=self.device,
                workers=self.workers,
                progress=progress,
            )
        for table in tables(result.evaluation):
            screen.print(table)
        for line in result.summary():
            screen.print(line, highlight=False)
        return EXIT_DONE
