"""Train systems on nearly unpredictable scores (R2 of .05 from text), and compare them with what they must not lose to.

Two systems for each seed: text alone, and all three streams. On the test split, the audio-text network is compared
with ridge regression on the same text vectors (scikit-learn, penalty chosen on the validation split), the fusion with
its best stream, and every system with the floor. Scores are 1 - MAE, the average over the five traits.

Rerunning the same command resumes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.linear_model import Ridge

from benchmarks.measurements import Measurement
from benchmarks.weak_clips import PIXELS, SEGMENTS, write_weak_store
from crnet.bundle.load import load_bundle, load_visual_fusion
from crnet.config import PRESET_NAMES, PRESETS, Config, with_seed
from crnet.data.dataset import read_texts, stack_scores
from crnet.data.manifest import read_manifest
from crnet.evaluation.evaluate import evaluate
from crnet.evaluation.evaluation import FLOOR, FUSION
from crnet.metrics import AVERAGE
from crnet.train import train_system
from crnet.types import STREAMS, TARGETS, TRAITS, Split

TOLERANCE = -0.0005
PENALTIES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
RIDGE_R2 = "R2 of ridge"
SYSTEMS = {"text alone": ("audio-text",), "all streams": STREAMS}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the folder, the number of seeds and clips, and the size of the systems."""
    parser.add_argument("out", type=Path, help="folder for the stores and systems")
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, for clips and training (default: 5)")
    parser.add_argument("--clips", type=int, default=5_000, help="clips, divided 3:1:1 (default: 5000)")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="tiny", help="size of the systems (default: tiny)")
    parser.add_argument(
        "--system", choices=SYSTEMS, action="append", help="the system to train; repeatable (default: both)"
    )


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the rows of each system: the least difference over the seeds, with all of them in the detail."""
    for name in options.system or SYSTEMS:
        accuracies = [seed_accuracies(options, name, seed) for seed in range(options.seeds)]
        yield difference_row(
            f"weak-signal: {name}, audio-text network minus ridge", accuracies, "audio-text", "ridge", TOLERANCE
        )
        for row in accuracies:
            row["best stream"] = max(row[stream] for stream in SYSTEMS[name])
            row["least"] = min(value for system, value in row.items() if system not in (FLOOR, "ridge", RIDGE_R2))
        yield difference_row(
            f"weak-signal: {name}, fusion minus best stream", accuracies, FUSION, "best stream", TOLERANCE
        )
        yield difference_row(f"weak-signal: {name}, least system minus floor", accuracies, "least", FLOOR, 0.0)


def difference_row(
    name: str, accuracies: list[dict[str, float]], system: str, reference: str, goal: float
) -> Measurement:
    """Return a row with the least difference between a system and its reference over the seeds."""
    differences = [round(row[system] - row[reference], 5) for row in accuracies]
    detail = {"differences": differences, "accuracies": accuracies}
    return Measurement(
        name, min(differences), "", goal, f"{reference}, on the test split", at_least=True, detail=detail
    )


def seed_accuracies(options: argparse.Namespace, name: str, seed: int) -> dict[str, float]:
    """Train a system, and return 1 - MAE of each of its parts, of the floor and of ridge regression on the text."""
    train = options.clips * 3 // 5
    held_out = (options.clips - train) // 2
    sizes: dict[Split, int] = {"train": train, "val": held_out, "test": held_out}
    store = write_weak_store(options.out / f"store-{seed}", sizes, seed)
    run = options.out / f"{name.replace(' ', '-')}-{seed}"
    config = system_config(PRESETS[options.preset], name, seed)
    train_system(store, run, config)
    bundle = load_bundle(run)
    evaluation = evaluate(bundle, store, scene_face=load_visual_fusion(run, config), resamples=1)
    accuracies = {system: figures[AVERAGE]["accuracy"] for system, figures in evaluation.systems.items()}
    ridge, r2 = ridge_accuracy(store)
    accuracies |= {"ridge": ridge, RIDGE_R2: r2}
    return {system: round(value, 5) for system, value in accuracies.items()}


def system_config(preset: Config, name: str, seed: int) -> Config:
    """Return the configuration of a system for the small frames of the weak clips."""
    inputs: Literal["both", "text"] = "text" if name == "text alone" else "both"
    return with_seed(
        replace(
            preset,
            streams=SYSTEMS[name],
            transforms=replace(preset.transforms, frames=SEGMENTS, pixels=PIXELS),
            model=replace(preset.model, frames=SEGMENTS, audio_text=inputs, text_path="vector"),
            training=replace(preset.training, tensorboard=False),
            fusion=replace(preset.fusion, trees=100),
        ),
        seed,
    )


def ridge_accuracy(store: Path) -> tuple[float, float]:
    """Return 1 - MAE and R2 on the test split of ridge regression with the best penalty on the validation split."""
    manifest = read_manifest(store)
    rows = {split: manifest.rows(split) for split in ("train", "val", "test")}
    texts = {split: read_texts(store, rows[split]) for split in rows}
    scores = {split: stack_scores(rows[split]) for split in rows}
    fits = [Ridge(alpha=penalty).fit(texts["train"], scores["train"]) for penalty in PENALTIES]
    traits = [TARGETS.index(trait) for trait in TRAITS]

    def accuracy(fit: Ridge, split: str) -> float:
        errors = np.abs(fit.predict(texts[split]) - scores[split])
        return float(1 - errors[:, traits].mean())

    best = max(fits, key=lambda fit: accuracy(fit, "val"))
    errors = (best.predict(texts["test"]) - scores["test"])[:, traits]
    r2 = 1 - np.square(errors).mean(axis=0) / scores["test"][:, traits].var(axis=0)
    return accuracy(best, "test"), float(r2.mean())
