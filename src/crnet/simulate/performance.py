"""From the plan of a clip to what can be filmed: the voice, the movements, the drawn frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from crnet.simulate.canvas import Pixels
from crnet.simulate.drawing import Presenter
from crnet.simulate.motion import Motion, move
from crnet.simulate.planning import RNG_MOTION, RNG_VOICE, ClipPlan, SimulationConfig
from crnet.simulate.speech import Speech, speak


@dataclass(frozen=True, eq=False)
class Take:
    """A clip acted out, not yet drawn.

    Attributes:
        plan: What was planned.
        speech: The voice.
        motion: The movements, one value a frame.
    """

    plan: ClipPlan
    speech: Speech
    motion: Motion


def act(plan: ClipPlan, config: SimulationConfig) -> Take:
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
    return Take(plan, speech, move(time_s, plan.cues, speech.envelope, config.rng(RNG_MOTION, plan.index)))


def draw_frames(take: Take, config: SimulationConfig) -> Iterator[Pixels]:
    """The frames of a take, uint8 RGB [height, width, 3]."""
    presenter = Presenter(take.plan.look, take.plan.cues, config.width, config.height)
    for index in range(config.frames):
        yield presenter.frame(take.motion, index)
