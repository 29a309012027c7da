"""Perform a planned clip: its voice, its movements and its frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crnet.simulate.canvas import Pixels
from crnet.simulate.drawing import PersonRenderer
from crnet.simulate.motion import Motion, sample_motion
from crnet.simulate.planning import RNG_MOTION, RNG_VOICE, ClipPlan, SimulationConfig
from crnet.simulate.speech import Speech, speak


@dataclass(frozen=True, eq=False)
class Performance:
    """Voice and movements of a clip, before it is drawn.

    Attributes:
        plan: The clip's plan.
        speech: The voice track.
        motion: The movements, one value per frame.
    """

    plan: ClipPlan
    speech: Speech
    motion: Motion


def perform(plan: ClipPlan, config: SimulationConfig) -> Performance:
    """Speak and move as planned."""
    look = plan.look
    voice_rng = config.rng(RNG_VOICE, plan.index)
    speech = speak(
        plan.transcript,
        config.seconds,
        plan.cues,
        look.pitch_hz,
        look.vocal_tract,
        voice_rng,
        voice=config.voice,
        variant=look.voice,
    )
    time_s = np.arange(config.frames) / config.fps
    return Performance(
        plan, speech, sample_motion(time_s, plan.cues, speech.envelope, config.rng(RNG_MOTION, plan.index))
    )


def render_frames(performance: Performance, config: SimulationConfig) -> Iterator[Pixels]:
    """Yield the frames of a performance, uint8 RGB [height, width, 3]."""
    renderer = PersonRenderer(performance.plan.look, performance.plan.cues, config.width, config.height)
    for index in range(config.frames):
        yield renderer.render(performance.motion, index)
