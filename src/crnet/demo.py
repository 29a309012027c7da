"""The whole job on simulated people: what `make demo` runs."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from crnet.config import PRESETS, with_seed
from crnet.data.manifest import read_manifest
from crnet.data.prepare import prepare
from crnet.errors import CrnetError
from crnet.evaluation.evaluate import AVERAGE, FLOOR, FUSION, Evaluation, evaluate_run
from crnet.predict import Predictor
from crnet.report.run_report import REPORT_FILE, show_run
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.speech import best_voice
from crnet.simulate.write_dataset import simulate
from crnet.train import train_system
from crnet.types import Prediction
from crnet.utils.files import write_json
from crnet.utils.progress import Progress, no_progress

SECONDS, FPS, HEIGHT = 2.5, 10.0, 240
PREDICTION_FILE = "prediction.json"


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo did.

    Attributes:
        out: Its folder.
        evaluation: On the test split.
        video: The clip that was predicted.
        prediction: What came out.
        seconds: How long each part took.
    """

    out: Path
    evaluation: Evaluation
    video: Path
    prediction: Prediction
    seconds: dict[str, float]

    def summary(self) -> list[str]:
        """The last lines on the terminal: what was done, how far above the floor it got, what to look at."""
        accuracy = {name: figures[AVERAGE]["accuracy"] for name, figures in self.evaluation.systems.items()}
        removed = self.evaluation.systems[FUSION][AVERAGE]["error_removed"] or 0.0
        parts = ", ".join(f"{part} {seconds:.0f} s" for part, seconds in self.seconds.items())
        return [
            f"Done in {sum(self.seconds.values()):.0f} s: {parts}.",
            f"On {len(self.evaluation.rows)} drawn people's test clips the fusion scores {accuracy[FUSION]:.4f} "
            f"(1 - MAE, mean of five traits), {accuracy[FUSION] - accuracy[FLOOR]:+.4f} beside the floor of "
            f"{accuracy[FLOOR]:.4f} that predicting the median for everyone gets: "
            f"{100 * removed:.0f}% of its error is gone.",
            f"Look at {self.out / REPORT_FILE} in a browser; score a video: crnet predict {self.out} VIDEO",
            "The system has seen drawings only: what it says of real people means nothing.",
        ]


def run_demo(out: Path, *, clips: int, seed: int, progress: Progress = no_progress) -> DemoResult:
    """Simulate, prepare, train, evaluate, predict; an interrupted demo goes on where it was.

    Args:
        out: Where everything goes.
        clips: Number of drawn clips.
        seed: Of everything random.
        progress: Told after every step.

    Raises:
        CrnetError: Something is missing or cannot be written.
    """
    people, store, seconds = out / "people", out / "store", {}

    started_s = time.perf_counter()

    def lap(part: str) -> None:
        nonlocal started_s
        now_s = time.perf_counter()
        seconds[part], started_s = now_s - started_s, now_s

    config = SimulationConfig(clips, seed, SECONDS, FPS, HEIGHT, "easy", voice=best_voice())
    simulate(people, config, progress=progress)
    lap("drawing people")
    failures = prepare(people, store, progress=progress).failures
    if failures:
        raise CrnetError(f"{len(failures)} drawn clips could not be prepared: {failures[0].reason}", path=store)
    lap("preparing")
    bundle = train_system(store, out, with_seed(PRESETS["tiny"], seed), progress)
    if bundle is None:
        raise CrnetError("the demo runs in one process", remedy="start it without torchrun")
    lap("training")
    evaluation, folder = evaluate_run(out, store, progress=progress)
    show_run(out, store, evaluation, folder, progress)
    lap("evaluating")
    row = read_manifest(store).rows("test")[0]
    video = next(people.rglob(f"{Path(row.clip_id).stem}.mp4"))
    prediction = Predictor(bundle).predict(video, row.transcript)
    write_json(out / PREDICTION_FILE, prediction.to_dict())
    lap("predicting a clip")
    return DemoResult(out, evaluation, video, prediction, seconds)
