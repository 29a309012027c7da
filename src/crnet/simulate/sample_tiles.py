"""Tiles of the sample sheet for cues that no still shows: cues of motion, voice and words."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np
from jaxtyping import Float64

from crnet.simulate.canvas import Pixels
from crnet.simulate.motion import sample_motion
from crnet.simulate.speech import speak
from crnet.simulate.words import write_transcript
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ

WHITE = (255, 255, 255)
INK = (60, 54, 50)
SECONDS, FPS = 8.0, 30.0
SENTENCE = "Well I have been thinking about this video all day and I am glad that we can talk."
SENTENCE_S = 4.0
WINDOW = 512  # samples per spectrum
HIGHEST_HZ = 4_000.0
LOUDEST_DB, RANGE_DB = 40.0, 70.0  # range of the spectrogram, for sound in [-1, 1]
SYLLABLES = 60
CHARACTERS_PER_LINE, LINE_PX = 44, 17
MOTION_CURVES = {"blink_rate": "lid", "nod_rate": "turn_y", "head_motion": "turn_x"}
"""The field of `Motion` that shows each cue of motion."""


def curve_tile(name: str, cues: dict[str, float], size: tuple[int, int]) -> Pixels:
    """Plot the curve of a cue of motion over `SECONDS`.

    Args:
        name: One of `MOTION_CURVES`.
        cues: Value of every cue by name.
        size: Width and height in pixels.
    """
    times_s = np.arange(round(SECONDS * FPS)) / FPS
    motion = sample_motion(times_s, cues, np.zeros(len(times_s)), np.random.default_rng(0))
    curve: Float64[np.ndarray, " n"] = np.asarray(getattr(motion, MOTION_CURVES[name]), np.float64)
    low, high = (0.0, 1.1) if name == "blink_rate" else (-0.08, 0.08)
    return _plot((curve - low) / (high - low), size)


def voice_tile(cues: dict[str, float], size: tuple[int, int]) -> Pixels:
    """Draw the spectrogram of a sentence, 0 to 4 kHz from the bottom up; dark is loud."""
    speech = speak(SENTENCE, SENTENCE_S, cues, 150.0, 1.0, np.random.default_rng(0), voice="built-in")
    sound = speech.audio.astype(np.float64) / INT16_FULL_SCALE
    starts = np.arange(0, len(sound) - WINDOW, WINDOW // 2)
    pieces = np.stack([sound[start : start + WINDOW] for start in starts]) * np.hanning(WINDOW)
    heights = round(HIGHEST_HZ / SAMPLE_RATE_HZ * WINDOW)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(pieces, axis=1))[:, :heights] + 1e-6)
    darkness = np.clip((level_db - LOUDEST_DB) / RANGE_DB + 1, 0, 1).T[::-1]
    grey = cv2.resize((255 * (1 - darkness)).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def words_tile(cues: dict[str, float], size: tuple[int, int]) -> Pixels:
    """Write the beginning of a transcript."""
    text = write_transcript(cues, SYLLABLES, np.random.default_rng(0))
    tile = np.full((size[1], size[0], 3), WHITE, np.uint8)
    for line, words in enumerate(textwrap.wrap(text, CHARACTERS_PER_LINE)[: size[1] // LINE_PX]):
        position = (6, LINE_PX * (line + 1) - 3)
        cv2.putText(tile, words, position, cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return tile


def _plot(heights: Float64[np.ndarray, " n"], size: tuple[int, int]) -> Pixels:
    """Plot a curve of values in [0, 1] from left to right."""
    tile = np.full((size[1], size[0], 3), WHITE, np.uint8)
    across = np.linspace(6, size[0] - 6, len(heights))
    down = size[1] - 6 - np.clip(heights, 0, 1) * (size[1] - 12)
    cv2.polylines(tile, [np.stack([across, down], 1).astype(np.int32)], False, INK, 2, cv2.LINE_AA)
    return tile
