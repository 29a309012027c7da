"""The figure of the sound: any length can be drawn, odd words stay readable, and colours have a scale."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from crnet.explain.sound import BIN_S, SoundAttribution
from crnet.explain.words import Word
from crnet.report.figure_style import png
from crnet.report.sound_figure import MOST_WORDS, sound_figure
from crnet.types import SAMPLE_RATE_HZ, TARGETS


def tone(length_s: float) -> np.ndarray:
    return (9000 * np.sin(0.1 * np.arange(round(length_s * SAMPLE_RATE_HZ)))).astype(np.int16)


def evenly_spread(words: list[str], length_s: float) -> list[Word]:
    step_s = length_s / len(words)
    return [Word(word, i * step_s, (i + 1) * step_s, timed=False) for i, word in enumerate(words)]


def some_attribution(length_s: float) -> SoundAttribution:
    bins = np.random.default_rng(0).normal(0, 0.01, (len(TARGETS), max(int(np.ceil(length_s / BIN_S)), 1)))
    return SoundAttribution(bins.astype(np.float32), bins.sum(axis=1).astype(np.float32))


@pytest.mark.parametrize("length_s", [0.0, 0.05, 4.0, 40.0])
@pytest.mark.parametrize("attributed", [True, False])
def test_sound_of_any_length_can_be_drawn(length_s: float, attributed: bool) -> None:
    words = evenly_spread(["costs", "$5", "and", "$6"], max(length_s, 0.1))
    attribution = some_attribution(length_s) if attributed else None
    assert png(sound_figure(tone(length_s), words, attribution)).startswith(b"\x89PNG")


def test_many_odd_words_leave_the_figure_readable() -> None:
    """Ten thousand words, some in letters that the font lacks, some very long."""
    words = evenly_spread(["日本語", *["word"] * 10_000, "x" * 500], 4.0)
    figure = sound_figure(tone(4.0), words, None)
    labels = [text.get_text() for text in figure.axes[0].texts]
    assert 20 < len(labels) <= MOST_WORDS
    assert labels[0] == "···"  # instead of three boxes and a font warning
    assert max(map(len, labels)) <= 24
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png(figure)


def test_a_very_long_word_is_cut() -> None:
    figure = sound_figure(tone(4.0), evenly_spread(["x" * 500], 4.0), None)
    assert [text.get_text() for text in figure.axes[0].texts] == ["x" * 23 + "…"]


def test_a_near_silent_sound_is_not_drawn_as_if_it_were_loud() -> None:
    figure = sound_figure((tone(4.0) / 1000).astype(np.int16), (), None)
    (wave,) = figure.axes[0].collections
    assert np.abs(wave.get_paths()[0].vertices[:, 1]).max() < 0.05
    full = sound_figure(np.array([-32_768, 0] * 8000, np.int16), (), None).axes[0].collections[0]
    assert full.get_paths()[0].vertices[:, 1].min() == pytest.approx(-1)  # -32,768 has no positive in 16 bits


def test_the_title_gives_the_scale_of_the_colours() -> None:
    attribution = some_attribution(1.0)
    figure = sound_figure(tone(1.0), (), attribution)
    heading = figure.axes[1].title if figure.axes[1].title.get_text() else figure.axes[1]._left_title
    assert heading.get_text().endswith(f"full colour {np.abs(attribution.bins).max():.3f})")
    png(figure)
    assert heading.get_window_extent().x1 < figure.bbox.x1, "it is cut off"
