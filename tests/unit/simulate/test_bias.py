"""A known bias in the labels affects its own group and target, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from crnet.errors import ConfigError
from crnet.simulate.bias import LabelBias
from crnet.simulate.planning import SimulationConfig, plan_clips
from crnet.simulate.scores import FIV2_STEPS
from crnet.types import TARGETS


def test_parse() -> None:
    assert LabelBias.parse("gender=female:interview:-0.05") == LabelBias("gender", "female", "interview", -0.05)
    assert LabelBias.parse("Ethnicity=ASIAN:Openness:.1") == LabelBias("ethnicity", "Asian", "openness", 0.1)


@pytest.mark.parametrize(
    "text",
    [
        "", "gender", "gender=female", "gender=female:interview", "gender=female:interview:much",
        "age=old:interview:0.1", "gender=dog:interview:0.1", "gender=female:height:0.1", "gender=female:interview:1.0",
        "gender=female:interview:nan", "gender=female:interview:-inf", "gender=female:interview:0.1:0.2",
    ],
)  # fmt: skip
def test_bad_biases_are_refused_with_the_expected_form(text: str) -> None:
    with pytest.raises(ConfigError) as error:
        SimulationConfig(clips=5, label_bias=(text,))
    assert "GROUPING=GROUP:TARGET:SHIFT" in (error.value.remedy or "")


def test_a_bias_affects_only_its_group_and_target() -> None:
    plain = plan_clips(SimulationConfig(clips=1000, seconds=1.0, difficulty="easy"))
    shifted = plan_clips(
        SimulationConfig(clips=1000, seconds=1.0, difficulty="easy", label_bias=("gender=female:interview:-0.05",))
    )
    interview = TARGETS.index("interview")
    for before, after in zip(plain, shifted, strict=True):
        assert after.cues == before.cues  # the cues follow the unbiased scores
        assert after.unbiased == before.scores == before.unbiased
        change = np.subtract(after.scores, before.scores)
        # -0.05 is 5.35 steps of 1/107, so the score falls by 5 steps, but not below 0.
        expected = -min(5 / 107, before.scores[interview]) if after.look.gender == "female" else 0.0
        assert change[interview] == pytest.approx(expected, abs=1e-9)
        assert not np.delete(change, interview).any()


def test_biases_add_up_and_keep_the_steps() -> None:
    two = ("gender=male:openness:0.3", "ethnicity=caucasian:openness:0.3")
    plain, shifted = (
        plan_clips(SimulationConfig(clips=500, seconds=1.0, difficulty="easy", label_bias=b)) for b in ((), two)
    )
    openness = TARGETS.index("openness")
    for before, after in zip(plain, shifted, strict=True):
        score = after.scores[openness]
        groups = (after.look.gender == "male") + (after.look.ethnicity == "Caucasian")
        assert score == pytest.approx(min(1.0, before.scores[openness] + 0.3 * groups), abs=0.5 / 90 + 1e-9)
        assert score * FIV2_STEPS["openness"] == pytest.approx(round(score * FIV2_STEPS["openness"]))


def test_groups_explain_scores_only_with_a_bias() -> None:
    def explained(label_bias: tuple[str, ...]) -> float:
        plans = plan_clips(SimulationConfig(clips=3000, seconds=1.0, difficulty="easy", label_bias=label_bias))
        scores = np.array([plan.scores[TARGETS.index("interview")] for plan in plans])
        women = np.array([plan.look.gender == "female" for plan in plans])
        between = women.mean() * (1 - women.mean()) * (scores[women].mean() - scores[~women].mean()) ** 2
        return float(between / scores.var())

    assert explained(()) < 0.01
    # A shift of 0.1 for half of the people has variance .25 x .01 = .0025, a tenth of the total with .150^2 = .0225.
    assert explained(("gender=female:interview:-0.1",)) == pytest.approx(0.1, abs=0.03)
