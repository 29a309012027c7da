"""The table of cues: how each score shows in picture, voice and words, and how strongly.

A cue's *latent* is standard normal: the weighted sum of the standardised scores, scaled to unit variance, mixed with
noise that has a known share of the variance. Its *value* is the latent mapped to the cue's range. The six scores share
a strong general factor. In each modality some cues follow this factor (equal weights) and others follow differences
between the targets, so every modality carries its own information about every target.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64

from crnet.simulate.score_rules import ScoreRule, shown_correlations, shown_scores
from crnet.simulate.scores import LETTERS, standardise
from crnet.types import TARGETS

Modality = Literal["face", "scene", "audio", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

Difficulty = Literal["easy", "fivalike", "hard"]
NOISE_SHARE: dict[Difficulty, float] = {"easy": 0.06, "fivalike": 0.75, "hard": 0.90}
"""Share of noise in the variance of a cue of clarity 1; see `noise_shares`."""

LATENT_LIMIT = 2.2
"""A latent of -2.2 (+2.2) deviations maps to the low (high) end of the cue's range; beyond it the cue saturates."""


@dataclass(frozen=True)
class Cue:
    """One property of a clip that a viewer can notice.

    Attributes:
        name: Name of its column in truth.parquet.
        modality: Modality that shows it.
        weights: Weight of each standardised score, by the target's first letter.
        low, high: Values at the ends of the range.
        unit: Unit of the value.
        needs_frame_order: Whether it shows only in the order of frames, not in single frames.
        clarity: Signal-to-noise ratio relative to that of a cue of clarity 1.
        side_modalities: Other modalities that show it as a side effect; a loud voice opens the mouth wide, for example.
    """

    name: str
    modality: Modality
    weights: Mapping[str, float]
    low: float
    high: float
    unit: str
    needs_frame_order: bool = False
    clarity: float = 1.0
    side_modalities: tuple[Modality, ...] = ()

    def value(self, latent: float) -> float:
        """Return the cue's value at a latent; it saturates at the ends of the range."""
        part = (np.clip(latent / LATENT_LIMIT, -1.0, 1.0) + 1.0) / 2.0
        return float(self.low + (self.high - self.low) * part)

    def middle(self) -> float:
        """Return the value at the latent 0."""
        return (self.low + self.high) / 2.0

    def level(self, value: float) -> float:
        """Return the position of a value in the range: 0 at `low`, 1 at `high`."""
        return (value - self.low) / (self.high - self.low)


TEXT_CLARITY = 0.4
GENERAL = dict.fromkeys("ENACOI", 1.0)

# fmt: off
CUES: tuple[Cue, ...] = (
    # Visible in the face.
    Cue("smile", "face", {"A": 1.0, "E": 0.5, "I": 0.3}, -0.45, 1.0, "curve of the mouth, 0 = straight", clarity=1.5),
    Cue("eye_opening", "face", GENERAL, 0.42, 1.35, "share of a relaxed eye's opening", clarity=1.5),
    Cue("brow", "face", {"N": 1.6, "O": 0.6, "C": -0.9}, -1.0, 1.0, "-1 = knit and low, 1 = raised"),
    Cue("gaze", "face", {"C": 1.5, "I": 0.6, "E": -0.6}, 0.15, 1.0, "share of time looking at the camera"),
    Cue("head_motion", "face", {"E": 1.6, "C": -0.7}, 0.1, 1.0, "amplitude, 1 = lively", clarity=0.6),
    Cue("blink_rate", "face", {"N": -1.0}, 0.1, 0.9, "per second", needs_frame_order=True, clarity=0.6),
    Cue("nod_rate", "face", {"A": 1.0, "I": 0.5}, 0.0, 0.8, "per second", needs_frame_order=True, clarity=0.6),
    # Visible in the scene.
    Cue("room_brightness", "scene", GENERAL, 0.4, 1.0, "share of full light", clarity=2.0, side_modalities=("face",)),
    Cue("room_warmth", "scene", {"A": 1.6, "O": -0.7, "C": -0.3}, -1.0, 1.0,
        "-1 = cold light, 1 = warm light", side_modalities=("face",)),
    Cue("tidiness", "scene", {"C": 1.6, "E": -0.8}, 0.0, 1.0, "0 = cluttered, 1 = bare", clarity=1.5),
    Cue("closeness", "scene", {"E": 1.5, "A": -0.5, "C": -0.3}, 0.34, 0.56,
        "head height / frame height", clarity=1.5, side_modalities=("face",)),
    Cue("dress_saturation", "scene", {"O": 1.6, "N": -0.5, "A": -0.4}, 0.05, 0.95,
        "saturation of the clothes", side_modalities=("face",)),
    Cue("posture", "scene", {"N": 1.3, "I": 0.6, "O": -0.6}, 0.0, 1.0,
        "0 = slumped, 1 = upright", side_modalities=("face",)),
    Cue("gesture", "scene", {"E": 0.9, "I": 0.6, "O": 0.4}, 0.0, 1.0,
        "height of the hands, 1 = chin", clarity=1.5),
    # Audible.
    Cue("loudness", "audio", GENERAL, -36.0, -16.0,
        "dB of full scale, while speaking", clarity=2.5, side_modalities=("face",)),
    Cue("pitch_level", "audio", {"E": 1.3, "O": 0.6, "C": -0.9}, -4.0, 5.0,
        "semitones above the resting pitch", clarity=1.5),
    Cue("pitch_variation", "audio", {"O": 1.4, "E": 0.4, "N": -0.7}, 0.2, 2.4, "semitones, standard deviation"),
    Cue("speaking_rate", "audio", {"N": 0.9, "I": 0.9, "A": -0.8}, 2.6, 6.4,
        "syllables per second of speech", clarity=1.5, side_modalities=("text",)),
    Cue("pause_share", "audio", {"N": -1.0, "C": -0.6, "A": 0.4}, 0.04, 0.42,
        "share of silence", clarity=1.5, side_modalities=("face", "text")),
    Cue("voice_softness", "audio", {"A": 1.6, "E": -0.8}, 0.0, 1.0, "0 = pressed and bright, 1 = soft and dark"),
    Cue("voice_steadiness", "audio", {"C": 1.5, "O": -0.7}, 0.0, 1.0, "0 = trembling, 1 = steady"),
    # In the transcript: the share of each subject, and the style. These cues are fainter than the others, because the
    # paper's network appends the text vector to the sound and averages both, so it has difficulty with words.
    Cue("words_social", "text", {"E": 1.6, "C": -0.8}, 0.0, 1.0,
        "weight of sentences about people", clarity=TEXT_CLARITY),
    Cue("words_kind", "text", {"A": 1.6, "O": -0.7}, 0.0, 1.0,
        "weight of thankful and caring sentences", clarity=TEXT_CLARITY),
    Cue("words_worry", "text", {"N": -1.2, "I": -0.5}, 0.0, 1.0,
        "weight of sentences about troubles", clarity=TEXT_CLARITY),
    Cue("words_work", "text", {"C": 1.5, "I": 0.3, "A": -0.6}, 0.0, 1.0,
        "weight of sentences about plans and work", clarity=TEXT_CLARITY),
    Cue("words_ideas", "text", {"O": 1.6, "A": -0.5}, 0.0, 1.0,
        "weight of sentences about ideas and art", clarity=TEXT_CLARITY),
    Cue("sentence_length", "text", GENERAL, 5.0, 21.0, "words", clarity=TEXT_CLARITY),
    Cue("filler_rate", "text", {"C": -1.0, "I": -0.8}, 0.0, 0.22, "fillers per word", clarity=TEXT_CLARITY),
)
# fmt: on

