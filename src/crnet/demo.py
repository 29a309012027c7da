"""The whole job on synthetic people: what `make demo` runs."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from crnet.config import PRESETS, with_seed
from crnet.data.manifest import read_manifest
from crnet.data.prepare import prepare
from crnet.errors import CrnetError
from crnet.evaluation.evaluate import evaluate_run
from crnet.evaluation.evaluation import FLOOR, FUSION, Evaluation
from crnet.metrics import AVERAGE
from crnet.predict import Predictor
from crnet.report.page_templates import REPORT_FILE
from crnet.report.run_report import write_run_report
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.speech import best_voice
from crnet.simulate.write_dataset import write_dataset
from crnet.train import train_system
from crnet.types import TRAINED_ON_SYNTHETIC_PEOPLE, Prediction
from crnet.utils.device import Device
from crnet.utils.files import write_json
from crnet.utils.number_format import decimal, difference, percent
from crnet.utils.progress import Progress, no_progress

SECONDS, FPS, HEIGHT = 2.5, 10.0, 240
PREDICTION_FILE = "prediction.json"


@dataclass(frozen=True, eq=False)
class DemoResult:
    """The result of the demo.

    Attributes:
        out: Its folder.
        evaluation: The evaluation on the test split.
        video: The video that was scored.
        prediction: The scores of that video.
        seconds: Duration of each step.
    """

    out: Path
    evaluation: Evaluation
    video: Path
    prediction: Prediction
    seconds: dict[str, float]

    def summary(self) -> list[str]:
        """Return the last lines for the terminal: durations, accuracy beside the floor, and what to do next."""
        accuracy = {system: metrics[AVERAGE]["accuracy"] for system, metrics in self.evaluation.systems.items()}
        removed = self.evaluation.systems[FUSION][AVERAGE]["error_removed"]
        steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in self.seconds.items())
        return [
            f"Done in {sum(self.seconds.values()):.0f} s: {steps}.",
            f"On {len(self.evaluation.rows)} test clips of synthetic people, the fusion reaches 1 - MAE "
            f"{decimal(accuracy[FUSION])} (mean of the five traits). Predicting the training median for everyone, the "
            f"floor, reaches {decimal(accuracy[FLOOR])}: the fusion differs by "
            f"{difference(accuracy[FUSION] - accuracy[FLOOR])} and removes {percent(removed, 0)} of the floor's error.",
            f"Open {self.out / REPORT_FILE} in a browser, or score a video: crnet predict {self.out} VIDEO",
            TRAINED_ON_SYNTHETIC_PEOPLE,
        ]


def run_demo(
    out: Path | str,
    *,
    clips: int,
    seed: int,
    device: Device = "auto",
    workers: int | None = None,
    progress: Progress = no_progress,
) -> DemoResult:
    """Simulate, prepare, train, evaluate and predict. Calling it again resumes an interrupted demo.

    Args:
        out: The folder for all files.
        clips: Number of synthetic clips.
        seed: Random seed.
        device: Where the networks run; auto uses a GPU if there is one.
        workers: Processes that simulate and prepare clips; see `worker_processes`.
        progress: Called after every step.

    Raises:
        CrnetError: A clip cannot be prepared, a package is missing, or a file cannot be written.
    """
    out, timer = Path(out), _Timer()
    videos, store = out / "people", out / "store"
    config = SimulationConfig(clips, seed, SECONDS, FPS, HEIGHT, "easy", voice=best_voice())
    write_dataset(videos, config, workers=workers, progress=progress)
    timer.end("simulating")
    failures = prepare(videos, store, workers=workers, progress=progress).failures
    if failures:
        reason = failures[0].reason
        raise CrnetError(f"{len(failures)} synthetic clips could not be prepared, the first: {reason}", path=store)
    timer.end("preparing")
    tiny = with_seed(PRESETS["tiny"], seed)
    bundle = train_system(store, out, replace(tiny, training=replace(tiny.training, device=device)), progress)
    if bundle is None:
        raise CrnetError("the demo runs in one process only", remedy="start it without torchrun")
    timer.end("training")
    evaluation, folder = evaluate_run(out, store, device=device, progress=progress)
    write_run_report(out, store, evaluation, folder, progress)
    timer.end("evaluating")
    row = read_manifest(store).rows("test")[0]
    video = next(videos.rglob(f"{Path(row.clip_id).stem}.mp4"))
    prediction = Predictor(bundle).predict(video, row.transcript, allow_no_face=True)
    write_json(out / PREDICTION_FILE, prediction.to_dict())
    timer.end("predicting one clip")
    return DemoResult(out, evaluation, video, prediction, timer.seconds)


class _Timer:
    """Measures how long each step takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start_s = time.perf_counter()

    def end(self, step: str) -> None:
        """Record the time since the end of the step before."""
        now_s = time.perf_counter()
        self.seconds[step], self._start_s = now_s - self._start_s, now_s
