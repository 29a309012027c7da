"""Plan a simulated dataset: people, splits, scores, cues and words of all clips, before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64

from crnet.errors import ConfigError
from crnet.simulate.bias import LabelBias, apply_biases
from crnet.simulate.cues import MODALITIES, NOISE_SHARE, Difficulty, Modality, cue_values, sample_latents
from crnet.simulate.people import Look, sample_look
from crnet.simulate.score_rules import SCORE_RULES, ScoreRule, choose_uninformative
from crnet.simulate.scores import sample_scores
from crnet.simulate.speech import VOICES, Voice, spoken_syllable_count
from crnet.simulate.words import write_transcript
from crnet.types import SPLITS, Split

CLIPS_PER_PERSON = {1: 0.22, 2: 0.18, 3: 0.16, 4: 0.18, 5: 0.15, 6: 0.11}
"""Shares of people by their number of clips. With random splits, 84% of the validation clips then share their source
video with training (First Impressions v2: 1,674 of 2,000), and 10,000 clips come from about 3,100 videos."""
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ID_LENGTH = 11
TRANSCRIPT_MIN_S = 10.0
"""The transcript has the words of at least this much speech, and a shorter clip speaks its beginning. Otherwise a clip
of 2 s would have only six words."""
MIN_S, MAX_S = 0.5, 120.0
MIN_PX, MAX_PX = 96, 2160
MIN_FPS, MAX_FPS = 2, 60

# Every random number follows from (seed, one of these purposes, index), so order and workers do not matter.
RNG_SPLITS, RNG_SCORES, RNG_NOISE, RNG_LOOK, RNG_WORDS, RNG_MOTION, RNG_VOICE, RNG_UNINFORMATIVE = range(8)

NEWER_SETTINGS: dict[str, Any] = {"uninformative": 0.0, "score_rule": "linear"}
"""Settings that version 0.1 did not record, with the values that it used."""


@dataclass(frozen=True)
class SimulationConfig:
    """Everything that decides the content of a simulated dataset.

    Attributes:
        clips: Number of clips.
        seed: Random seed, at least 0.
        seconds: Length of a clip in seconds.
        fps: Frames per second.
        height: Frame height in pixels, even; the width is 16/9 of it.
        difficulty: Share of noise in the cues; see `cues.NOISE_SHARE`.
        identity_disjoint: Whether each person appears in one split only.
        label_bias: Shifts of a group's labels, in the form that `LabelBias.parse` reads; the cues follow the unbiased
            scores.
        silent: Modalities whose cues consist of noise alone.
        voice: Voice of the people.
        uninformative: Share of clips whose cues say nothing about their scores, in [0, 1]. Their cues follow the scores
            of somebody who does not exist, so nothing in the clip reveals this.
        score_rule: Rule by which the cues follow the scores; see `score_rules`.

    Raises:
        ConfigError: A value is out of range.
    """

    clips: int
    seed: int = 0
    seconds: float = 15.0
    fps: float = 30.0
    height: int = 360
    difficulty: Difficulty = "fivalike"
    identity_disjoint: bool = False
    label_bias: tuple[str, ...] = ()
    silent: tuple[Modality, ...] = ()
    voice: Voice = "espeak"
    uninformative: float = 0.0
    score_rule: ScoreRule = "linear"

    def __post_init__(self) -> None:
        _check_range("clips", self.clips, 1, 1_000_000)
        _check_range("seed", self.seed, 0, 2**63 - 1)
        _check_range("seconds", self.seconds, MIN_S, MAX_S)
        _check_range("fps", self.fps, MIN_FPS, MAX_FPS)
        _check_range("height", self.height, MIN_PX, MAX_PX)
        if self.height % 2:
            raise ConfigError(
                f"height = {self.height} is odd", remedy="use an even height, as the video codec requires"
            )
        if self.difficulty not in NOISE_SHARE:
            raise ConfigError(f"unknown difficulty {self.difficulty!r}", remedy=f"use one of {', '.join(NOISE_SHARE)}")
        if not set(self.silent) <= set(MODALITIES):
            raise ConfigError(f"unknown modality in {self.silent}", remedy=f"use some of {', '.join(MODALITIES)}")
        if self.voice not in VOICES:
            raise ConfigError(f"unknown voice {self.voice!r}", remedy=f"use one of {', '.join(VOICES)}")
        _check_range("uninformative", self.uninformative, 0.0, 1.0)
        if self.score_rule not in SCORE_RULES:
            raise ConfigError(f"unknown score rule {self.score_rule!r}", remedy=f"use one of {', '.join(SCORE_RULES)}")
        _ = self.biases  # refuses a bad bias before anything is written

    @property
    def biases(self) -> tuple[LabelBias, ...]:
        """The label biases, parsed."""
        return tuple(LabelBias.parse(text) for text in self.label_bias)

    @property
    def width(self) -> int:
        """Frame width in pixels, even."""
        return 2 * round(Fraction(self.height * 8, 9))

    @property
    def rate(self) -> Fraction:
        """Frames per second as a fraction that a container can hold."""
        return Fraction(self.fps).limit_denominator(1001)

    @property
    def frames(self) -> int:
        """Number of frames in a clip."""
        return max(1, round(self.seconds * self.fps))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings to record; newer settings at their defaults are left out, so older folders resume."""
        settings = asdict(self)
        return {name: value for name, value in settings.items() if NEWER_SETTINGS.get(name) != value}

    def rng(self, purpose: int, index: int = 0) -> np.random.Generator:
        """Return the random generator for one purpose and one clip or person."""
        return np.random.default_rng([self.seed, purpose, index])


