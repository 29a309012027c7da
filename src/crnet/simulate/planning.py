"""What a simulated data set will hold: who, in which split, with which scores, cues and words. Nothing is drawn yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from crnet.errors import ConfigError
from crnet.simulate.bias import LabelBias, biased
from crnet.simulate.cues import MODALITIES, NOISE_SHARE, Difficulty, Modality, draw_latents, values
from crnet.simulate.people import Look, draw_look
from crnet.simulate.scores import draw_scores
from crnet.simulate.speech import VOICES, Voice, syllables_spoken
from crnet.simulate.words import write_transcript
from crnet.types import SPLITS, Split

CLIPS_OF_A_PERSON = {1: 0.22, 2: 0.18, 3: 0.16, 4: 0.18, 5: 0.15, 6: 0.11}
"""Chosen so that, dealt at random over the splits, 84% of the validation clips share their source video with training,
as 1,674 of 2,000 do on First Impressions v2, and 10,000 clips come from about 3,100 videos."""
ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ID_LENGTH = 11
TRANSCRIPT_MIN_S = 10.0
"""A clip is cut out of a take at least this long; the transcript is that of the take and the clip speaks its beginning.
Without it a clip of 2 s would have six words."""
SHORTEST_S, LONGEST_S = 0.5, 120.0
SMALLEST_PX, LARGEST_PX = 96, 2160
SLOWEST_FPS, FASTEST_FPS = 2, 60

# Every random number comes from (seed, one of these, index): nothing depends on order or workers.
RNG_SPLITS, RNG_SCORES, RNG_NOISE, RNG_LOOK, RNG_WORDS, RNG_MOTION, RNG_VOICE = range(7)


@dataclass(frozen=True)
class SimulationConfig:
    """Everything that decides what a simulated data set holds.

    Attributes:
        clips: Number of clips.
        seed: Of all randomness, at least 0.
        seconds: Length of a clip.
        fps: Frames per second.
        height: Of the picture in pixels, even; the width is 16/9 of it.
        difficulty: Share of noise in the cues, see `cues.NOISE_SHARE`.
        identity_disjoint: Whether each person is in one split only.
        label_bias: Shifts of a group's labels, as `LabelBias.parse` reads them; the cues follow the unbiased scores.
        silent: Modalities whose cues carry nothing but noise.
        voice: Which voice the people have.

    Raises:
        ConfigError: A value is out of range.
    """

    clips: int
    seed: int = 0
    seconds: float = 15.0
    fps: float = 30.0
    height: int = 360
    difficulty: Difficulty = "easy"
    identity_disjoint: bool = False
    label_bias: tuple[str, ...] = ()
    silent: tuple[Modality, ...] = ()
    voice: Voice = "espeak"

    def __post_init__(self) -> None:
        _within("clips", self.clips, 1, 1_000_000)
        _within("seed", self.seed, 0, 2**63 - 1)
        _within("seconds", self.seconds, SHORTEST_S, LONGEST_S)
        _within("fps", self.fps, SLOWEST_FPS, FASTEST_FPS)
        _within("height", self.height, SMALLEST_PX, LARGEST_PX)
        if self.height % 2:
            raise ConfigError(f"height = {self.height} is odd", remedy="the video codec needs an even height")
        if self.difficulty not in NOISE_SHARE:
            raise ConfigError(f"unknown difficulty {self.difficulty!r}", remedy=f"one of {', '.join(NOISE_SHARE)}")
        if not set(self.silent) <= set(MODALITIES):
            raise ConfigError(f"unknown modality in {self.silent}", remedy=f"some of {', '.join(MODALITIES)}")
        if self.voice not in VOICES:
            raise ConfigError(f"unknown voice {self.voice!r}", remedy=f"one of {', '.join(VOICES)}")
        _ = self.biases  # refused here, before anything is written

    @property
    def biases(self) -> tuple[LabelBias, ...]:
        """The label biases, parsed."""
        return tuple(LabelBias.parse(text) for text in self.label_bias)

    @property
    def width(self) -> int:
        """Width of the picture in pixels, even."""
        return 2 * round(Fraction(self.height * 8, 9))

    @property
    def rate(self) -> Fraction:
        """Frames per second as a fraction that a container can hold."""
        return Fraction(self.fps).limit_denominator(1001)

    @property
    def frames(self) -> int:
        """Number of frames of a clip."""
        return max(1, round(self.seconds * self.fps))

    def rng(self, purpose: int, index: int = 0) -> np.random.Generator:
        """The generator of one purpose and one clip or person."""
        return np.random.default_rng([self.seed, purpose, index])


@dataclass(frozen=True)
class ClipPlan:
    """One clip to be made.

    Attributes:
        index: Position in the data set; with the seed it decides motion and voice.
        name: File name, with `.mp4`.
        split: Its part.
        person: Number of the person; decides the look.
        video_id: Id of the source video, the first part of the name.
        look: The person's appearance.
        scores: Six scores in the order of `TARGETS`: the labels.
        unbiased: The scores without label bias, which the cues follow.
        latents: Standard normal, in the order of `CUES`.
        cues: Value of every cue by name.
        transcript: What is said.
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


