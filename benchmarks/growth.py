"""How cost grows with the size of a frame, the length of a clip, the number of clips and workers, and for the trees.

    python benchmarks/growth.py [--video VIDEO] [--clips 12] [--repeats 3]

The video (by default a drawn one) is brought to three sizes and two lengths; `crnet prepare` runs over so many clips
of it, and over twice as many, with one worker and with one for each core. Prints one JSON document; takes ten minutes
on two cores.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.clips import bare_decode, standard_clip
from benchmarks.forest import Size, drawn_task
from benchmarks.measurements import in_turn, machine, threads, timed
from crnet.data.prepare import prepare
from crnet.fusion.forest import Forest
from crnet.media.reader import read_video
from crnet.utils.executors import available_cores

HEIGHTS = (360, 720, 1080)
SECONDS = (15.0, 60.0)
TREE_CLIPS, TREES = (1_500, 3_000, 6_000), 10


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="of a talking person")
    parser.add_argument("--clips", type=int, default=12, help="of a data set")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, nargs=2, default=SECONDS, help="a short clip and a long one")
    asked = parser.parse_args()
    short_s, long_s = asked.seconds
    with tempfile.TemporaryDirectory(prefix="crnet-growth-") as name:
        folder = Path(name)
        clips = {
            f"{height}p": standard_clip(asked.video, folder / f"{height}p.mp4", short_s, height) for height in HEIGHTS
        }
        clips |= {f"{long_s:g} s": standard_clip(asked.video, folder / "long.mp4", long_s)}
        document: dict[str, Any] = {
            "seconds": [short_s, long_s],
            "a_clip": {which: of_a_clip(clip, asked.repeats) for which, clip in clips.items()},
            "a_data_set": of_a_data_set(clips["720p"], folder, asked.clips, asked.repeats),
            "trees": {count: of_trees(count) for count in TREE_CLIPS},
            "machine": machine(),
        }
    print(json.dumps(document, indent=2))
    return 0


def of_a_clip(clip: Path, repeats: int) -> dict[str, float]:
    """CPU seconds of one thread, all frames kept."""
    with threads(1):
        bare, work = in_turn(repeats, partial(bare_decode, clip), partial(read_video, clip))
    return {
        "decode_cpu_s": round(statistics.median(one.cpu_s for one in bare), 3),
        "prepare_cpu_s": round(statistics.median(one.cpu_s for one in work), 3),
        "mb": round(clip.stat().st_size / 1e6, 2),
    }


def of_a_data_set(clip: Path, folder: Path, clips: int, repeats: int) -> dict[str, float]:
    """Seconds by the clock of preparing so many clips, and twice as many, with one worker and with all cores."""
    sources = {count: copies(clip, folder / f"source{count}", count) for count in (clips, 2 * clips)}
    cases = [(clips, 1), (clips, available_cores()), (2 * clips, available_cores())]
    spent: dict[tuple[int, int], list[float]] = {case: [] for case in cases}
    for _ in range(repeats):
        for count, workers in cases:
            out = folder / "store"
            spent[count, workers].append(timed(partial(prepare, sources[count], out, workers=workers)).wall_s)
            shutil.rmtree(out)
    return {
        f"{count} clips, {workers} workers, s": round(statistics.median(of_case), 2)
        for (count, workers), of_case in spent.items()
    }


def copies(clip: Path, folder: Path, count: int) -> Path:
    """A folder with so many copies of a clip."""
    folder.mkdir()
    for number in range(count):
        shutil.copyfile(clip, folder / f"{number:03d}.mp4")
    return folder


def of_trees(clips: int) -> dict[str, float]:
    """Seconds of growing one target's trees on so many clips, and what they take."""
    size = Size(TREES, clips)
    x, y = drawn_task(size, np.random.default_rng(0))
    grown: list[Forest] = []
    spent = timed(lambda: grown.append(Forest.fit(x, y, trees=size.trees, max_features=size.features, seed=0)))
    return {"cpu_s": round(spent.cpu_s, 2), "nodes": len(grown[0].feature)}


if __name__ == "__main__":
    sys.exit(main())
