"""Rows of prediction: scoring a clip with a full-size system, warm and from a cold start."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.clips import bare_decode
from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement, alternate, medians, timed, wall_ratio
from crnet.bundle.load import open_bundle
from crnet.bundle.runtime import open_networks
from crnet.predict import Predictor

WARM_GOAL, COLD_GOAL_S = 2.5, 2.5


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the rows of warm prediction in both precisions, and of a cold start."""
    system = open_bundle(inputs.bundle)
    predictor = Predictor(system)
    yield from warm_rows(
        inputs.clip, predictor, Predictor(system, open_networks(system, "cpu", "bfloat16")), inputs.effort.repeats
    )
    yield cold_row(inputs.clip, inputs.bundle, predictor, inputs.effort.few_repeats)


def warm_rows(clip: Path, exact: Predictor, fast: Predictor, repeats: int) -> Iterator[Measurement]:
    """Yield the wall time of scoring a clip over that of bare decoding."""
    decoding, in_float32, in_bfloat16 = alternate(
        repeats, partial(bare_decode, clip), partial(exact.predict, clip, ""), partial(fast.predict, clip, "")
    )
    limit = "wall time of bare decoding of picture and sound"
    for name, scoring in (("predict: warm", in_float32), ("predict: warm, bfloat16", in_bfloat16)):
        detail = medians("work", scoring) | medians("limit", decoding) | {"repeats": repeats}
        yield Measurement(name, wall_ratio(scoring, decoding), "x", WARM_GOAL, limit, detail=detail)


def cold_row(clip: Path, bundle: Path, predictor: Predictor, repeats: int) -> Measurement:
    """Return the wall time that starting a process and loading the system add to a prediction."""
    # The peak memory of the other process is unknown here.
    rounds = [(replace(timed(partial(_predict_cold, clip, bundle)), peak_mib=None),
               timed(partial(predictor.predict, clip, "")))
              for _ in range(repeats)]  # fmt: skip
    cold, warm = ([pair[i] for pair in rounds] for i in (0, 1))
    added_s = statistics.median(a.wall_s - b.wall_s for a, b in rounds)
    bundle_mb = round(sum(file.stat().st_size for file in bundle.iterdir()) / 1e6)
    detail = medians("work", cold) | medians("limit", warm) | {"bundle_mb": bundle_mb}
    limit = "the same clip in a process that has scored one before; the bundle is in the page cache"
    return Measurement("predict: cold start adds", added_s, "s", COLD_GOAL_S, limit, detail=detail)


def _predict_cold(clip: Path, bundle: Path) -> None:
    command = [sys.executable, "-m", "crnet", "predict", str(bundle), str(clip), "--transcript", "", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
