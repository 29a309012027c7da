"""Registry of all benchmarks, of which there are two kinds. To add one, write a module and give it a line here.

- Parts of the table in docs/performance.md (`TABLE`) have `measure(inputs)` and share their inputs and options.
- Benchmarks with their own options (`SCRIPTS`) have `add_arguments(parser)` and `measure(options)`. Their docstrings
  are their help.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement

ALL = "all"

TABLE = {
    "prepare": "reading a clip against bare decoding; memory of a worker",
    "faces": "face tracker against the full detector on every frame",
    "dataloader": "samples a second against decoding the same JPEG files",
    "train": "a training step with its data against one in memory",
    "predict": "scoring a clip against bare decoding; cold start",
    "forest": "extra-trees against scikit-learn; speed of the full forest",
}
"""Parts of the results table in docs/performance.md. Their goals depend on the machine."""

SCRIPTS = {
    "audit-power": "biases planted in labels against what an audit finds (an hour)",
    "controls": "streams learn the cues they can see and nothing else",
    "evidence": "the paper's claims where their effects can be seen (an hour)",
    "explain-cost": "time and memory of explaining one video at full size",
    "face-finding": "share of synthetic faces that MTCNN finds, by group",
    "full-forest": "the paper's 6 x 1,000 trees against scikit-learn (an hour)",
    "gpu": "training steps and a training curve on a GPU (ten minutes)",
    "growth": "cost against pixels, duration, clips, workers and trees",
    "impact-ratio": "how often intervals of impact ratios hold the true ratio",
    "interval-width": "intervals that depend on the clip against constant ones",
    "known-optima": "what each loss and a class-guided regression gain, without pictures",
    "manifest": "memory and time of a manifest of 10,000 and of 1,000,000 rows",
    "overfit": "the printed recipe fits eight clips at full size",
    "serve-load": "many concurrent requests to crnet serve, some broken",
    "weak-signal": "systems on nearly unpredictable scores (an hour)",
}
"""Benchmarks on their own, with their own options. They fail if a goal is missed."""


class TablePart(Protocol):
    """Module of a part of the table."""

    def measure(self, inputs: Inputs) -> Iterator[Measurement]:
        """Yield the part's rows."""


class Script(Protocol):
    """Module of a benchmark with its own options."""

    __doc__: str | None

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the benchmark's options."""

    def measure(self, options: argparse.Namespace) -> Iterator[Measurement]:
        """Yield the benchmark's rows."""


def table_part(name: str) -> TablePart:
    """Import a part of the table."""
    return cast("TablePart", import_module(f"benchmarks.{name}"))


def script(name: str) -> Script:
    """Import a benchmark with its own options."""
    return cast("Script", import_module(f"benchmarks.{name.replace('-', '_')}"))
