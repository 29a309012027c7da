"""`crnet demo`: the whole job on synthetic people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.terminal import bars, console

if TYPE_CHECKING:
    pass


def demo(out: Path = Path("runs/demo"), /, *, clips: int = 320, seed: int = 0) -> int:
    """The whole job on simulated people, in minutes on two cores.

    Draws people, prepares them, trains the three tiny streams and the fusion, evaluates, predicts one clip, and leaves
    tables, plots and report.html in OUT.

    Args:
        out: Where everything goes; the same command goes on where a stopped one was.
        clips: Number of drawn clips.
        seed: Of everything random.
    """
    from crnet.cli.evaluation_tables import tables
    from crnet.demo import run_demo

    screen = console()
    with bars() as progress:
        result = run_demo(out, clips=clips, seed=seed, progress=progress)
    for table in tables(result.evaluation):
        screen.print(table)
    for line in result.summary():
        screen.print(line, highlight=False)
    return EXIT_DONE
