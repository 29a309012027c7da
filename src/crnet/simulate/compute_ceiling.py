"""The ceiling: the accuracy that a system trained on these clips cannot exceed.

For each stream, a predictor fitted on the training clips predicts the scores from the true values of the cues that the
stream shows: ridge regression if the cues follow the scores by the linear rule, class-guided regression if they follow
the classwise one. It has perfect measurements; networks must measure the cues first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from crnet.data.ceiling_file import CEILING_FORMAT, FIGURES, FLOOR, IN_ORDER, SINGLE_FRAMES
from crnet.metrics import describe
from crnet.simulate.cue_predictors import Predictor, fit_predictor
from crnet.simulate.cues import CUES, MODALITIES, NOISE_SHARE, Cue, Modality, noise_shares
from crnet.simulate.planning import ClipPlan
from crnet.simulate.score_rules import ScoreRule
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

PREDICTORS: dict[ScoreRule, str] = {
    "linear": "ridge on the true cues",
    "classwise": "class-guided ridge on the true cues",
}


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


def compute_ceiling(plans: Sequence[ClipPlan], rule: ScoreRule = "linear") -> dict[str, Any] | None:
    """Return the document of `ceiling.json`; None if there are too few clips.

    Args:
        plans: All clips of a dataset.
        rule: The rule by which their cues follow their scores.
    """
    training = [plan for plan in plans if plan.split == "train"]
    scored = {split: [plan for plan in plans if plan.split == split] for split in SCORED}
    if len(training) < MIN_TRAINING or min(map(len, scored.values())) < MIN_SCORED:
        return None
    medians = np.median(_scores(training), axis=0)
    predictors = {stream: _fit(training, stream, rule) for stream in VIEWS}
    return {
        "format": CEILING_FORMAT,
        "what": f"{PREDICTORS[rule]}, fitted on the training clips; the floor is the training median for everyone",
        "training_clips": len(training),
        **_controls(plans, rule),
        "cues": {stream: [cue.name for cue in visible_cues(stream)] for stream in VIEWS},
        "need_the_order_of_frames": [cue.name for cue in CUES if cue.needs_frame_order],
        "splits": {
            split: {"clips": len(clips), **_figures(clips, medians, predictors)} for split, clips in scored.items()
        },
    }


def _controls(plans: Sequence[ClipPlan], rule: ScoreRule) -> dict[str, Any]:
    """Return the rule and the names of the uninformative clips; nothing for an ordinary dataset."""
    uninformative = [plan.name for plan in plans if plan.uninformative]
    if rule == "linear" and not uninformative:
        return {}
    return {"score_rule": rule, "uninformative_clips": uninformative}


def _fit(training: Sequence[ClipPlan], stream: str, rule: ScoreRule) -> dict[str, tuple[tuple[Cue, ...], Predictor]]:
    """Return what predicts the scores from a stream, with all of its cues and without those that need frame order."""
    cues = {IN_ORDER: visible_cues(stream), SINGLE_FRAMES: visible_cues(stream, frame_order=False)}
    scores = _scores(training)
    return {kind: (shown, fit_predictor(_values(training, shown), scores, rule)) for kind, shown in cues.items()}


def _figures(
    clips: Sequence[ClipPlan],
    medians: Float64[np.ndarray, " 6"],
    predictors: Mapping[str, Mapping[str, tuple[tuple[Cue, ...], Predictor]]],
) -> dict[str, Any]:
    """Return the figures of the floor and of every stream on some clips."""
    scores = _scores(clips)

    def figures(predicted: Float64[np.ndarray, "n 6"]) -> dict[str, dict[str, float | None]]:
        described = describe(scores, predicted, medians, resamples=0)
        return {target: {name: values[name] for name in FIGURES} for target, values in described.items()}

    streams = {
        stream: {kind: figures(predict(_values(clips, cues))) for kind, (cues, predict) in kinds.items()}
        for stream, kinds in predictors.items()
    }
    return {FLOOR: figures(np.tile(medians, (len(clips), 1))), "streams": streams}


def _scores(plans: Sequence[ClipPlan]) -> Float64[np.ndarray, "n 6"]:
    return np.array([plan.scores for plan in plans])


def _values(plans: Sequence[ClipPlan], cues: Sequence[Cue]) -> Float64[np.ndarray, "n cues"]:
    return np.array([[plan.cues[cue.name] for cue in cues] for plan in plans])
