"""Looks of synthetic people: shares of the groups, and independence from scores."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from crnet.simulate.people import SKIN_TONES, TONES_BY_ETHNICITY, sample_look
from crnet.simulate.planning import SimulationConfig, plan_clips


def test_groups_have_the_shares_of_the_release() -> None:
    rng = np.random.default_rng(0)
    looks = [sample_look(rng) for _ in range(3000)]
    gender = Counter(look.gender for look in looks)
    ethnicity = Counter(look.ethnicity for look in looks)
    assert gender["male"] / 3000 == pytest.approx(0.45, abs=0.03)
    assert ethnicity["Caucasian"] / 3000 == pytest.approx(0.86, abs=0.03)
    assert ethnicity["African-American"] / 3000 == pytest.approx(0.11, abs=0.02)


@pytest.mark.parametrize("tone", range(len(SKIN_TONES)))
def test_an_imposed_skin_tone_selects_a_matching_group(tone: int) -> None:
    look = sample_look(np.random.default_rng(tone), skin_tone=tone)
    assert look.skin_tone == tone
    assert tone in TONES_BY_ETHNICITY[look.ethnicity]


def test_looks_do_not_predict_scores() -> None:
    plans = plan_clips(SimulationConfig(clips=5000, seconds=1.0, difficulty="easy"))
    scores = np.array([plan.scores for plan in plans])
    names = [name for name, value in asdict(plans[0].look).items() if isinstance(value, (int, float))]
    looks = np.array([[getattr(plan.look, name) for name in names] for plan in plans], dtype=float)
    looks = np.column_stack([looks, [[p.look.gender == "male", p.look.ethnicity == "Caucasian"] for p in plans]])
    looks = (looks - looks.mean(0)) / looks.std(0)
    model = Ridge(alpha=10.0).fit(looks[:3500], scores[:3500])
    error = ((model.predict(looks[3500:]) - scores[3500:]) ** 2).mean(0)
    assert np.all(1 - error / scores[3500:].var(0) < 0.01)


def test_clips_of_one_person_have_independent_scores() -> None:
    plans = plan_clips(SimulationConfig(clips=5000, seconds=1.0, difficulty="easy"))
    first = {}
    pairs = [(first[p.person], p.scores) for p in plans if first.setdefault(p.person, p.scores) is not p.scores]
    scores, other_scores = (np.array(side) for side in zip(*pairs, strict=True))
    assert np.all(np.abs([np.corrcoef(scores[:, i], other_scores[:, i])[0, 1] for i in range(6)]) < 0.06)
