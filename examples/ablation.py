"""Ask a question of your own, and get a table with a tested claim: how wide must a network be?

python examples/ablation.py [FOLDER] [--clips 60] [--epochs 2]

Each row of the table is a system that differs from the full CR-Net in one point. crnet trains what the rows need, each
network once, tests the claim, and writes the table as Markdown, LaTeX and CSV. docs/reproduce.md explains the table.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from crnet.config import PRESETS
from crnet.experiments.claims import Claim
from crnet.experiments.config_overrides import with_model
from crnet.experiments.reproduce import reproduce
from crnet.experiments.table_experiment import Table, TableRow
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store

WIDTHS = Table(
    "widths",
    "How wide must a network be?",
    rows=(
        TableRow("Face", "width 16", ("face",)),
        TableRow("Face", "width 8", ("face",), with_model(width=8)),
    ),
    claims=(Claim("wide beats narrow", "my guess", better="Face: width 16", worse="Face: width 8"),),
)


def main() -> None:
    """Draw clips straight into a store, train the rows, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for everything; by default a temporary one")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=2)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        people = SimulationConfig(options.clips, seconds=1.5, fps=8, height=96, difficulty="easy", voice="built-in")
        write_store(folder / "store", people, frames_per_segment=1, workers=0)

        config = PRESETS["tiny"]
        stages = tuple(replace(stage, epochs=options.epochs) for stage in config.training.stages)
        config = replace(config, training=replace(config.training, stages=stages, device="cpu"))
        reproduce([WIDTHS], folder / "store", folder / "results", config, seeds=(0, 1))
        for file in sorted((folder / "results" / "widths").glob("*.md")):
            print(file.read_text())


if __name__ == "__main__":
    main()
