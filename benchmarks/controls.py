"""Two controls with trained networks on simulated people: does a stream know what it can know, and nothing else?

    python benchmarks/controls.py RUN STORE OUT [--clips 400] [--preset tiny]

1. Sound and transcript of the test clips of STORE are dealt out anew together, and RUN is measured on both: the scores
   of scene and face must not move, and R2 of the audio-text stream must fall to its floor.
2. Two sets of CLIPS other people are drawn (difficulty easy): one whose sound and words carry nothing, one where
   nothing carries anything. A system is trained on each: the streams that have nothing to see must stay at their floor,
   the others must rise above it.

Prints one JSON document; exit code 1 if a control fails. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crnet.bundle.bundle import load_bundle
from crnet.config import PRESET_NAMES, PRESETS
from crnet.data.manifest import Manifest, read_manifest, write_manifest
from crnet.data.store import clip_path, read_clip, write_clip
from crnet.evaluation.evaluate import evaluate
from crnet.evaluation.record import Evaluation
from crnet.metrics import AVERAGE
from crnet.simulate.cues import MODALITIES, Modality
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import simulate_to_store
from crnet.train import train_system
from crnet.types import STREAMS, Stream

AT_FLOOR_R2 = 0.03  # mean over the traits
ABOVE_FLOOR_R2 = 0.05
SAME_SCORE = 1e-6
OTHER_PEOPLE = 7  # a seed


def main() -> int:
    """Run both controls, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--preset", choices=PRESET_NAMES, default="tiny")
    asked = parser.parse_args()
    report = {"shuffled": shuffled(asked.run, asked.store, asked.out / "shuffled")}
    silences: dict[tuple[Modality, ...], tuple[Stream, ...]] = {
        ("audio", "text"): ("audio-text",),
        MODALITIES: STREAMS,
    }
    for silent, blind in silences.items():
        report["silent " + " ".join(silent)] = silenced(asked, silent, blind)
    print(json.dumps(report, indent=2))
    return 0 if all(control["holds"] for control in report.values()) else 1


def shuffled(run: Path, store: Path, out: Path) -> dict[str, Any]:
    """Measure a run before and after sound and words are dealt out anew between test clips."""
    deal_out_anew(store, out)
    bundle = load_bundle(run)
    before, after = evaluate(bundle, store), evaluate(bundle, out)
    moved = {s: float(np.abs(before.predictions[s] - after.predictions[s]).max()) for s in STREAMS}
    return {
        "r2_before": r2(before),
        "r2_after": r2(after),
        "largest_move_of_a_score": moved,
        "holds": max(moved["scene"], moved["face"]) < SAME_SCORE and r2(after)["audio-text"] < AT_FLOOR_R2,
    }


def deal_out_anew(store: Path, out: Path) -> None:
    """A store of the test clips, each with sound and words of another one."""
    manifest = read_manifest(store)
    rows = manifest.rows("test")
    circle = (
        np.random.default_rng(0).permutation(len(rows)).tolist()
    )  # each takes the next one's: nobody keeps their own
    for taker, giver in zip(circle, circle[1:] + circle[:1], strict=True):
        row, clip, other = rows[taker], read_clip(store / rows[taker].file), read_clip(store / rows[giver].file)
        write_clip(out / clip_path(row.clip_id), replace(clip, audio=other.audio, text=other.text))
    write_manifest(out, Manifest(rows, manifest.source, manifest.settings, manifest.fingerprint, manifest.encoder))


def silenced(asked: argparse.Namespace, silent: tuple[Modality, ...], blind: tuple[Stream, ...]) -> dict[str, Any]:
    """Train a system on people of whom some modalities say nothing."""
    name = "-".join(silent)
    store, run = asked.out / f"{name}-store", asked.out / f"{name}-run"
    people = SimulationConfig(asked.clips, OTHER_PEOPLE, seconds=2.5, difficulty="easy", silent=silent)
    simulate_to_store(store, people, frames_per_segment=2)
    train_system(store, run, PRESETS[asked.preset])
    found = r2(evaluate(load_bundle(run), store))
    seeing = [found[stream] for stream in STREAMS if stream not in blind]
    return {
        "r2": found,
        "blind": blind,
        "holds": max(found[stream] for stream in blind) < AT_FLOOR_R2 and min(seeing, default=1.0) > ABOVE_FLOOR_R2,
    }


def r2(evaluation: Evaluation) -> dict[str, float]:
    """R2 of each system, mean of the five traits."""
    return {name: round(figures[AVERAGE]["r2"], 4) for name, figures in evaluation.systems.items()}


if __name__ == "__main__":
    sys.exit(main())