@dataclass(frozen=True)
class ClipPlan:
    """Plan of one clip.

    Attributes:
        index: Position in the dataset; decides motion and voice, together with the seed.
        name: File name, with `.mp4`.
        split: Split of the clip.
        person: Number of the person; decides the look.
        video_id: Id of the source video, the first part of the name.
        look: The person's appearance.
        scores: The labels: six scores in the order of `TARGETS`.
        unbiased: The scores without label bias, which the cues follow unless the clip is uninformative.
        latents: Latents of the cues, standard normal, in the order of `CUES`.
        cues: Value of every cue by name.
        transcript: The words.
        uninformative: Whether the cues say nothing about the scores.
    """

    index: int
    name: str
    split: Split
    person: int
    video_id: str
    look: Look
    scores: tuple[float, ...]
    unbiased: tuple[float, ...]
    latents: tuple[float, ...]
    cues: Mapping[str, float]
    transcript: str
    uninformative: bool


def plan_clips(config: SimulationConfig) -> list[ClipPlan]:
    """Sample the scores, cues, people and words of every clip, in a stable order."""
    scores = sample_scores(config.clips, config.rng(RNG_SCORES))
    uninformative, followed = followed_scores(config, scores)
    latents = sample_latents(followed, config.difficulty, config.rng(RNG_NOISE), config.silent, config.score_rule)
    splits, people = _assign_clips(config)
    looks = [sample_look(config.rng(RNG_LOOK, person)) for person in range(max(people) + 1)]
    labels = apply_biases(scores, [looks[person] for person in people], config.biases)
    ids = _video_ids(len(looks), config.rng(RNG_SPLITS, 1))
    next_number = dict.fromkeys(range(len(looks)), 0)
    plans = []
    for index in range(config.clips):
        person = people[index]
        cues = cue_values(latents[index])
        speech_s = max(config.seconds, TRANSCRIPT_MIN_S)
        plans.append(
            ClipPlan(
                index=index,
                name=f"{ids[person]}.{next_number[person]:03d}.mp4",
                split=splits[index],
                person=person,
                video_id=ids[person],
                look=looks[person],
                scores=tuple(labels[index].tolist()),
                unbiased=tuple(scores[index].tolist()),
                latents=tuple(latents[index].tolist()),
                cues=cues,
                transcript=write_transcript(cues, spoken_syllable_count(speech_s, cues), config.rng(RNG_WORDS, index)),
                uninformative=bool(uninformative[index]),
            )
        )
        next_number[person] += 1
    return plans


def followed_scores(
    config: SimulationConfig, scores: Float64[np.ndarray, "count 6"]
) -> tuple[Bool[np.ndarray, " count"], Float64[np.ndarray, "count 6"]]:
    """Return which clips are uninformative, and the scores that the cues of every clip follow.

    The cues of an uninformative clip follow other scores of the same distribution, so its cues have the distribution of
    all other cues.

    Args:
        config: Configuration of the dataset.
        scores: The clips' own scores.
    """
    uninformative = choose_uninformative(config.clips, config.uninformative, config.rng(RNG_UNINFORMATIVE))
    other_scores = sample_scores(config.clips, config.rng(RNG_UNINFORMATIVE, 1))
    return uninformative, np.where(uninformative[:, None], other_scores, scores)


def split_sizes(clips: int) -> dict[Split, int]:
    """Return the sizes of the splits, 3:1:1; the remainder goes to training."""
    held_out = clips // 5
    return {"train": clips - 2 * held_out, "val": held_out, "test": held_out}


def _assign_clips(config: SimulationConfig) -> tuple[list[Split], list[int]]:
    """Return the split and the person of every clip."""
    rng = config.rng(RNG_SPLITS)
    splits: list[Split] = [split for split in SPLITS for _ in range(split_sizes(config.clips)[split])]
    counts = np.array(list(CLIPS_PER_PERSON))
    shares = np.array(list(CLIPS_PER_PERSON.values()))
    people: list[int] = []
    person = 0
    while len(people) < config.clips:
        remaining = config.clips - len(people)
        if config.identity_disjoint:  # a person's clips end with the split
            remaining = splits[len(people) :].count(splits[len(people)])
        people += [person] * min(remaining, int(rng.choice(counts, p=shares)))
        person += 1
    if not config.identity_disjoint:
        splits = [splits[i] for i in rng.permutation(config.clips)]
    return splits, people


def _video_ids(count: int, rng: np.random.Generator) -> list[str]:
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(ID_LETTERS[i] for i in rng.integers(len(ID_LETTERS), size=ID_LENGTH))] = None
    return list(ids)


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} = {value} is out of range", remedy=f"use a value in [{low}, {high}]")
