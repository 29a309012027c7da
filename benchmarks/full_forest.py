"""The paper's whole forest, 6 x 1,000 trees on 6,000 clips of 512 features, beside scikit-learn's own: once, an hour.

    python benchmarks/full_forest.py [--trees 1000] [--clips 6000] [--features 512]

Target by target, `Forest` and scikit-learn grow the same trees on the same drawn numbers, taking turns at being first.
Prints one JSON document; exit code 1 if a goal is missed. `crnet bench trees` takes the same with 50 trees.
"""

from __future__ import annotations

import argparse
import json
import logging
import pickle
import statistics
import sys

import numpy as np

from benchmarks.forest import (
    CLIP_GOAL_MS,
    EQUAL_GOAL,
    FIT_GOAL,
    SIZE_GOAL,
    Size,
    clips_through,
    drawn_task,
    sklearn_forest,
)
from benchmarks.measurements import Spent, machine, timed, wall_ratio
from crnet.fusion.forest import Forest
from crnet.fusion.fusion import PAPER_MAX_FEATURES, PAPER_TREES
from crnet.types import TARGETS
from crnet.utils.process_memory import peak_mib

UNSEEN_CLIPS, TIMED_CLIPS = 1_000, 31


def main() -> int:
    """Grow both, target by target, and compare; then time single clips through what was grown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=PAPER_TREES)
    parser.add_argument("--clips", type=int, default=6_000)
    parser.add_argument("--features", type=int, default=PAPER_MAX_FEATURES)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    size = Size(asked.trees, asked.clips, asked.features)
    grown: list[Forest] = []
    ours: list[Spent] = []
    theirs: list[Spent] = []
    pickled_bytes, far = 0, 0.0
    for place, target in enumerate(TARGETS):
        rng = np.random.default_rng(place)
        x, y = drawn_task(size, rng)
        reference = sklearn_forest(size, seed=place)
        turns = [
            lambda x=x, y=y, place=place: grown.append(
                Forest.fit(x, y, trees=size.trees, max_features=size.features, seed=place)
            ),
            lambda x=x, y=y, reference=reference: reference.fit(x[:, 0], y[:, 0]),
        ]
        spent = {turn: timed(turns[turn]) for turn in ((0, 1) if place % 2 == 0 else (1, 0))}
        ours.append(spent[0])
        theirs.append(spent[1])
        counted = Counted()
        pickle.dump(reference, counted)
        pickled_bytes += counted.size
        unseen = rng.normal(size=(UNSEEN_CLIPS, 1, size.features)).astype(np.float32)
        far = max(far, float(np.abs(grown[-1].predict(unseen)[:, 0] - reference.predict(unseen[:, 0])).max()))
        logging.info("%s: %.0f s, scikit-learn %.0f s", target, ours[-1].wall_s, theirs[-1].wall_s)
    forest = joined(grown)
    kept_bytes = sum(array.nbytes for array in forest.to_tensors().values())
    clip_ms = 1000 * statistics.median(one.wall_s for one in clips_through(forest, TIMED_CLIPS))
    ratio, share = wall_ratio(ours, theirs), kept_bytes / pickled_bytes
    document = {
        "trees": [len(TARGETS), size.trees],
        "clips": size.clips,
        "features": size.features,
        "nodes": len(forest.feature),
        "ours_wall_s": [round(one.wall_s, 1) for one in ours],
        "ours_cpu_s": [round(one.cpu_s, 1) for one in ours],
        "sklearn_wall_s": [round(one.wall_s, 1) for one in theirs],
        "sklearn_cpu_s": [round(one.cpu_s, 1) for one in theirs],
        "time_ratio": round(ratio, 3),
        "mb": round(kept_bytes / 1e6, 1),
        "pickled_mb": round(pickled_bytes / 1e6, 1),
        "size_ratio": round(share, 4),
        "predictions_apart": far,
        "one_clip_ms": round(clip_ms, 2),
        "peak_mib": round(peak_mib()),
        "machine": machine(),
    }
    print(json.dumps(document, indent=2))
    holds = ratio <= FIT_GOAL and share <= SIZE_GOAL and far <= EQUAL_GOAL and clip_ms <= CLIP_GOAL_MS
    return 0 if holds else 1


def joined(forests: list[Forest]) -> Forest:
    """One forest of all targets, out of one of each."""
    ends = np.cumsum([0, *(len(forest.feature) for forest in forests)])
    return Forest(
        np.concatenate([forest.feature for forest in forests]),
        np.concatenate([forest.value for forest in forests]),
        np.concatenate([forest.jump for forest in forests]),
        np.concatenate([forest.start + end for forest, end in zip(forests, ends, strict=False)]),
        forests[0].features,
    )


class Counted:
    """A file that keeps nothing but its length: scikit-learn's six pickles are 5 GB."""

    size = 0

    def write(self, data: bytes | pickle.PickleBuffer) -> int:
        """Count."""
        length = memoryview(data).nbytes
        self.size += length
        return length


if __name__ == "__main__":
    sys.exit(main())
