"""Tiles of the sample sheet for what no still shows: a cue of motion over time, of the voice, of the words."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np
from jaxtyping import Float64

from crnet.simulate.canvas import Pixels
from crnet.simulate.motion import move
from crnet.simulate.speech import speak
from crnet.simulate.words import write_transcript
from crnet.types import SAMPLE_RATE_HZ

WHITE = (255, 255, 255)
INK = (60, 54, 50)
SECONDS, FPS = 8.0, 30.0
SPOKEN = "Well I have been thinking about this video all day and I am glad that we can talk."
SPOKEN_S = 4.0
WINDOW = 512  # samples of a spectrum
HIGHEST_HZ = 4_000.0
LOUDEST_DB, RANGE_DB = 40.0, 70.0  # of a spectrum of sound in [-1, 1]
SYLLABLES = 60
LETTERS_A_LINE, LINE_PX = 44, 17
CURVE_OF = {"blink_rate": "lid", "nod_rate": "turn_y", "head_motion": "turn_x"}
"""Which curve of the motion shows a cue of motion."""


def curve_tile(name: str, cues: dict[str, float], size: tuple[int, int]) -> Pixels:
    """A cue of motion: the curve that it moves, over `SECONDS`.

    Args:
        name: One of `CURVE_OF`.
        cues: Value of every cue.
        size: Width and height in pixels.
    """
    times_s = np.arange(round(SECONDS * FPS)) / FPS
    motion = move(times_s, cues, np.zeros(len(times_s)), np.random.default_rng(0))
    curve: Float64[np.ndarray, " n"] = np.asarray(getattr(motion, CURVE_OF[name]), np.float64)
    low, high = (0.0, 1.1) if name == "blink_rate" else (-0.08, 0.08)
    return _plotted((curve - low) / (high - low), size)


def voice_tile(cues: dict[str, float], size: tuple[int, int]) -> Pixels:
    """A cue of the voice: the spectrogram of the same sentence, 0 to 4 kHz from below, dark is loud."""
    speech = speak(SPOKEN, SPOKEN_S, cues, 150.0, 1.0, np.random.default_rng(0), voice="built-in")
    sound = speech.audio.astype(np.float64) / 32_768
    starts = np.arange(0, len(sound) - WINDOW, WINDOW // 2)
    pieces = np.stack([sound[start : start + WINDOW] for start in starts]) * np.hanning(WINDOW)
    heights = round(HIGHEST_HZ / SAMPLE_RATE_HZ * WINDOW)
    level_db = 20 * np.log10(np.abs(np.fft.rfft(pieces, axis=1))[:, :heights] + 1e-6)
    shade = np.clip((level_db - LOUDEST_DB) / RANGE_DB + 1, 0, 1).T[::-1]
    grey = cv2.resize((255 * (1 - shade)).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    return np.repeat(np.asarray(grey, np.uint8)[..., None], 3, axis=2)


def words_tile(cues: dict[str, float], size: tuple[int, int]) -> Pixels:
    """A cue of the words: the beginning of what is said."""
    text = write_transcript(cues, SYLLABLES, np.random.default_rng(0))
    tile = np.full((size[1], size[0], 3), WHITE, np.uint8)
    for line, words in enumerate(textwrap.wrap(text, LETTERS_A_LINE)[: size[1] // LINE_PX]):
        place = (6, LINE_PX * (line + 1) - 3)
        cv2.putText(tile, words, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, INK, 1, cv2.LINE_AA)
    return tile


def _plotted(heights: Float64[np.ndarray, " n"], size: tuple[int, int]) -> Pixels:
    """A curve of values in [0, 1], from left to right."""
    tile = np.full((size[1], size[0], 3), WHITE, np.uint8)
    across = np.linspace(6, size[0] - 6, len(heights))
    down = size[1] - 6 - np.clip(heights, 0, 1) * (size[1] - 12)
    cv2.polylines(tile, [np.stack([across, down], 1).astype(np.int32)], False, INK, 2, cv2.LINE_AA)
    return tile
