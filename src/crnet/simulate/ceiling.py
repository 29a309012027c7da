"""How much of the scores there is to see, hear and read: what no system that learns from these clips can surpass.

For each stream, ridge regression from the true values of the cues that show in it to the scores, fitted on the
training clips, is the best that a linear reader with perfect senses reaches; the networks must measure the cues first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from sklearn.linear_model import RidgeCV

from crnet.data.ceiling import CEILING_FORMAT, FIGURES, FLOOR, IN_ORDER, SINGLE_FRAMES
from crnet.metrics import describe
from crnet.simulate.cues import CUES, MODALITIES, NOISE_SHARE, Cue, Modality, noise_shares
from crnet.simulate.planning import ClipPlan
from crnet.types import Split

VIEWS: dict[str, tuple[Modality, ...]] = {
    "scene": ("scene", "face"),  # the whole frame also shows the face
    "face": ("face",),
    "audio-text": ("audio", "text"),
    "audio": ("audio",),
    "text": ("text",),
    "scene+face": ("scene", "face"),
    "all": MODALITIES,
}
"""The modalities in each stream's sight. With `Cue.modality` and `Cue.also` this is the table of who sees what."""

SCORED: tuple[Split, ...] = ("val", "test")
FEWEST_TRAINING, FEWEST_SCORED = 60, 10  # clips; below, a ceiling would be chance
PENALTIES = np.logspace(-1, 4, 11)


def cues_of(stream: str, *, in_order: bool = True) -> tuple[Cue, ...]:
    """The cues that show in a stream.

    Args:
        stream: One of `VIEWS`.
        in_order: Whether those count that need the order of frames.
    """
    seen = set(VIEWS[stream])
    return tuple(cue for cue in CUES if seen & {cue.modality, *cue.also} and (in_order or not cue.in_time))


def cue_table() -> str:
    """The table of cues in Markdown, as it stands in docs/simulation.md."""
    lines = [
        "| cue | modality | low | high | unit | follows | noise: easy, fivalike, hard | scene | face | audio | text |"
    ]
    lines.append("|---" * 11 + "|")
    noise = np.array([noise_shares(difficulty) for difficulty in NOISE_SHARE])
    for cue, shares in zip(CUES, noise.T, strict=True):
        seen = (_mark(cue, stream) for stream in ("scene", "face", "audio", "text"))
        follows = " ".join(f"{letter}{weight:+g}" for letter, weight in cue.weights.items())
        name = cue.name + (" (order)" if cue.in_time else "")
        noises = ", ".join(f"{share:.2f}" for share in shares)
        cells = (name, cue.modality, f"{cue.low:g}", f"{cue.high:g}", cue.unit, follows, noises, *seen)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mark(cue: Cue, stream: str) -> str:
    """How a cue shows in a stream: in its own modality, on the side, or not."""
    if cue.modality in VIEWS[stream]:
        return "yes"
    return "side" if cue in cues_of(stream) else ""


def ceiling(plans: Sequence[ClipPlan]) -> dict[str, Any] | None:
    """The document of `ceiling.json`; None if there are too few clips.

    Args:
        plans: All clips of a data set.
    """
    training = [plan for plan in plans if plan.split == "train"]
    scored = {split: [plan for plan in plans if plan.split == split] for split in SCORED}
    if len(training) < FEWEST_TRAINING or min(map(len, scored.values())) < FEWEST_SCORED:
        return None
    return {
        "format": CEILING_FORMAT,
        "what": "ridge on the true cues, fitted on the training clips; the floor is the training median for everyone",
        "training_clips": len(training),
        "cues": {stream: [cue.name for cue in cues_of(stream)] for stream in VIEWS},
        "need_the_order_of_frames": [cue.name for cue in CUES if cue.in_time],
        "splits": {split: {"clips": len(clips), **_on(training, clips)} for split, clips in scored.items()},
    }


def _on(training: Sequence[ClipPlan], clips: Sequence[ClipPlan]) -> dict[str, Any]:
    """The floor's and every stream's figures on some clips."""
    known, truth = _scores(training), _scores(clips)
    medians = np.median(known, axis=0)

    def figures(predicted: Float64[np.ndarray, "n 6"]) -> dict[str, dict[str, float | None]]:
        described = describe(truth, predicted, medians, resamples=0)
        return {target: {name: values[name] for name in FIGURES} for target, values in described.items()}

    def best(cues: Sequence[Cue]) -> dict[str, dict[str, float | None]]:
        seen, unseen = _values(training, cues), _values(clips, cues)
        mean, scale = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-9)
        model = RidgeCV(PENALTIES).fit((seen - mean) / scale, known)
        return figures(model.predict((unseen - mean) / scale))

    streams = {
        stream: {IN_ORDER: best(cues_of(stream)), SINGLE_FRAMES: best(cues_of(stream, in_order=False))}
        for stream in VIEWS
    }
    return {FLOOR: figures(np.tile(medians, (len(clips), 1))), "streams": streams}


def _scores(plans: Sequence[ClipPlan]) -> Float64[np.ndarray, "n 6"]:
    return np.array([plan.scores for plan in plans])


def _values(plans: Sequence[ClipPlan], cues: Sequence[Cue]) -> Float64[np.ndarray, "n cues"]:
    return np.array([[plan.cues[cue.name] for cue in cues] for plan in plans])