CUE_BY_NAME = {cue.name: cue for cue in CUES}


def cue_weights(rule: ScoreRule = "linear") -> Float64[np.ndarray, "cues 6"]:
    """Return the weights of every cue (rows) for the standardised shown scores; each sum has variance 1."""
    rows = np.array([[cue.weights.get(target[0].upper(), 0.0) for target in TARGETS] for cue in CUES])
    variance = np.einsum("ct,ts,cs->c", rows, shown_correlations(rule), rows)
    return rows / np.sqrt(variance)[:, None]


def noise_shares(difficulty: Difficulty) -> Float64[np.ndarray, " cues"]:
    """Return the share of noise in each cue's variance."""
    noise = NOISE_SHARE[difficulty]
    return np.array([noise / (noise + (1.0 - noise) * cue.clarity) for cue in CUES])


def sample_latents(
    scores: Float64[np.ndarray, "count 6"],
    difficulty: Difficulty,
    rng: np.random.Generator,
    silent: Collection[Modality] = (),
    rule: ScoreRule = "linear",
) -> Float64[np.ndarray, "count cues"]:
    """Sample the latent of every cue of every clip, with mean 0 and variance 1 over the dataset.

    Args:
        scores: Scores in [0, 1].
        difficulty: Decides the share of noise in the variance.
        rng: Source of the noise.
        silent: Modalities whose cues consist of noise alone.
        rule: The rule by which the cues follow the scores.
    """
    share = np.where([cue.modality in silent for cue in CUES], 1.0, noise_shares(difficulty))
    return mix_latents(scores, share, rng.standard_normal((len(scores), len(CUES))), rule)


def mix_latents(
    scores: Float64[np.ndarray, "count 6"],
    share: Float64[np.ndarray, " cues"],
    noise: Float64[np.ndarray, "count cues"],
    rule: ScoreRule = "linear",
) -> Float64[np.ndarray, "count cues"]:
    """Return the latent of every cue: the scores that it shows, mixed with noise.

    Args:
        scores: Scores in [0, 1].
        share: Share of noise in the variance of each latent.
        noise: Noise with mean 0 and variance 1.
        rule: The rule by which the cues follow the scores.
    """
    signal = standardise(shown_scores(scores, rule)) @ cue_weights(rule).T
    return np.sqrt(1.0 - share) * signal + np.sqrt(share) * noise


def cue_values(latents: Float64[np.ndarray, " cues"]) -> dict[str, float]:
    """Return the value of every cue by name, from one clip's latents in the order of `CUES`."""
    return {cue.name: cue.value(float(latent)) for cue, latent in zip(CUES, latents, strict=True)}


def middle_values() -> dict[str, float]:
    """Return every cue's value in the middle of its range: an unremarkable person."""
    return {cue.name: cue.middle() for cue in CUES}


assert set("".join(letter for cue in CUES for letter in cue.weights)) <= set(LETTERS)  # noqa: S101
