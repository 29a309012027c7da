"""The table of cues: known variance, monotonic values, information about every target in every modality."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from crnet.simulate.cues import (
    CUE_BY_NAME,
    CUES,
    MODALITIES,
    NOISE_SHARE,
    Difficulty,
    cue_values,
    cue_weights,
    noise_shares,
    sample_latents,
)
from crnet.simulate.scores import sample_scores, standardise
from crnet.types import TARGETS


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    return sample_scores(6_000, np.random.default_rng(1))


@pytest.mark.parametrize("difficulty", NOISE_SHARE)
def test_latents_are_standard_normal_with_the_known_share_of_noise(scores: np.ndarray, difficulty: Difficulty) -> None:
    latents = sample_latents(scores, difficulty, np.random.default_rng(2))
    np.testing.assert_allclose(latents.mean(0), 0.0, atol=0.06)
    np.testing.assert_allclose(latents.std(0), 1.0, atol=0.05)
    share = noise_shares(difficulty)
    noise = latents - np.sqrt(1 - share) * (standardise(scores) @ cue_weights().T)
    np.testing.assert_allclose(noise.var(0), share, rtol=0.08)


def test_noise_shares_equal_hand_calculation() -> None:
    # fivalike, clarity 1: .75 noise to .25 signal. Clarity 2.5: .75 / (.75 + .625).
    shares = dict(zip(CUE_BY_NAME, noise_shares("fivalike"), strict=True))
    assert CUE_BY_NAME["gaze"].clarity == 1.0
    assert CUE_BY_NAME["loudness"].clarity == 2.5
    assert shares["gaze"] == pytest.approx(0.75)
    assert shares["loudness"] == pytest.approx(0.75 / 1.375)


def test_silent_modalities_carry_no_signal_and_do_not_change_the_others(scores: np.ndarray) -> None:
    complete, silenced = (
        sample_latents(scores, "easy", np.random.default_rng(5), silent) for silent in ((), ("audio", "text"))
    )
    for i, cue in enumerate(CUES):
        correlation = max(abs(np.corrcoef(silenced[:, i], scores[:, j])[0, 1]) for j in range(6))
        if cue.modality in ("audio", "text"):
            assert correlation < 0.05
        else:
            np.testing.assert_array_equal(silenced[:, i], complete[:, i])


def test_difficulties_are_ordered() -> None:
    assert NOISE_SHARE["easy"] < NOISE_SHARE["fivalike"] < NOISE_SHARE["hard"] < 1.0


@pytest.mark.parametrize("modality", MODALITIES)
def test_each_modality_predicts_every_target_when_easy(scores: np.ndarray, modality: str) -> None:
    latents = sample_latents(scores, "easy", np.random.default_rng(3))
    visible = latents[:, [i for i, cue in enumerate(CUES) if cue.modality == modality and not cue.needs_frame_order]]
    model = Ridge().fit(visible[:4000], scores[:4000])
    error = ((model.predict(visible[4000:]) - scores[4000:]) ** 2).mean(0)
    r2 = dict(zip(TARGETS, 1 - error / scores[4000:].var(0), strict=True))
    assert min(r2.values()) > 0.65, r2


def test_sound_carries_most_of_the_signal_of_sound_and_text(scores: np.ndarray) -> None:
    latents = sample_latents(scores, "fivalike", np.random.default_rng(6))

    def r2(*modalities: str) -> float:
        visible = latents[:, [i for i, cue in enumerate(CUES) if cue.modality in modalities]]
        predicted = Ridge().fit(visible[:4000], scores[:4000]).predict(visible[4000:])
        return float(1 - ((predicted - scores[4000:]) ** 2).mean() / scores[4000:].var(0).mean())

    assert 0.85 * r2("audio", "text") < r2("audio") < r2("audio", "text")


def test_permuted_cues_predict_nothing(scores: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    latents = rng.permutation(sample_latents(scores, "easy", rng))
    model = Ridge().fit(latents[:4000], scores[:4000])
    error = ((model.predict(latents[4000:]) - scores[4000:]) ** 2).mean(0)
    assert np.all(1 - error / scores[4000:].var(0) < 0.01)


@given(st.sampled_from(CUES), st.floats(-10, 10), st.floats(-10, 10))
def test_values_rise_with_the_latent_and_stay_in_range(cue, first: float, second: float) -> None:
    low, high = sorted((first, second))
    assert cue.low <= cue.value(low) <= cue.value(high) <= cue.high


def test_values_equal_hand_calculation() -> None:
    smile = CUE_BY_NAME["smile"]
    assert smile.value(0.0) == pytest.approx((-0.45 + 1.0) / 2)
    assert smile.value(-2.2) == -0.45
    assert smile.value(99.0) == 1.0
    assert smile.level(1.0) == 1.0
    assert set(cue_values(np.zeros(len(CUES)))) == {cue.name for cue in CUES}


def test_names_are_unique_and_every_weighted_sum_has_unit_variance(scores: np.ndarray) -> None:
    assert len(CUE_BY_NAME) == len(CUES)
    np.testing.assert_allclose((standardise(scores) @ cue_weights().T).std(0), 1.0, atol=0.04)
