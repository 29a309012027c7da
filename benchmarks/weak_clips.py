"""A clip store whose scores are nearly unpredictable, as real ones are: every cue explains a few percent of them.

A transcript has about 50 words, drawn from a vocabulary with Zipf's frequencies. Words belong to categories, and each
speaker prefers some categories; these preferences are the text's cue. The other cues are the brightness of the scene,
the brightness of the face and the loudness of the sound. The rest of each score is noise, correlated between the
targets as on First Impressions v2.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.noise_clip import noise_clip
from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import clip_path, write_clip
from crnet.media.settings import MediaSettings
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import TARGETS, Split

MEANS = np.array([0.476, 0.520, 0.548, 0.523, 0.566, 0.504])  # First Impressions v2, training split
DEVIATIONS = np.array([0.152, 0.154, 0.136, 0.155, 0.147, 0.150])
CORRELATION = 0.75  # between two targets; 0.58 to 0.88 on First Impressions v2

TEXT_SHARE = 0.6  # of the variance, by the word preferences; 50 words reveal a small part of them, an R2 of about .05
WORD_EFFECT = 0.52  # by which one standard deviation of a preference moves the logarithm of its words' frequency
CUE_SHARE = 0.05  # of the variance, by each of the other cues, which a clip shows clearly
CUES = 3  # brightness of the scene, brightness of the face, loudness

VOCABULARY, CATEGORIES, WORDS_PER_CATEGORY = 4_000, 12, 60
COMMON_WORDS = 20  # the most frequent words, which belong to no category
TRANSCRIPT_WORDS, WORD_DEVIATION, FEWEST_WORDS = 50, 15, 5
LETTERS = "etaoinshrdlucmwfgypbvk"

SEGMENTS, PIXELS, SECONDS = 4, 32, 0.25


def write_weak_store(folder: Path, sizes: dict[Split, int], seed: int) -> Path:
    """Write a store with `sizes` clips in each split; clips differ between seeds, the world does not.

    Returns:
        `folder`.
    """
    if (folder / "manifest.parquet").is_file():
        return folder
    rng = np.random.default_rng(seed)
    splits = [split for split, count in sizes.items() for _ in range(count)]
    preferences, cues, scores = _draw_scores(len(splits), rng)
    rows = []
    for number, split in enumerate(splits):
        clip_id, transcript = f"person{number:05d}.000.mp4", _transcript(preferences[number], rng)
        scene, face, sound = cues[number]
        clip = noise_clip(
            clip_id,
            brightness={"scene": 128 + 30 * scene, "face": 128 + 30 * face},
            loudness=float(np.exp(0.5 * sound)),
            rng=rng,
            pixels=PIXELS,
            segments=SEGMENTS,
            duration_s=SECONDS,
        )
        text = HashedNgrams().encode([transcript])[0]
        write_clip(folder / clip_path(clip_id), replace(clip, text=text))
        row = ClipRow(clip_id, clip_path(clip_id), split, tuple(scores[number].tolist()), transcript=transcript)
        rows.append(row)
    settings = MediaSettings(segments=SEGMENTS, pixels=PIXELS, frames_per_segment=1).to_dict()
    write_manifest(folder, Manifest(tuple(rows), "folder", settings, "weak signal", HashedNgrams.name))
    return folder


def _draw_scores(
    count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return word preferences [N, categories], cues [N, 3] and scores [N, 6]."""
    world = np.random.default_rng(0)
    preferences, cues = rng.normal(size=(count, CATEGORIES)), rng.normal(size=(count, CUES))
    effect = world.normal(size=(CATEGORIES, 1)) + 0.6 * world.normal(size=(CATEGORIES, len(TARGETS)))
    effect /= np.linalg.norm(effect, axis=0)
    noise = CORRELATION**0.5 * rng.normal(size=(count, 1))
    noise = noise + (1 - CORRELATION) ** 0.5 * rng.normal(size=(count, len(TARGETS)))
    signal = TEXT_SHARE**0.5 * preferences @ effect + CUE_SHARE**0.5 * cues.sum(axis=1, keepdims=True)
    noise_share = 1 - TEXT_SHARE - CUES * CUE_SHARE
    return preferences, cues, np.clip(MEANS + DEVIATIONS * (signal + noise_share**0.5 * noise), 0, 1)


def _vocabulary() -> tuple[list[str], NDArray[np.float64], NDArray[np.int64]]:
    """Return the words, the logarithms of their frequencies, and their categories (-1: none)."""
    world = np.random.default_rng(1)
    words = ["".join(world.choice(list(LETTERS), size=world.integers(2, 10))) for _ in range(VOCABULARY)]
    category = np.full(VOCABULARY, -1)
    members = COMMON_WORDS + world.permutation(VOCABULARY // 3)[: CATEGORIES * WORDS_PER_CATEGORY]
    category[members] = np.repeat(np.arange(CATEGORIES), WORDS_PER_CATEGORY)
    return words, -np.log(np.arange(VOCABULARY) + 5.0), category


WORDS, LOG_FREQUENCY, CATEGORY = _vocabulary()


def _transcript(preferences: NDArray[np.float64], rng: np.random.Generator) -> str:
    weights = np.exp(LOG_FREQUENCY + np.where(CATEGORY >= 0, WORD_EFFECT * preferences[CATEGORY], 0.0))
    count = max(FEWEST_WORDS, round(rng.normal(TRANSCRIPT_WORDS, WORD_DEVIATION)))
    return " ".join(WORDS[i] for i in rng.choice(VOCABULARY, size=count, p=weights / weights.sum()))
