"""The losses, compared with values computed by hand."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crnet.models.losses import (
    LOSSES,
    PAPER_LOSSES,
    LossName,
    bell_loss,
    classification_loss,
    l1_loss,
    lambda_at,
    loss_terms,
    mse_loss,
    share_outside_bell,
)

SCORE = st.floats(-1, 2, width=32)


def scores(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("points_off", "expected"),
    [
        (0.0, 0.0),
        # 300 (1 - exp(-0.5)) = 300 * 0.3934693403
        (9.0, 118.040802),
        # 300 (1 - exp(-2)) = 300 * 0.8646647168
        (18.0, 259.399415),
        # 4 sigma: 300 (1 - exp(-8)) = 300 * 0.9996645374
        (36.0, 299.899361),
        # 1 point: 300 (1 - exp(-1/162)) = 300 * 0.0061538279
        (1.0, 1.846148),
    ],
)
def test_bell_by_hand(points_off: float, expected: float) -> None:
    for sign in (1, -1):
        assert bell_loss(scores(0.5 + sign * points_off / 100), scores(0.5)).item() == pytest.approx(expected, abs=1e-5)


def test_bell_is_a_mean() -> None:
    # (0 + 118.0408 + 118.0408 + 259.3994) / 4
    off = scores(0.0, 0.09, -0.09, 0.18)
    assert bell_loss(0.4 + off, torch.full_like(off, 0.4)).item() == pytest.approx(123.870255, abs=1e-5)


def test_bell_with_other_width_and_height() -> None:
    # 2 (1 - exp(-3^2 / (2 * 3^2))) = 2 * 0.3934693403
    assert bell_loss(scores(0.53), scores(0.5), sigma=3, gamma=2).item() == pytest.approx(0.786939, abs=1e-6)


@pytest.mark.parametrize(
    ("points_off", "expected"),
    [
        # d/dy of 300 (1 - exp(-d^2/162)), d = 100 (y - t): 300 * d / 81 * exp(-d^2 / 162) * 100
        (0.0, 0.0),
        (9.0, 300 / 9 * math.exp(-0.5) * 100),  # 2021.77, the greatest
        (18.0, 300 / 81 * 18 * math.exp(-2) * 100),  # 902.24
        (-9.0, -300 / 9 * math.exp(-0.5) * 100),
        (36.0, 300 / 81 * 36 * math.exp(-8) * 100),  # 4.47: 0.2% of the greatest
    ],
)
def test_gradient_of_bell_by_hand(points_off: float, expected: float) -> None:
    prediction = scores(0.5 + points_off / 100).requires_grad_()
    bell_loss(prediction, scores(0.5)).backward()
    assert prediction.grad is not None
    assert prediction.grad.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_bell_has_no_gradient_far_away() -> None:
    prediction = torch.tensor([0.0], requires_grad=True)
    bell_loss(prediction, torch.tensor([0.9])).backward()  # 10 sigma
    assert prediction.grad is not None
    assert abs(prediction.grad.item()) < 1e-10


def test_small_errors_keep_their_digits_in_float32() -> None:
    # 0.001 points off: 300 * (0.001^2 / 162) = 1.85185e-6; 1 - exp(-6e-9) is 0 in float32
    off = torch.tensor([1e-5])
    assert bell_loss(off, torch.zeros(1)).item() == pytest.approx(1.851852e-6, rel=1e-4)


def test_batch_of_three_has_its_only_minimum_at_the_mean() -> None:
    """Contrary to Sec. 3.3, with sigma = 9 the sum of the Bells of 0.4, 0.5 and 0.6 has one minimum."""
    batch = scores(0.4, 0.5, 0.6)
    guesses = torch.linspace(0.2, 0.8, 6001, dtype=torch.float64)
    sums = torch.stack([bell_loss(guess.expand(3), batch) for guess in guesses])
    inner = sums[1:-1]
    minima = guesses[1:-1][(inner < sums[:-2]) & (inner < sums[2:])]
    assert minima.tolist() == pytest.approx([0.5], abs=1e-9)


def test_a_narrower_bell_has_a_minimum_at_each_score() -> None:
    batch = scores(0.4, 0.5, 0.6)
    guesses = torch.linspace(0.2, 0.8, 6001, dtype=torch.float64)
    sums = torch.stack([bell_loss(guess.expand(3), batch, sigma=3) for guess in guesses])
    inner = sums[1:-1]
    minima = guesses[1:-1][(inner < sums[:-2]) & (inner < sums[2:])]
    assert minima.tolist() == pytest.approx([0.4, 0.5, 0.6], abs=2e-3)


def test_l1_and_mse_by_hand() -> None:
    prediction, target = scores(0.5, 0.7), scores(0.4, 0.75)  # 10 and -5 points off
    assert l1_loss(prediction, target).item() == pytest.approx(7.5)
    assert mse_loss(prediction, target).item() == pytest.approx(62.5)


def test_classification_loss_is_a_mean_over_clips_and_a_sum_over_targets() -> None:
    chance = torch.zeros(5, 6, 4)
    assert classification_loss(chance, torch.zeros(5, 6, dtype=torch.int64)).item() == pytest.approx(6 * math.log(4))
    # One clip, two targets, two classes. Target 0: p(class 0) = 3/4, right. Target 1: p(class 1) = 1/4, right.
    logits = torch.tensor([[[math.log(3), 0.0], [math.log(3), 0.0]]])
    expected = -math.log(3 / 4) - math.log(1 / 4)  # 0.287682 + 1.386294
    assert classification_loss(logits, torch.tensor([[0, 1]])).item() == pytest.approx(expected, rel=1e-6)


def test_classification_loss_is_the_softmax_over_classes_not_targets() -> None:
    # A constant added to all classes of one target changes nothing; over the targets it would.
    logits = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.randint(0, 4, (3, 6), generator=torch.Generator().manual_seed(1))
    shifted = logits.clone()
    shifted[:, 2] += 5.0
    assert classification_loss(shifted, classes).item() == pytest.approx(
        classification_loss(logits, classes).item(), rel=1e-5
    )


def test_lambda_by_hand() -> None:
    assert lambda_at(0, 50) == 200  # 4 * 50 / 1
    assert lambda_at(1, 50) == 100
    assert lambda_at(9, 50) == 20
    assert lambda_at(49, 50) == 4
    assert [lambda_at(epoch, 4) for epoch in range(4)] == [16, 8, 16 / 3, 4]


def test_the_total_is_the_sum_of_its_terms() -> None:
    # Every score 9 points off, class logits at chance: 9 + 81 + 118.0408 + 200 * 8.317766
    prediction, target = torch.full((2, 6), 0.59), torch.full((2, 6), 0.5)
    terms = loss_terms(prediction, torch.zeros(2, 6, 4), target, torch.ones(2, 6, dtype=torch.int64), 200.0)
    assert terms.by_name["l1"].item() == pytest.approx(9, rel=1e-5)
    assert terms.by_name["mse"].item() == pytest.approx(81, rel=1e-5)
    assert terms.by_name["bell"].item() == pytest.approx(118.0408, rel=1e-5)
    assert terms.by_name["classification"].item() == pytest.approx(8.317766, rel=1e-5)
    assert terms.total().item() == pytest.approx(9 + 81 + 118.0408 + 1663.5532, rel=1e-5)


def test_the_table_holds_exactly_the_names_that_a_configuration_may_use() -> None:
    assert tuple(LOSSES) == get_args(LossName)
    assert PAPER_LOSSES == ("l1", "mse", "bell", "classification")  # Eq. 8


def test_share_outside_bell() -> None:
    target = torch.full((5,), 0.5, dtype=torch.float64)
    prediction = scores(0.5, 0.859, 0.861, 0.139, math.nan)  # 36 points is the limit
    assert share_outside_bell(prediction, target) == pytest.approx(3 / 5)


def test_bfloat16_is_computed_in_float32() -> None:
    loss = bell_loss(torch.tensor([0.5], dtype=torch.bfloat16), torch.tensor([0.51]))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1.846148, rel=1e-4)


@pytest.mark.parametrize("loss", [bell_loss, l1_loss, mse_loss, share_outside_bell])
def test_shapes_that_merely_broadcast_are_refused(loss: object) -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        loss(torch.zeros(3, 1), torch.zeros(3, 6))  # type: ignore[operator]


@given(st.lists(st.tuples(SCORE, SCORE), min_size=1, max_size=20))
def test_bell_is_bounded_symmetric_and_permutable(pairs: list[tuple[float, float]]) -> None:
    prediction, target = (torch.tensor(side) for side in zip(*pairs, strict=True))
    loss = bell_loss(prediction, target).item()
    assert 0 <= loss <= 300
    assert bell_loss(target, prediction).item() == loss
    assert bell_loss(prediction.flip(0), target.flip(0)).item() == pytest.approx(loss, rel=1e-5, abs=1e-5)


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_bell_grows_with_the_distance(target: float, near: float, far: float) -> None:
    if abs(near - target) > abs(far - target):
        near, far = far, near
    assert bell_loss(scores(near), scores(target)).item() <= bell_loss(scores(far), scores(target)).item()


@given(st.integers(1, 200), st.data())
def test_lambda_falls_from_four_times_the_number_of_epochs_to_four(epochs: int, data: st.DataObject) -> None:
    epoch = data.draw(st.integers(0, epochs - 1))
    assert 4 <= lambda_at(epoch, epochs) <= 4 * epochs
    assert lambda_at(epochs - 1, epochs) == 4
