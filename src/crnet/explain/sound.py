"""Which stretches of the sound raise or lower the audio-text stream's score: integrated gradients, and their picture.

Integrated gradients (Sundararajan et al. 2017) follow the score from silence to the sound and give each sample its
part. They add up to the difference between the two scores, which plain gradient x input does not (a network of ReLUs
and batch norm is flat in places where it has long made up its mind). Silence is the natural beginning: the network
knows it, because shorter clips are filled up with it. The words stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from numpy.typing import NDArray

from crnet.explain.words import Word
from crnet.models.crnet import StreamNet
from crnet.report.style import FAINT, GREY, INK, new_figure, tidy, title
from crnet.types import SAMPLE_RATE_HZ, TARGETS, Batch
from crnet.utils.progress import Progress, no_progress

STEPS = 16  # points on the way from silence to the sound
BIN_S = 0.1
LONGEST_LINE_S = 15.0  # of sound in one line of the picture
WORD_LINES = 3  # heights at which neighbouring words are written
MOST_WORDS = 60  # in one line of the picture; of more, only every second, third ... is written
LONGEST_WORD = 24  # letters of a word that are written
QUIETEST_PEAK = 0.02  # of full scale: a near-silent sound is not drawn as if it were loud


@dataclass(frozen=True, eq=False)
class SoundAttribution:
    """What the sound brings to the audio-text stream's own scores.

    Attributes:
        bins: float32 [6, n], order of `TARGETS`, sums over pieces of `BIN_S`; they add up to about `total`.
        total: float32 [6], the scores with the sound less those with silence.
    """

    bins: Float32[np.ndarray, "6 n"]
    total: Float32[np.ndarray, " 6"]

    @property
    def gap(self) -> float:
        """By how much the pieces miss the total, at worst: the price of few steps."""
        return float(np.abs(self.bins.sum(axis=1) - self.total).max())


def attribute_sound(
    net: StreamNet, batch: Batch, heard_samples: int, steps: int = STEPS, progress: Progress = no_progress
) -> SoundAttribution:
    """Integrated gradients of the six scores of an audio-text stream.

    Args:
        net: The trained stream, in evaluation mode.
        batch: One clip on the network's device.
        heard_samples: How many samples of it are sound; the rest is padding.
        steps: Points on the way; more of them add up more exactly.
        progress: Told after every step.
    """
    assert batch.audio is not None and batch.text is not None  # noqa: S101
    sound = batch.audio
    summed = torch.zeros(len(TARGETS), sound.shape[1], device=sound.device)
    for step in range(steps):
        part = ((step + 0.5) / steps * sound).requires_grad_(True)
        with torch.enable_grad():
            scores = net(Batch(batch.clip_ids, audio=part, text=batch.text)).scores[0]
            for target, score in enumerate(scores):
                summed[target] += torch.autograd.grad(score, part, retain_graph=target + 1 < len(scores))[0][0]
        progress("attributing the sound", step + 1, steps)
    with torch.inference_mode():
        both = [net(Batch(batch.clip_ids, audio=audio, text=batch.text)).scores[0] for audio in (sound, 0 * sound)]
    values = (summed / steps * sound[0]).float().cpu().numpy()
    return SoundAttribution(_binned(values, heard_samples), (both[0] - both[1]).float().cpu().numpy())


def _binned(values: Float32[np.ndarray, "6 L"], heard_samples: int) -> Float32[np.ndarray, "6 n"]:
    size = round(BIN_S * SAMPLE_RATE_HZ)
    count = max(-(-heard_samples // size), 1)
    held = np.zeros((len(values), count * size), np.float32)
    length = min(count * size, values.shape[1])
    held[:, :length] = values[:, :length]
    return held.reshape(len(values), count, size).sum(axis=2)


def sound_figure(audio: NDArray[np.int16], words: Sequence[Word], attribution: SoundAttribution | None) -> Figure:
    """The waveform with the words at their times, and below it what each moment does to each score.

    Args:
        audio: int16 [n] at 16 kHz, as much of it as the network hears.
        words: With their times.
        attribution: Red raises a score, blue lowers it; None leaves the strips out.
    """
    length_s = max(len(audio) / SAMPLE_RATE_HZ, BIN_S)
    lines = max(int(np.ceil(length_s / LONGEST_LINE_S - 1e-6)), 1)
    line_s = length_s / lines
    per_line = 1 if attribution is None else 2
    figure = new_figure(lines * (1.6 if attribution is None else 3.0))
    ratios = [1.5, 1.5][:per_line] * lines
    panels = figure.subplots(lines * per_line, 1, squeeze=False, height_ratios=ratios)[:, 0]
    for line in range(lines):
        start_s = line * line_s
        waves = tidy(panels[per_line * line])
        _draw_waves(waves, audio, words, start_s, line_s)
        if attribution is not None:
            _draw_strips(panels[per_line * line + 1], attribution, start_s, line_s)
    panels[-1].set_xlabel("seconds", fontsize=9, color=INK)
    return figure


def _draw_waves(axes: Axes, audio: NDArray[np.int16], words: Sequence[Word], start_s: float, line_s: float) -> None:
    """The sound's envelope and the words over it."""
    first, last = (round(at * SAMPLE_RATE_HZ) for at in (start_s, start_s + line_s))
    heard = audio[first:last].astype(np.float32)
    size = max(len(heard) // 1200, 1)
    pieces = heard[: len(heard) // size * size].reshape(-1, size)
    if len(pieces):
        time_s = start_s + (np.arange(len(pieces)) + 0.5) * size / SAMPLE_RATE_HZ
        peak = max(float(np.abs(audio.astype(np.float32)).max()), QUIETEST_PEAK * 32_768)
        axes.fill_between(time_s, pieces.min(axis=1) / peak, pieces.max(axis=1) / peak, color=GREY, linewidth=0)
    here = [word for word in words if start_s <= (word.start_s + word.end_s) / 2 < start_s + line_s]
    for place, word in enumerate(here[:: -(-len(here) // MOST_WORDS) or 1]):
        height = 1.25 + 0.42 * (place % WORD_LINES)
        middle_s = (word.start_s + word.end_s) / 2
        axes.plot([word.start_s, word.end_s], [height - 0.12] * 2, color=FAINT, linewidth=2, clip_on=False)
        axes.text(middle_s, height, _drawable(word.text), ha="center", size=7, color=INK, parse_math=False)
    axes.set_xlim(start_s, start_s + line_s)
    axes.set_ylim(-1.05, 1.1 + 0.42 * WORD_LINES + 0.1 if here else 1.05)
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    if start_s == 0:
        title(axes, "the sound and its words" if words else "the sound")


def _drawable(text: str) -> str:
    """As much of a word as the figures' font has letters for and a line has room for; the page itself shows it all."""
    known = get_font(findfont(FontProperties())).get_charmap()
    shown = "".join(letter if ord(letter) in known else "·" for letter in text)
    return shown if len(shown) <= LONGEST_WORD else shown[: LONGEST_WORD - 1] + "…"


def _draw_strips(axes: Axes, attribution: SoundAttribution, start_s: float, line_s: float) -> None:
    """A strip of colours for each target."""
    tidy(axes)
    count = attribution.bins.shape[1]
    reach = max(float(np.abs(attribution.bins).max()), 1e-9)
    axes.imshow(
        attribution.bins,
        cmap="RdBu_r",
        norm=TwoSlopeNorm(0, -reach, reach),
        extent=(0, count * BIN_S, len(TARGETS) - 0.5, -0.5),
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_yticks(range(len(TARGETS)), TARGETS)
    axes.set_xlim(start_s, start_s + line_s)
    axes.grid(visible=False)
    if start_s == 0:
        reads = f"red up, blue down, darkest {reach:.3f}"
        title(axes, f"effect of each tenth of a second on the voice-and-words score: {reads}")
