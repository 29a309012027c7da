"""Verdicts on claims, with constructed predictions."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from crnet.experiments.claims import Claim, Verdict, judge, judge_share
from crnet.experiments.paper.published import TABLE_3
from crnet.experiments.rendering.claims_table import claims_csv, claims_summary, claims_table

N = 40
TRUTH = np.full((N, 6), 0.5)


def predictions(*errors: float) -> np.ndarray:
    """Return predictions of one seed per error, each off by that error for every clip."""
    return np.stack([TRUTH + error for error in errors])


CLAIM = Claim("A beats B", "Sec. 0", "A", "B")


def test_a_clear_difference_holds() -> None:
    verdict = judge(CLAIM, TRUTH, predictions(0.10, 0.12), predictions(0.13, 0.17))
    assert verdict.ours == pytest.approx(0.04)  # seeds: .03 and .05
    assert verdict.sd == pytest.approx(0.01 * np.sqrt(2))
    assert (verdict.agreeing, verdict.seeds, verdict.paper) == (2, 2, None)
    assert verdict.p == pytest.approx(1 / 10_001)
    assert verdict.outcome == "yes"


def test_a_clear_reverse_is_reported() -> None:
    verdict = judge(CLAIM, TRUTH, predictions(0.2), predictions(0.1))
    assert verdict.ours == pytest.approx(-0.1)
    assert verdict.sd is None
    assert verdict.p == pytest.approx(1 - 1 / 10_001)
    assert verdict.outcome == "no, the reverse"


def test_disagreeing_seeds_leave_a_claim_undecided_even_with_a_small_p() -> None:
    verdict = judge(CLAIM, TRUTH, predictions(0.10, 0.10), predictions(0.20, 0.09))
    assert verdict.p is not None
    assert verdict.p < 0.05
    assert verdict.agreeing == 1
    assert verdict.outcome == "undecided"


def test_equal_systems_leave_a_claim_undecided() -> None:
    same = predictions(0.1)
    assert judge(CLAIM, TRUTH, same, same).outcome == "undecided"


def test_shares_above_a_threshold_match_hand_computation() -> None:
    better, worse = predictions(0.1, 0.1), predictions(0.1, 0.1)
    better[:, :4, 0] = 0.8  # off by .3: 4 of 40 x 5 scores
    worse[:, :24, 1] = 0.8
    worse[1, 24:28, 2] = 0.8
    worse[:, :, 5] = 0.9  # interview is not one of the five traits
    verdict = judge_share(CLAIM, TRUTH, better, worse, above=0.2)
    assert verdict.ours == pytest.approx((20 / 200 + 24 / 200) / 2)
    assert (verdict.agreeing, verdict.outcome) == (2, "yes")
    assert judge_share(CLAIM, TRUTH, better, worse, above=0.35).ours == 0
    incomplete = TRUTH.copy()
    incomplete[:20] = np.nan
    assert judge_share(CLAIM, incomplete, better, worse, above=0.2).ours == pytest.approx((4 / 100 + 8 / 100) / 2)


def test_a_single_different_score_reverses_nothing() -> None:
    # One of 40 clips contradicts the claim. (39/40)^40 = .363 of the resamples do not contain it.
    better, worse = predictions(0.1), predictions(0.1)
    better[:, 0, 0] = 0.9
    verdict = judge_share(CLAIM, TRUTH, better, worse, above=0.2)
    assert verdict.p == pytest.approx(1 - 0.363, abs=0.02)
    assert (verdict.agreeing, verdict.outcome) == (0, "undecided")
    assert judge_share(CLAIM, TRUTH, worse, better, above=0.2).p == pytest.approx(0.363, abs=0.02)


def test_only_the_targets_of_the_claim_count() -> None:
    better = predictions(0.1)
    better[:, :, 2:] = TRUTH[:, 2:] + 0.4  # bad everywhere else
    claim = Claim("", "", "A", "B", ("extraversion", "neuroticism"))
    verdict = judge(claim, TRUTH, better, predictions(0.2), (TABLE_3["face"], TABLE_3["scene"]))
    assert verdict.ours == pytest.approx(0.1)
    assert verdict.paper == pytest.approx((0.9167 - 0.9133 + 0.9090 - 0.9087) / 2)


def test_the_papers_difference_is_that_of_the_published_averages() -> None:
    verdict = judge(CLAIM, TRUTH, predictions(0.1), predictions(0.2), (TABLE_3["scene"], TABLE_3["face"]))
    assert verdict.paper == pytest.approx(0.9138 - 0.9133)


def test_clips_without_truth_are_ignored() -> None:
    truth = TRUTH.copy()
    truth[: N // 2] = np.nan
    better, worse = predictions(0.1), predictions(0.2)
    better[:, : N // 2] = 5.0
    assert judge(CLAIM, truth, better, worse).ours == pytest.approx(0.1)


def test_p_weights_scores_as_the_difference_does() -> None:
    # One clip in four has all five traits and loses .1 on each; the others have one trait and gain .1. Counted by
    # score, the second system is better; counted by clip, it would be the first.
    truth = np.full((N, 6), np.nan)
    truth[:, 0] = 0.5
    truth[::4] = 0.5
    better = np.full((1, N, 6), 0.6)
    worse = np.full((1, N, 6), 0.7)
    worse[:, ::4] = 0.5
    verdict = judge(CLAIM, truth, better, worse)
    assert verdict.ours == pytest.approx((30 * 0.1 - 50 * 0.1) / 80)
    assert verdict.p is not None and verdict.p > 0.8


def test_few_clips_leave_a_claim_undecided() -> None:
    verdict = judge(CLAIM, TRUTH[:9], predictions(0.1)[:, :9], predictions(0.2)[:, :9])
    assert verdict.p is None
    assert verdict.outcome == "too few clips"


VERDICTS = [
    Verdict("a", "s", 0.0123, 0.01, 0.002, 3, 3, 0.01),
    Verdict("b", "s", None, -0.01, None, 0, 3, 0.99),
    Verdict("c", "s", None, 0.0, None, 1, 3, 0.5),
]


def test_verdicts_of_earlier_versions_can_be_read() -> None:
    document = VERDICTS[0].to_dict()
    assert document["outcome"] == "yes"
    assert Verdict.from_dict(document) == VERDICTS[0]
    document["holds"] = document.pop("outcome")
    assert Verdict.from_dict(document) == VERDICTS[0]


def test_the_csv_holds_unrounded_numbers() -> None:
    lines = list(csv.reader(claims_csv(VERDICTS).splitlines()))
    assert lines[0] == ["claim", "source", "paper", "ours", "sd", "agreeing", "seeds", "p", "outcome"]
    assert lines[1] == ["a", "s", "0.0123", "0.01", "0.002", "3", "3", "0.01", "yes"]
    assert lines[2] == ["b", "s", "", "-0.01", "", "0", "3", "0.99", "no, the reverse"]
    with_sections = list(csv.DictReader(claims_csv(VERDICTS, ["table1", "table1", "fig10"]).splitlines()))
    assert [line["section"] for line in with_sections] == ["table1", "table1", "fig10"]
    assert with_sections[2]["claim"] == "c"


def test_the_table_of_claims_counts_the_outcomes() -> None:
    table = claims_table(VERDICTS)
    assert table.rows[0].cells == ("a", "s", "+.0123", "+.0100 ±.0020", "3 of 3", ".010", "yes")
    assert [row.cells[-1] for row in table.rows] == ["yes", "no, the reverse", "undecided"]
    assert claims_summary(VERDICTS) == "Of 3 claims, 1 holds, 1 is undecided and 1 is reversed."
    assert [Verdict.from_dict(verdict.to_dict()) for verdict in VERDICTS] == VERDICTS
