"""The sound of a video as a figure: waveform, words, and the effect of each moment on each score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from crnet.explain.sound import BIN_S, SoundAttribution
from crnet.explain.words import Word
from crnet.report.figure_style import FAINT, GREY, INK, SIGNED_COLOURS, new_figure, tidy, title
from crnet.types import INT16_FULL_SCALE, SAMPLE_RATE_HZ, TARGETS, target_label

LONGEST_ROW_S = 15.0  # seconds of sound in one row of the figure
WORD_LEVELS = 3  # heights at which neighbouring words are written
MOST_WORDS = 60  # in one row; of more, only every second, third ... is written
LONGEST_WORD = 24  # letters of a word that are written
QUIETEST_PEAK = 0.02  # of full scale, so that near silence is not drawn as if it were loud
WAVE_POINTS = 1200


def sound_figure(audio: NDArray[np.int16], words: Sequence[Word], attribution: SoundAttribution | None) -> Figure:
    """Draw the waveform with the words at their times, and below it the effect of each moment on each score.

    Args:
        audio: int16 [n] at 16 kHz, the part that the network hears.
        words: The words with their times.
        attribution: Red raises a score, blue lowers it; None leaves the strips out.
    """
    length_s = max(len(audio) / SAMPLE_RATE_HZ, BIN_S)
    rows = max(int(np.ceil(length_s / LONGEST_ROW_S - 1e-6)), 1)
    row_s = length_s / rows
    panels_per_row = 1 if attribution is None else 2
    figure = new_figure(rows * (1.6 if attribution is None else 3.0))
    panels = figure.subplots(rows * panels_per_row, 1, squeeze=False)[:, 0]
    for row in range(rows):
        start_s = row * row_s
        _draw_waves(tidy(panels[panels_per_row * row]), audio, words, start_s, row_s)
        if attribution is not None:
            _draw_strips(panels[panels_per_row * row + 1], attribution, start_s, row_s)
    panels[-1].set_xlabel("seconds", fontsize=9, color=INK)
    return figure


def _draw_waves(axes: Axes, audio: NDArray[np.int16], words: Sequence[Word], start_s: float, row_s: float) -> None:
    """Draw the sound's envelope and the words above it."""
    first, last = (round(time_s * SAMPLE_RATE_HZ) for time_s in (start_s, start_s + row_s))
    samples = audio[first:last].astype(np.float32)
    size = max(len(samples) // WAVE_POINTS, 1)
    chunks = samples[: len(samples) // size * size].reshape(-1, size)
    if len(chunks):
        time_s = start_s + (np.arange(len(chunks)) + 0.5) * size / SAMPLE_RATE_HZ
        peak = max(float(np.abs(audio.astype(np.float32)).max()), QUIETEST_PEAK * INT16_FULL_SCALE)
        axes.fill_between(time_s, chunks.min(axis=1) / peak, chunks.max(axis=1) / peak, color=GREY, linewidth=0)
    row_words = [word for word in words if start_s <= (word.start_s + word.end_s) / 2 < start_s + row_s]
    for number, word in enumerate(row_words[:: -(-len(row_words) // MOST_WORDS) or 1]):
        height = 1.25 + 0.42 * (number % WORD_LEVELS)
        middle_s = (word.start_s + word.end_s) / 2
        axes.plot([word.start_s, word.end_s], [height - 0.12] * 2, color=FAINT, linewidth=2, clip_on=False)
        axes.text(middle_s, height, _drawable(word.text), ha="center", size=7, color=INK, parse_math=False)
    axes.set_xlim(start_s, start_s + row_s)
    axes.set_ylim(-1.05, 1.1 + 0.42 * WORD_LEVELS + 0.1 if row_words else 1.05)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    if start_s == 0:
        title(axes, "Waveform and words" if words else "Waveform")


def _drawable(text: str) -> str:
    """Return a word as the figure can show it: letters that the font lacks become dots, long words are cut."""
    font_letters = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(letter if ord(letter) in font_letters else "·" for letter in text)
    return shown if len(shown) <= LONGEST_WORD else shown[: LONGEST_WORD - 1] + "…"


def _draw_strips(axes: Axes, attribution: SoundAttribution, start_s: float, row_s: float) -> None:
    """Draw a strip of colours for each target."""
    tidy(axes)
    count = attribution.bins.shape[1]
    limit = max(float(np.abs(attribution.bins).max()), 1e-9)
    axes.imshow(
        attribution.bins,
        cmap=SIGNED_COLOURS,
        norm=TwoSlopeNorm(0, -limit, limit),
        extent=(0, count * BIN_S, len(TARGETS) - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_yticks(range(len(TARGETS)), [target_label(target) for target in TARGETS])
    axes.set_xlim(start_s, start_s + row_s)
    axes.grid(visible=False)
    if start_s == 0:
        scale = f"red raises, blue lowers; full colour {limit:.3f}"
        title(axes, f"Effect of each 0.1 s of sound on the audio-text scores ({scale})")
