"""Class edges and the CR-block, compared with values computed by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from crnet.errors import ConfigError, CrnetError, LabelError
from crnet.models.classes import EDGES, class_indices
from crnet.models.cr_block import CRBlock
from random_net import randomise_scores


def fresh_block(width: int = 8, classes: int = 4, seed: int = 0) -> CRBlock:
    return CRBlock(width, classes, generator=torch.Generator().manual_seed(seed))


def block(width: int = 8, classes: int = 4, seed: int = 0) -> CRBlock:
    """Return a CR-block whose scores depend on its input, which those of a fresh one do not."""
    net = fresh_block(width, classes, seed)
    randomise_scores(net, seed)
    return net


def vectors(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (0.0, 0),
        (0.4999999999, 0),
        (0.5, 1),  # an edge belongs to the upper class
        (0.55, 1),
        (0.6, 2),
        (0.6999999999, 2),
        (0.7, 3),
        (63 / 90, 3),  # a FIv2 label: 0.7 in float64, just below it in float32
        (1.0, 3),
    ],
)
def test_four_classes(score: float, expected: int) -> None:
    assert class_indices(np.array([score])).tolist() == [expected]


@pytest.mark.parametrize("classes", [4, 7, 10])
def test_every_edge_belongs_to_the_upper_class(classes: int) -> None:
    edges = np.array(EDGES[classes])
    assert len(edges) == classes - 1
    assert class_indices(edges, classes).tolist() == list(range(1, classes))
    assert class_indices(np.nextafter(edges, 0), classes).tolist() == list(range(classes - 1))
    assert class_indices(np.array([0.0, 1.0]), classes).tolist() == [0, classes - 1]


def test_float32_would_move_a_label_across_its_edge() -> None:
    label = np.array([63 / 90])
    assert class_indices(label).tolist() == [3]
    assert class_indices(label.astype(np.float32).astype(np.float64)).tolist() == [2]
    with pytest.raises(LabelError, match="float32"):
        class_indices(label.astype(np.float32))


@pytest.mark.parametrize(
    ("scores", "classes", "kind"),
    [
        (np.array([0.5]), 5, ConfigError),
        (np.array([1]), 4, LabelError),
        (np.array([-1e-9]), 4, LabelError),
        (np.array([1.0000001]), 4, LabelError),
        (np.array([0.5, math.nan]), 4, LabelError),
    ],
)
def test_bad_scores_are_refused(scores: Any, classes: int, kind: type[CrnetError]) -> None:
    with pytest.raises(kind):
        class_indices(scores, classes)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=2, max_side=8), elements=st.floats(0, 1)),
    st.sampled_from(sorted(EDGES)),
)
def test_classes_keep_the_order_and_the_shape(scores: np.ndarray, classes: int) -> None:
    indices = class_indices(scores, classes)
    assert indices.shape == scores.shape
    assert indices.dtype == np.int64
    assert np.all((indices >= 0) & (indices < classes))
    order = np.argsort(scores, axis=None)
    assert np.all(np.diff(indices.ravel()[order]) >= 0)


def test_cr_block_by_hand() -> None:
    """With width 2 and four classes, the features of target 0 are set by the bias alone: f_i = bias_i."""
    net = block(width=2)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        net.class_features.bias.view(6, 4, 2)[0] = torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, 0]])
        net.class_weight[0] = torch.tensor([[math.log(2), 5], [9, 0], [0, 0], [0, 7]])
        net.class_bias[0] = torch.tensor([0.0, math.log(3), math.log(4), 0])
        net.score_weight[0] = torch.tensor([0.1, 0.2])
        net.score_bias[0] = 0.05
    features, logits, scores = net(torch.tensor([[3.0, -1.0]]))
    # c = (ln 2, ln 3, ln 4, 0); w = (2, 3, 4, 1) / 10
    torch.testing.assert_close(logits[0, 0].exp(), torch.tensor([2.0, 3, 4, 1]))
    # f_reg = .2 (1, 0) + .3 (0, 1) + .4 (1, 1) + .1 (2, 0) = (.8, .7)
    torch.testing.assert_close(features[0, 0], torch.tensor([0.8, 0.7]))
    # y = .1 * .8 + .2 * .7 + .05
    assert scores[0, 0].item() == pytest.approx(0.27)
    # The other targets have no features, equal logits and no bias.
    assert scores[0, 1:].tolist() == [0] * 5


def test_features_are_linear_in_the_vector() -> None:
    net = block(width=3)
    a = vectors(1, 3)
    features, logits, scores = net(a)
    weight = net.class_features.weight.view(6, 4, 3, 3)
    for p in range(6):
        f = torch.stack([weight[p, i] @ a[0] for i in range(4)])
        c = (f * net.class_weight[p]).sum(1) + net.class_bias[p]
        f_reg = (c.softmax(0)[:, None] * f).sum(0)
        torch.testing.assert_close(logits[0, p], c)
        torch.testing.assert_close(features[0, p], f_reg)
        torch.testing.assert_close(scores[0, p], f_reg @ net.score_weight[p] + net.score_bias[p])


def test_targets_are_independent() -> None:
    net, a = block(), vectors(4, 8)
    before = net(a)
    with torch.no_grad():
        net.class_weight[2] += 1
        net.class_bias[2, 0] += 3
    after = net(a)
    others = [0, 1, 3, 4, 5]
    for old, new in zip(before, after, strict=True):
        torch.testing.assert_close(old[:, others], new[:, others], rtol=0, atol=0)
        assert not torch.allclose(old[:, 2], new[:, 2])


@pytest.mark.parametrize("classes", [4, 7, 10])
def test_shapes(classes: int) -> None:
    features, logits, scores = block(width=5, classes=classes)(vectors(3, 5))
    assert [tuple(t.shape) for t in (features, logits, scores)] == [(3, 6, 5), (3, 6, classes), (3, 6)]


@given(st.integers(0, 1000))
def test_class_weights_sum_to_one(seed: int) -> None:
    """If all features are equal, weights that sum to one return that feature."""
    net = block(width=4, seed=seed)
    with torch.no_grad():
        net.class_features.weight.zero_()
        net.class_features.bias.view(6, 4, 4).copy_(vectors(6, 1, 4, seed=seed).expand(6, 4, 4))
        net.class_bias.copy_(vectors(6, 4, seed=seed + 1))
    features, _, _ = net(vectors(2, 4, seed=seed + 2))
    expected = net.class_features.bias.view(6, 4, 4)[:, 0].expand(2, 6, 4)
    torch.testing.assert_close(features, expected)


def test_a_fresh_block_scores_the_training_means_for_any_input() -> None:
    net = fresh_block()
    means = np.array([0.476, 0.520, 0.548, 0.523, 0.566, 0.504])
    net.initialise_from_scores(np.stack([means - 0.1, means + 0.1]))
    features, logits, scores = net(100 * vectors(3, 8))
    torch.testing.assert_close(scores, torch.from_numpy(means).float().expand(3, 6), rtol=0, atol=1e-6)
    assert features.std() > 1 and logits.std() > 1  # the classes and their features do depend on the input


def test_the_first_step_of_regression_trains_g_and_the_second_the_rest() -> None:
    """The gradient of G's weight is f_reg, which is not zero; behind G it is G's weight, which starts at zero."""
    net, a = fresh_block(), vectors(2, 8)
    features, _, scores = net(a)
    scores.sum().backward()
    torch.testing.assert_close(net.score_weight.grad, features.sum(0))
    assert net.class_features.weight.grad is not None and not net.class_features.weight.grad.any()
    torch.optim.SGD(net.parameters(), 0.1).step()
    net.zero_grad()
    net(a)[2].sum().backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())


@pytest.mark.parametrize("scores", [[[0.5] * 5], [[0.5] * 5 + [1.1]], [[0.5] * 5 + [math.nan]], [0.5] * 6, []])
def test_bad_scores_for_initialisation_are_refused(scores: list[float]) -> None:
    with pytest.raises(LabelError):
        block().initialise_from_scores(np.array(scores))


def test_scores_keep_float32_precision_under_autocast() -> None:
    net, a = block(), vectors(2, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = net(a)
    for new, old in zip(under_autocast, net(a), strict=True):
        assert new.dtype == torch.float32
        torch.testing.assert_close(new, old, rtol=0, atol=0)


def test_every_parameter_gets_a_gradient() -> None:
    net = block()
    features, logits, scores = net(vectors(2, 8))
    (features.sum() + logits.square().sum() + scores.sum()).backward()
    assert all(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in net.parameters())
