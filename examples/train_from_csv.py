"""Train a system on your own videos with your own scores, from Python.

python examples/train_from_csv.py [FOLDER] [--clips 60] [--epochs 3]

The script first makes what you would bring: FOLDER/my-videos with videos of synthetic people and one scores.csv.
Replace this folder by yours; the rest stays the same.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from crnet.config import PRESETS
from crnet.data.prepare import prepare
from crnet.data.sources.open_dataset import open_dataset
from crnet.evaluation.evaluate import evaluate_run
from crnet.report.run_report import write_run_report
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_dataset import write_dataset
from crnet.train import train_system
from crnet.types import TARGETS


def make_folder(folder: Path, clips: int) -> Path:
    """Make a folder of videos with a CSV; its columns are those of docs/data.md."""
    people = folder / "people"
    config = SimulationConfig(clips, seconds=1.5, fps=8, height=96, difficulty="easy", voice="built-in")
    write_dataset(people, config, workers=0)
    labels = open_dataset(people).clips
    videos = folder / "my-videos"
    videos.mkdir(exist_ok=True)
    with (videos / "scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["clip", "split", "person", *TARGETS, "transcript", "group_gender"])
        for name, clip in labels.items():
            shutil.copy(next(people.rglob(f"{Path(name).stem}.mp4")), videos / name)
            groups = clip.groups["gender"]
            table.writerow([name, clip.split, clip.person or "", *(clip.scores or ()), clip.transcript, groups])
    return videos


def main() -> None:
    """Make the folder, prepare, train, evaluate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="for everything; by default a temporary one")
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        videos = make_folder(folder, options.clips)
        store, run = folder / "store", folder / "run"
        report = prepare(videos, store, workers=0)
        print(f"prepared {report.done} clips, {len(report.failures)} failed")

        config = PRESETS["tiny"]
        stages = tuple(replace(stage, epochs=options.epochs) for stage in config.training.stages)
        train_system(store, run, replace(config, training=replace(config.training, stages=stages, device="cpu")))

        evaluation, figures = evaluate_run(run, store, device="cpu")
        page = write_run_report(run, store, evaluation, figures)
        for system, metrics in evaluation.systems.items():
            print(f"{system}: 1 - MAE {metrics['average']['accuracy']:.4f}")
        print(f"report: {page}")


if __name__ == "__main__":
    main()
