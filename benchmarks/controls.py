"""Check with trained networks on synthetic people that a stream learns what it can see and nothing else.

1. Shuffle sound and transcript together between the test clips of STORE, and evaluate RUN on both stores: the scores of
   scene and face must not move, and R2 of the audio-text stream must fall to its floor.
2. Simulate two sets of other people (difficulty easy): in one, sound and words carry no cues; in the other, nothing
   does. Train a system on each: the streams without cues must stay at their floor, the others must rise above it.

Rerunning the same command resumes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.measurements import Measurement
from crnet.bundle.load import load_bundle
from crnet.config import PRESET_NAMES, PRESETS
from crnet.data.manifest import Manifest, read_manifest, write_manifest
from crnet.data.store import clip_path, read_clip, write_clip
from crnet.evaluation.evaluate import evaluate
from crnet.evaluation.evaluation import Evaluation
from crnet.metrics import AVERAGE
from crnet.simulate.cues import MODALITIES, Modality
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store
from crnet.train import train_system
from crnet.types import STREAMS, Stream

FLOOR_R2 = 0.03  # mean over the traits
ABOVE_FLOOR_R2 = 0.05
SAME_SCORE = 1e-6
SEED = 7
SILENCED: dict[tuple[Modality, ...], tuple[Stream, ...]] = {("audio", "text"): ("audio-text",), MODALITIES: STREAMS}
"""Modalities without cues, and the streams that therefore see nothing."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the run, its store and the size of the trained controls."""
    parser.add_argument("run", type=Path, help="trained system")
    parser.add_argument("store", type=Path, help="the store it was trained on")
    parser.add_argument("out", type=Path, help="folder for the stores and systems of the controls")
    parser.add_argument("--clips", type=int, default=400, help="clips of each simulated set")
    parser.add_argument("--preset", choices=PRESET_NAMES, default="tiny", help="size of the trained systems")


def measure(options: argparse.Namespace) -> Iterator[Measurement]:
    """Yield the rows of both controls."""
    yield from shuffled_rows(options.run, options.store, options.out / "shuffled")
    for modalities, blind in SILENCED.items():
        yield from silenced_rows(options, modalities, blind)


def shuffled_rows(run: Path, store: Path, shuffled_store: Path) -> Iterator[Measurement]:
    """Evaluate a run before and after sound and words are shuffled between test clips."""
    shuffle_sound_and_words(store, shuffled_store)
    bundle = load_bundle(run)
    before, after = evaluate(bundle, store), evaluate(bundle, shuffled_store)
    moved = {s: float(np.abs(before.predictions[s] - after.predictions[s]).max()) for s in STREAMS}
    detail = {"r2_before": r2(before), "r2_after": r2(after), "largest_change_of_a_score": moved}
    change, limit = max(moved["scene"], moved["face"]), "the scores before shuffling"
    yield Measurement("controls: shuffled, scores of scene and face", change, "", SAME_SCORE, limit, detail=detail)
    audio_r2, limit = r2(after)["audio-text"], "the floor of a stream without cues"
    yield Measurement("controls: shuffled, R2 of audio-text", audio_r2, "", FLOOR_R2, limit, detail=detail)


def shuffle_sound_and_words(store: Path, shuffled_store: Path) -> None:
    """Write a store of the test clips, each with the sound and words of another clip."""
    manifest = read_manifest(store)
    rows = manifest.rows("test")
    order = np.random.default_rng(0).permutation(len(rows)).tolist()
    # Each clip takes those of the next one in the order, so no clip keeps its own.
    for taker, giver in zip(order, order[1:] + order[:1], strict=True):
        row, clip, other = rows[taker], read_clip(store / rows[taker].file), read_clip(store / rows[giver].file)
        write_clip(shuffled_store / clip_path(row.clip_id), replace(clip, audio=other.audio, text=other.text))
    shuffled = Manifest(rows, manifest.source, manifest.settings, manifest.fingerprint, manifest.encoder)
    write_manifest(shuffled_store, shuffled)


def silenced_rows(
    options: argparse.Namespace, modalities: tuple[Modality, ...], blind: tuple[Stream, ...]
) -> Iterator[Measurement]:
    """Train a system on people whose `modalities` carry no cues; evaluate the `blind` streams and the others."""
    name = "-".join(modalities)
    store, run = options.out / f"{name}-store", options.out / f"{name}-run"
    config = SimulationConfig(options.clips, SEED, seconds=2.5, difficulty="easy", silent=modalities)
    write_store(store, config, frames_per_segment=2)
    train_system(store, run, PRESETS[options.preset])
    scores = r2(evaluate(load_bundle(run), store))
    title, limit = f"controls: no cues in {' '.join(modalities)}", "the floor of a stream without cues"
    largest = max(scores[stream] for stream in blind)
    yield Measurement(f"{title}, R2 of blind streams", largest, "", FLOOR_R2, limit, detail=scores)
    seeing = [scores[stream] for stream in STREAMS if stream not in blind]
    if seeing:
        yield Measurement(f"{title}, R2 of the others", min(seeing), "", ABOVE_FLOOR_R2, limit, at_least=True)


def r2(evaluation: Evaluation) -> dict[str, float]:
    """Return R2 of each system, averaged over the five traits."""
    return {name: round(figures[AVERAGE]["r2"], 4) for name, figures in evaluation.systems.items()}
