"""Rows of prediction: scoring a clip with a full-size system, warm and from a cold start."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clips import bare_decode
from benchmarks.inputs import Inputs
from benchmarks.measurements import Measurement, alternate, medians, timed, wall_ratio
from crnet.bundle.load import open_bundle
from crnet.bundle.quantize import QUANTIZED_STREAMS, quantize
from crnet.bundle.runtime import open_networks
from crnet.bundle.stored_networks import graphs
from crnet.models.openvino_networks import OpenVinoNetworks, stream_inputs
from crnet.predict import Predictor
from crnet.text.transcripts import find_transcript
from crnet.utils.device import BFLOAT16_FLAGS, cpu_flags

WARM_GOAL, INT8_GOAL, COLD_GOAL_S = 2.5, 1.8, 1.0


def measure(inputs: Inputs) -> Iterator[Measurement]:
    """Yield the rows of warm prediction in every precision that this processor is made for, and of a cold start."""
    system = open_bundle(inputs.bundle)
    predictor = Predictor(system)
    systems = {"predict: warm": (predictor, WARM_GOAL)}
    if cpu_flags() & BFLOAT16_FLAGS:
        systems["predict: warm, bfloat16"] = (Predictor(system, open_networks(system, "cpu", "bfloat16")), WARM_GOAL)
    systems["predict: warm, int8"] = (Predictor(system, _int8_networks(predictor, inputs.clip)), INT8_GOAL)
    yield from warm_rows(inputs.clip, systems, inputs.effort.repeats)
    yield cold_row(inputs.clip, inputs.bundle, predictor, inputs.effort.few_repeats)


def _int8_networks(predictor: Predictor, clip: Path) -> OpenVinoNetworks:
    """Return the networks in int8, calibrated on one clip: enough for their speed."""
    batch = predictor.batch(predictor.read(clip, find_transcript(clip, ""), allow_no_face=True))
    models = {
        stream: quantize(build(), [stream_inputs(stream, batch, 0)], 1) if stream in QUANTIZED_STREAMS else build()
        for stream, build in graphs(predictor.bundle.networks, predictor.bundle.config).items()
    }
    return OpenVinoNetworks({stream: partial(_same, model) for stream, model in models.items()})


def _same(model: Any) -> Any:
    return model


def warm_rows(clip: Path, systems: Mapping[str, tuple[Predictor, float]], repeats: int) -> Iterator[Measurement]:
    """Yield the wall time of scoring a clip over that of bare decoding, for each system with its goal."""
    scorings = [partial(predictor.predict, clip, "") for predictor, _ in systems.values()]
    decoding, *times = alternate(repeats, partial(bare_decode, clip), *scorings)
    limit = "wall time of bare decoding of picture and sound"
    for (name, (_, goal)), scoring in zip(systems.items(), times, strict=True):
        detail = medians("work", scoring) | medians("limit", decoding) | {"repeats": repeats}
        yield Measurement(name, wall_ratio(scoring, decoding), "x", goal, limit, detail=detail)


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