def plan_clips(config: SimulationConfig) -> list[ClipPlan]:
    """Draw scores, cues, people and words of every clip, in a stable order."""
    scores = draw_scores(config.clips, config.rng(RNG_SCORES))
    latents = draw_latents(scores, config.difficulty, config.rng(RNG_NOISE), config.silent)
    split_of, person_of = _deal(config)
    looks = [draw_look(config.rng(RNG_LOOK, person)) for person in range(max(person_of) + 1)]
    labels = biased(scores, [looks[person] for person in person_of], config.biases)
    ids = _video_ids(len(looks), config.rng(RNG_SPLITS, 1))
    numbers = dict.fromkeys(range(len(looks)), 0)
    plans = []
    for index in range(config.clips):
        person = person_of[index]
        cues = values(latents[index])
        take_s = max(config.seconds, TRANSCRIPT_MIN_S)
        plans.append(
            ClipPlan(
                index=index,
                name=f"{ids[person]}.{numbers[person]:03d}.mp4",
                split=split_of[index],
                person=person,
                video_id=ids[person],
                look=looks[person],
                scores=tuple(labels[index].tolist()),
                unbiased=tuple(scores[index].tolist()),
                latents=tuple(latents[index].tolist()),
                cues=cues,
                transcript=write_transcript(cues, syllables_spoken(take_s, cues), config.rng(RNG_WORDS, index)),
            )
        )
        numbers[person] += 1
    return plans


def split_sizes(clips: int) -> dict[Split, int]:
    """3:1:1; what does not divide goes to training."""
    held_out = clips // 5
    return {"train": clips - 2 * held_out, "val": held_out, "test": held_out}


def _deal(config: SimulationConfig) -> tuple[list[Split], list[int]]:
    """Split and person of every clip."""
    rng = config.rng(RNG_SPLITS)
    splits: list[Split] = [split for split in SPLITS for _ in range(split_sizes(config.clips)[split])]
    counts = np.array(list(CLIPS_OF_A_PERSON))
    shares = np.array(list(CLIPS_OF_A_PERSON.values()))
    people: list[int] = []
    person = 0
    while len(people) < config.clips:
        room = config.clips - len(people)
        if config.identity_disjoint:  # nobody goes on into the next split
            room = splits[len(people) :].count(splits[len(people)])
        people += [person] * min(room, int(rng.choice(counts, p=shares)))
        person += 1
    if not config.identity_disjoint:
        splits = [splits[i] for i in rng.permutation(config.clips)]
    return splits, people


def _video_ids(count: int, rng: np.random.Generator) -> list[str]:
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids["".join(ID_LETTERS[i] for i in rng.integers(len(ID_LETTERS), size=ID_LENGTH))] = None
    return list(ids)


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{name} = {value} is out of range", remedy=f"{name} must lie in [{low}, {high}]")
