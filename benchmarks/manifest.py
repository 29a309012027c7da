"""Memory and time of a manifest of synthetic rows: open it, take a split, iterate over it and draw clips at random.

Each size runs in a process of its own. The rows are as long as those of First Impressions v2: names of 15 characters,
transcripts of some 300.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.measurements import Measurement
from crnet.data.clip_row import ClipRow
from crnet.data.clip_rows import light_rows, place_of, scores_at
from crnet.data.dataset import require_scores
from crnet.data.manifest import Manifest, read_manifest, write_manifest_rows
from crnet.data.splits import SplitProtocol, assign_splits, split_validation
from crnet.data.store import clip_path
from crnet.types import SPLITS
from crnet.utils.process_memory import peak_mib

SIZES = (10_000, 100_000, 1_000_000)
WORDS = 60  # of a transcript
VOCABULARY = 20_000
DRAWN = 10_000
CHILD = "import sys; from benchmarks.manifest import read; read(sys.argv[1])"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark's options."""
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="numbers of rows (default: %(default)s)")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield memory and seconds for each number of rows."""
    for count in options.rows:
        with TemporaryDirectory() as folder:
            started = time.monotonic()
            write_manifest_rows(folder, Manifest((), "folder", {}, "", ""), _rows(count), count)
            yield _row(count, "write", time.monotonic() - started, "s")
            megabytes = sum(path.stat().st_size for path in Path(folder).rglob("*.parquet")) / 1e6
            yield _row(count, "size on disk", megabytes, "MB")
            child = subprocess.run([sys.executable, "-c", CHILD, folder], capture_output=True, text=True, check=True)
            for name, (value, unit) in json.loads(child.stdout).items():
                yield _row(count, name, value, unit)


def _row(count: int, name: str, value: float, unit: str) -> Measurement:
    return Measurement(f"manifest of {count:,} rows: {name}", value, unit, goal=None, limit="")


def _rows(count: int) -> Iterator[ClipRow]:
    """Yield synthetic rows in the order of a manifest, in FIv2's shares of 3:1:1."""
    rng = np.random.default_rng(0)
    start = 0
    for split, share in zip(SPLITS, (0.6, 0.2, 0.2), strict=True):
        for number in range(start, start := start + round(share * count)):
            name = f"v{number // 6:08}.{number % 6:03}.mp4"
            words = " ".join(map(str, rng.integers(0, VOCABULARY, WORDS)))
            scores = tuple(rng.random(6).tolist())
            yield ClipRow(name, clip_path(name), split, scores, None, {"gender": "female"}, words, 15.3, 459, 30, 32)


def read(folder: str) -> None:
    """Use a manifest as a training and an evaluation do, and print what each step took."""
    import pyarrow.compute
    import pyarrow.parquet  # noqa: F401  # imports are no part of what is measured
    import torch  # noqa: F401

    before = peak_mib()
    steps: dict[str, tuple[float, str]] = {}
    started = time.monotonic()

    def done(name: str) -> None:
        nonlocal started
        steps[name] = time.monotonic() - started, "s"
        started = time.monotonic()

    manifest = read_manifest(folder)
    done("open")
    rows = manifest.rows("train")
    require_scores(rows)
    split_validation(manifest.rows("val"))
    done("take the training split, divide the validation split")
    light = sum(len(row.clip_id) for row in light_rows(rows))
    done("iterate over names and scores")
    whole = sum(len(row.transcript) for row in rows)
    done("iterate over whole rows")
    order = np.random.default_rng(0).permutation(len(rows))[:DRAWN].tolist()
    drawn = sum(len(place_of(rows, index)[1]) + len(scores_at(rows, index)) for index in order)
    done(f"draw file and scores of {min(DRAWN, len(rows)):,} clips at random")
    assert min(light, whole, drawn) > 0
    steps["peak memory above that of the imports"] = peak_mib() - before, "MiB"
    assign_splits(manifest, SplitProtocol.parse("video-disjoint"))
    done("assign the splits of video-disjoint")
    steps["peak memory with video-disjoint splits"] = peak_mib() - before, "MiB"
    print(json.dumps(steps))
