"""The ceiling: the accuracy that a system trained on these clips cannot exceed.

For each stream, ridge regression predicts the scores from the true values of the cues that the stream shows. Fitted on
the training clips, it is the best linear predictor with perfect measurements; networks must measure the cues first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64
from sklearn.linear_model import RidgeCV

from crnet.data.ceiling_file import CEILING_FORMAT, FIGURES, FLOOR, IN_ORDER, SINGLE_FRAMES
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
"""Modalities that each stream shows; with `Cue.modality` and `Cue.side_modalities` they decide its cues."""

SCORED: tuple[Split, ...] = ("val", "test")
MIN_TRAINING, MIN_SCORED = 60, 10  # clips; with fewer, the ceiling would be chance
PENALTIES = np.logspace(-1, 4, 11)


def visible_cues(stream: str, *, frame_order: bool = True) -> tuple[Cue, ...]:
    """Return the cues that a stream shows.

    Args:
        stream: One of `VIEWS`.
        frame_order: Whether to include cues that need the order of frames.
    """
    shown = set(VIEWS[stream])
    return tuple(
        cue
        for cue in CUES
        if shown & {cue.modality, *cue.side_modalities} and (frame_order or not cue.needs_frame_order)
    )


def cue_table() -> str:
    """Return the table of cues in Markdown, as docs/simulation.md shows it."""
    lines = [
        "| cue | modality | low | high | unit | follows | noise: easy, fivalike, hard | scene | face | audio | text |"
    ]
    lines.append("|---" * 11 + "|")
    noise = np.array([noise_shares(difficulty) for difficulty in NOISE_SHARE])
    for cue, shares in zip(CUES, noise.T, strict=True):
        visibility = (_visibility(cue, stream) for stream in ("scene", "face", "audio", "text"))
        follows = " ".join(f"{letter}{weight:+g}" for letter, weight in cue.weights.items())
        name = cue.name + (" (order)" if cue.needs_frame_order else "")
        noises = ", ".join(f"{share:.2f}" for share in shares)
        cells = (name, cue.modality, f"{cue.low:g}", f"{cue.high:g}", cue.unit, follows, noises, *visibility)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _visibility(cue: Cue, stream: str) -> str:
    """Return "yes" for a cue in its own modality, "side" for a side effect, else ""."""
    if cue.modality in VIEWS[stream]:
        return "yes"
    return "side" if cue in visible_cues(stream) else ""


def compute_ceiling(plans: Sequence[ClipPlan]) -> dict[str, Any] | None:
    """Return the document of `ceiling.json`; None if there are too few clips.

    Args:
        plans: All clips of a dataset.
    """
    training = [plan for plan in plans if plan.split == "train"]
    scored = {split: [plan for plan in plans if plan.split == split] for split in SCORED}
    if len(training) < MIN_TRAINING or min(map(len, scored.values())) < MIN_SCORED:
        return None
    return {
        "format": CEILING_FORMAT,
        "what": "ridge on the true cues, fitted on the training clips; the floor is the training median for everyone",
        "training_clips": len(training),
        "cues": {stream: [cue.name for cue in visible_cues(stream)] for stream in VIEWS},
        "need_the_order_of_frames": [cue.name for cue in CUES if cue.needs_frame_order],
        "splits": {split: {"clips": len(clips), **_figures(training, clips)} for split, clips in scored.items()},
    }


def _figures(training: Sequence[ClipPlan], clips: Sequence[ClipPlan]) -> dict[str, Any]:
    """Return the figures of the floor and of every stream on some clips."""
    training_scores, scores = _scores(training), _scores(clips)
    medians = np.median(training_scores, axis=0)

    def figures(predicted: Float64[np.ndarray, "n 6"]) -> dict[str, dict[str, float | None]]:
        described = describe(scores, predicted, medians, resamples=0)
        return {target: {name: values[name] for name in FIGURES} for target, values in described.items()}

    def best(cues: Sequence[Cue]) -> dict[str, dict[str, float | None]]:
        training_values, values = _values(training, cues), _values(clips, cues)
        mean, scale = training_values.mean(axis=0), np.maximum(training_values.std(axis=0), 1e-9)
        model = RidgeCV(PENALTIES).fit((training_values - mean) / scale, training_scores)
        return figures(model.predict((values - mean) / scale))

    streams = {
        stream: {IN_ORDER: best(visible_cues(stream)), SINGLE_FRAMES: best(visible_cues(stream, frame_order=False))}
        for stream in VIEWS
    }
    return {FLOOR: figures(np.tile(medians, (len(clips), 1))), "streams": streams}


def _scores(plans: Sequence[ClipPlan]) -> Float64[np.ndarray, "n 6"]:
    return np.array([plan.scores for plan in plans])


def _values(plans: Sequence[ClipPlan], cues: Sequence[Cue]) -> Float64[np.ndarray, "n cues"]:
    return np.array([[plan.cues[cue.name] for cue in cues] for plan in plans])
