"""Movements of a synthetic person: blinks, glances, nods, sway, speech and gestures, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64

from crnet.simulate.cues import CUE_BY_NAME
from crnet.simulate.voice_track import HOP_S

BLINK_S = 0.22
NOD_S = 0.55
GLANCE_S = (0.5, 1.4)
SACCADE_S = 0.06
MOUTH_MIDDLE, MOUTH_PER_DB = 0.62, 0.024  # mouth opening at the loudest vowel, as a function of the loudness cue

Curve = Float64[np.ndarray, " frames"]


@dataclass(frozen=True, eq=False)
class Motion:
    """Movements with one value per frame. Lengths are in head heights, angles in radians.

    Attributes:
        lid: Opening of the eyes, 1 = the person's normal opening, 0 = shut.
        gaze_x, gaze_y: Gaze direction in iris radii away from the camera.
        mouth: Opening of the mouth, 0 to 1; follows the loudness of the voice.
        brow, smile: Offset from the person's level.
        head_x, head_y, roll: Position and tilt of the head.
        turn_x, turn_y: Shift of the facial features on the head.
        body_x, body_y: Sway and breathing.
        hand_left, hand_right: Height of the hands, 0 = outside the frame, 1 = at the chin.
        hand_angle: Tilt of the hands.
    """

    lid: Curve
    gaze_x: Curve
    gaze_y: Curve
    mouth: Curve
    brow: Curve
    smile: Curve
    head_x: Curve
    head_y: Curve
    roll: Curve
    turn_x: Curve
    turn_y: Curve
    body_x: Curve
    body_y: Curve
    hand_left: Curve
    hand_right: Curve
    hand_angle: Curve


def sample_motion(
    time_s: Float64[np.ndarray, " frames"],
    cues: Mapping[str, float],
    envelope: Float64[np.ndarray, " m"],
    rng: np.random.Generator,
) -> Motion:
    """Sample the movements of one clip.

    Args:
        time_s: Times of the frames in seconds.
        cues: Value of every cue by name.
        envelope: Loudness of the voice in steps of `HOP_S`, in [0, 1].
        rng: Source of randomness.
    """
    amplitude = cues["head_motion"]
    wander = partial(_wander, time_s, rng)
    loudness = np.interp(time_s, np.arange(len(envelope)) * HOP_S, envelope)
    nods = _events(time_s, cues["nod_rate"], NOD_S, rng)
    gaze_x, gaze_y = _gaze(time_s, cues["gaze"], rng)
    turn_x, roll = 0.022 * amplitude * wander(1.3), 0.055 * amplitude * wander(1.7)
    hands = [_hand(time_s, cues["gesture"], rng) for _ in range(2)]
    return Motion(
        lid=1.0 - np.clip(_events(time_s, cues["blink_rate"], BLINK_S, rng) * 1.25, 0.0, 1.0),
        gaze_x=gaze_x,
        gaze_y=gaze_y,
        mouth=np.clip(
            loudness * (MOUTH_MIDDLE + MOUTH_PER_DB * (cues["loudness"] - CUE_BY_NAME["loudness"].middle())), 0.0, 1.0
        ),
        brow=0.12 * wander(1.0),
        smile=0.05 * wander(1.5),
        head_x=0.055 * amplitude * wander(1.5),
        head_y=0.020 * amplitude * wander(1.1) + 0.050 * nods,
        roll=roll,
        turn_x=turn_x,
        turn_y=0.010 * amplitude * wander(1.2) + 0.026 * nods,
        body_x=0.018 * amplitude * wander(2.2),
        body_y=0.006 * np.sin(2 * np.pi * time_s / 3.6 + rng.uniform(0, 6.28)),
        hand_left=hands[0],
        hand_right=hands[1],
        hand_angle=0.16 * wander(0.8),
    )


def _wander(time_s: Curve, rng: np.random.Generator, period_s: float) -> Curve:
    """Return smooth, aimless motion of about unit amplitude."""
    phases = rng.uniform(0, 2 * np.pi, 3)
    factors = rng.uniform(0.8, 1.25, 3) * (1.0, 0.53, 1.9)
    waves = np.sin(2 * np.pi * time_s[:, None] * factors / period_s + phases)
    return np.asarray(waves @ np.array([0.6, 0.6, 0.25]))


def _events(time_s: Curve, rate: float, duration_s: float, rng: np.random.Generator) -> Curve:
    """Return events at a mean rate, each a smooth rise to 1 and fall, evenly spread with jitter to keep the rate."""
    result = np.zeros_like(time_s)
    if rate <= 0.0:
        return result
    start_s = rng.random() / rate
    while start_s < time_s[-1] + duration_s:
        phase = (time_s - start_s) / duration_s
        result = np.maximum(result, np.where((phase > 0) & (phase < 1), np.sin(np.pi * np.clip(phase, 0, 1)) ** 2, 0.0))
        start_s += duration_s + max(0.0, 1.0 / rate - duration_s) * rng.uniform(0.7, 1.3)
    return result


def _gaze(time_s: Curve, at_camera: float, rng: np.random.Generator) -> tuple[Curve, Curve]:
    """Alternate glances at the camera and away from it, so that the share of time at the camera is met."""
    x, y = np.zeros_like(time_s), np.zeros_like(time_s)
    start_s = -rng.uniform(*GLANCE_S)
    away_owed_s = rng.uniform(-0.3, 0.3)
    while start_s < time_s[-1]:
        duration_s = rng.uniform(*GLANCE_S)
        away_owed_s += duration_s * (1.0 - at_camera)
        if away_owed_s > duration_s / 2:
            away_owed_s -= duration_s
            side = rng.choice([-1.0, 1.0])
            begin = np.clip((time_s - start_s) / SACCADE_S, 0, 1)
            end = np.clip((start_s + duration_s - time_s) / SACCADE_S, 0, 1)
            weight = begin * end
            x += side * rng.uniform(0.75, 1.05) * weight
            y += rng.uniform(-0.25, 0.35) * weight
        start_s += duration_s
    return x + 0.03 * _wander(time_s, rng, 0.6), y


def _hand(time_s: Curve, gesture: float, rng: np.random.Generator) -> Curve:
    """Return the height of one hand, which beats time."""
    beat = 0.5 + 0.5 * np.clip(_wander(time_s, rng, 1.4), -1.0, 1.0)
    return gesture * (0.62 + 0.38 * beat)
