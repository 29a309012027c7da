"""Worlds without pictures: scores, people and the cues that a stream would have to find in frames and sound.

Scores, cues and rules are those of `crnet simulate`. Clips belong to people, and half of the noise of a clip's cues is
that of its person, as a face or a room would be. No person is in two splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from crnet.simulate.cues import CUES, Difficulty, mix_latents, noise_shares
from crnet.simulate.planning import CLIPS_PER_PERSON, SimulationConfig, followed_scores
from crnet.simulate.score_rules import ScoreRule
from crnet.simulate.scores import sample_scores
from crnet.types import Stream

Scores = Float64[np.ndarray, "N 6"]

PERSON_SHARE = 0.5
"""Share of the noise that all clips of a person have in common."""


@dataclass(frozen=True, eq=False)
class Clips:
    """Clips of one split.

    Attributes:
        cues: float64 [N, cues] of each stream, standard normal; a single stream has the name "scene".
        scores: float64 [N, 6] in [0, 1].
        people: int64 [N], the person of each clip.
    """

    cues: Mapping[Stream, Float64[np.ndarray, "N cues"]]
    scores: Scores
    people: Int64[np.ndarray, " N"]


@dataclass(frozen=True)
class World:
    """How the cues of clips follow their scores.

    Attributes:
        noise: Share of noise in the variance of each cue, for each stream: a number for all cues, or one of the
            simulator's difficulties.
        uninformative: Share of clips whose cues say nothing about their scores, without a sign of it.
        rule: The rule by which the cues follow the scores.
    """

    noise: Mapping[Stream, float | Difficulty]
    uninformative: float = 0.0
    rule: ScoreRule = "linear"

    def draw(self, count: int, seed: int, split: int) -> Clips:
        """Draw the clips of a split; other seeds and splits have other people.

        Args:
            count: Number of clips.
            seed: Seed of the run.
            split: Number of the split.
        """
        rng = np.random.default_rng([seed, split])
        people = draw_people(count, rng)
        scores = sample_scores(count, rng)
        config = SimulationConfig(count, int(rng.integers(2**31)), uninformative=self.uninformative)
        _, followed = followed_scores(config, scores)
        cues = {}
        for stream, noise in self.noise.items():
            share = np.full(len(CUES), noise) if isinstance(noise, float) else noise_shares(noise)
            cues[stream] = mix_latents(followed, share, person_noise(people, rng), self.rule)
        return Clips(cues, scores, people)


def draw_people(count: int, rng: np.random.Generator) -> Int64[np.ndarray, " count"]:
    """Return the person of each clip, with as many clips per person as on First Impressions v2."""
    sizes = rng.choice(list(CLIPS_PER_PERSON), size=count, p=list(CLIPS_PER_PERSON.values()))
    return np.repeat(np.arange(count), sizes)[:count]


def person_noise(people: Int64[np.ndarray, " N"], rng: np.random.Generator) -> Float64[np.ndarray, "N cues"]:
    """Return noise of variance 1 for each cue; clips of one person share a part of it."""
    shared = rng.standard_normal((int(people.max()) + 1, len(CUES)))[people]
    noise: Float64[np.ndarray, "N cues"] = np.sqrt(PERSON_SHARE) * shared + np.sqrt(
        1 - PERSON_SHARE
    ) * rng.standard_normal(shared.shape)
    return noise
