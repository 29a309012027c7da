"""Transcripts follow the text cues."""

from __future__ import annotations

import re

import numpy as np
import pytest

from crnet.simulate.cues import CUE_BY_NAME, middle_values
from crnet.simulate.words import CLAUSES, FILLERS, SUBJECTS, count_syllables, write_transcript


def transcript(count: int = 400, seed: int = 0, **changed: float) -> str:
    return write_transcript({**middle_values(), "filler_rate": 0.0, **changed}, count, np.random.default_rng(seed))


def own_word_share(subject: str, text: str) -> float:
    """Return the share of the words that occur only in this subject, among such words of all subjects."""
    words_by_subject = {s: set(re.findall(r"[a-z]+", " ".join(CLAUSES[s]).lower())) for s in SUBJECTS}
    own_words = {
        s: words_by_subject[s] - set().union(*(words_by_subject[o] for o in SUBJECTS if o != s)) for s in SUBJECTS
    }
    words = re.findall(r"[a-z]+", text.lower())
    hits = {s: sum(word in own_words[s] for word in words) for s in SUBJECTS}
    return hits[subject] / max(1, sum(hits.values()))


@pytest.mark.parametrize("subject", [subject for subject in SUBJECTS if subject != "plain"])
def test_share_of_a_subject_grows_with_its_cue(subject: str) -> None:
    low, middle, high = (
        own_word_share(subject, transcript(**{f"words_{subject}": level})) for level in (0.0, 0.5, 1.0)
    )
    assert low < 0.02 < middle < high


def test_sentence_length_grows_with_its_cue() -> None:
    def length(text: str) -> float:
        return float(np.mean([len(sentence.split()) for sentence in text.split(". ")[:-1]]))

    short, middle, long = (length(transcript(sentence_length=words)) for words in (5.0, 13.0, 21.0))
    assert short < middle < long
    assert middle == pytest.approx(13.0, abs=4.0)


def test_fillers_have_their_rate() -> None:
    text = transcript(filler_rate=0.2).lower()
    fillers = sum(len(re.findall(rf"\b{filler}\b", text)) for filler in FILLERS)
    words = len(text.split())
    assert fillers / words == pytest.approx(0.2 / 1.27, rel=0.25)  # fillers have 1.3 words on average
    assert re.search(r"\b(um|uh)\b", transcript(filler_rate=0.0)) is None


def test_even_a_short_text_shows_its_main_subject() -> None:
    for seed in range(20):
        text = transcript(25, seed, words_work=1.0, words_social=0.0, words_kind=0.0, words_worry=0.0, words_ideas=0.0)
        assert own_word_share("work", text) > 0.3


@pytest.mark.parametrize(
    ("word", "count"), [("cat", 1), ("happy", 2), ("table", 2), ("home", 1), ("imagination", 5), ("the", 1), ("Mm.", 1)]
)
def test_syllables(word: str, count: int) -> None:
    assert count_syllables(word) == count


def test_length_is_met_and_no_template_remains() -> None:
    text = transcript(60)
    assert 60 <= sum(count_syllables(word) for word in text.split()) <= 64
    assert not set("{|}") & set(text)
    assert text[0].isupper()
    assert text.endswith(".")
    assert CUE_BY_NAME["sentence_length"].low >= 1
