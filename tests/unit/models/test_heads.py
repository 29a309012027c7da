"""The heads that the paper compares the CR-block with."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crnet.config import Config, from_dict, to_dict
from crnet.errors import ConfigError, LabelError
from crnet.models.classes import EDGES
from crnet.models.config import Head, ModelConfig
from crnet.models.crnet import HEADS, StreamNet
from crnet.models.heads import ExpectationHead, PlainHead, class_centres, class_midpoints
from crnet.models.losses import LossName, classification_loss
from crnet.training.config import CLASSIFICATION, JOINT, StageConfig, TrainingConfig
from crnet.types import Batch

SMALL = ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=2)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_plain_head_is_one_linear_layer() -> None:
    head = PlainHead(2, 4, generator=generator())
    with torch.no_grad():
        head.score_weight.copy_(torch.tensor([[1.0, 10.0]] * 6))
        head.score_bias.copy_(torch.arange(6.0))
    features, logits, scores = head(torch.tensor([[2.0, 0.5]]))
    assert scores.tolist() == [[7.0, 8.0, 9.0, 10.0, 11.0, 12.0]]  # 2 + 5 + 0 ... 5
    assert features.tolist() == [[[2.0, 0.5]] * 6]
    assert logits.shape == (1, 6, 4)
    # All classes are equally likely, so the cross-entropy of six targets is 6 ln 4 for any true classes.
    assert classification_loss(logits, torch.zeros(1, 6, dtype=torch.int64)).item() == pytest.approx(6 * math.log(4))


def test_a_plain_head_starts_at_the_training_means_for_any_input() -> None:
    net = StreamNet("scene", replace(SMALL, head="plain")).eval()
    means = [0.4, 0.5, 0.6, 0.45, 0.55, 0.5]
    net.initialise_from_scores(np.array([means]))
    batch = Batch(("a", "b"), scene=torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8))
    assert net(batch).scores.flatten().tolist() == pytest.approx(means * 2)


def test_expectation_is_the_softmax_times_the_centres() -> None:
    head = ExpectationHead(1, 4, generator=generator())
    with torch.no_grad():
        head.class_weight.copy_(torch.tensor([math.log(1), math.log(2), math.log(3), math.log(4)]).view(1, 4, 1))
        head.centres.copy_(torch.tensor([0.1, 0.2, 0.4, 0.8]))
    features, logits, scores = head(torch.tensor([[1.0], [0.0]]))
    # At a = 1 the probabilities are .1 .2 .3 .4: .01 + .04 + .12 + .32; at a = 0 they are equal: 1.5 / 4.
    assert scores[0].tolist() == pytest.approx([0.49] * 6)
    assert scores[1].tolist() == pytest.approx([0.375] * 6)
    assert features.shape == (2, 6, 1)
    assert logits.shape == (2, 6, 4)


def test_centres_are_the_means_of_the_classes() -> None:
    scores = np.full((4, 6), 0.3)
    scores[:, 0] = [0.2, 0.4, 0.55, 0.9]
    centres = class_centres(scores, EDGES[4])
    assert centres[0].tolist() == pytest.approx([0.3, 0.55, 0.65, 0.9])  # no score in 0.6-0.7: its midpoint
    assert centres[1].tolist() == pytest.approx([0.3, 0.55, 0.65, 0.85])
    assert list(class_midpoints(EDGES[4])) == pytest.approx([0.25, 0.55, 0.65, 0.85])


@pytest.mark.parametrize("scores", [np.zeros((0, 6)), np.full((2, 5), 0.5), np.full((1, 6), np.nan)])
def test_bad_scores_have_no_centres(scores: np.ndarray) -> None:
    with pytest.raises(LabelError):
        class_centres(scores, EDGES[4])


@pytest.mark.parametrize("head", HEADS)
def test_every_head_has_the_same_interface(head: Head) -> None:
    net = StreamNet("scene", replace(SMALL, head=head, classes=7)).eval()
    net.initialise_from_scores(np.tile([0.4, 0.5, 0.6, 0.45, 0.55, 0.5], (3, 1)))
    output = net(Batch(("a", "b"), scene=torch.zeros(2, 2, 3, 32, 32, dtype=torch.uint8)))
    assert output.features.shape == (2, 6, 64)
    assert output.logits.shape == (2, 6, 7)
    assert output.scores.shape == (2, 6)
    if net.regression_parameters():
        assert net.head.score_bias.tolist() == pytest.approx([0.4, 0.5, 0.6, 0.45, 0.55, 0.5])
    else:
        assert bool(((output.scores > 0) & (output.scores < 1)).all())


def test_regression_trains_all_parameters_of_a_plain_head() -> None:
    net = StreamNet("scene", replace(SMALL, head="plain")).train()
    batch = Batch(("a", "b"), scene=torch.randint(0, 256, (2, 2, 3, 32, 32), dtype=torch.uint8))
    net(batch).scores.square().sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_the_centres_are_saved_with_the_weights() -> None:
    config = replace(SMALL, head="expectation")
    net, other = StreamNet("face", config), StreamNet("face", config)
    net.initialise_from_scores(np.full((2, 6), 0.45))
    other.load_state_dict(net.state_dict())
    assert isinstance(other.head, ExpectationHead)
    assert other.head.centres[:, 0].tolist() == pytest.approx([0.45] * 6)


REFUSED: tuple[tuple[Head, tuple[LossName, ...], int, tuple[LossName, ...]], ...] = (
    ("plain", ("classification",), 1, ("l1",)),
    ("plain", ("classification",), 0, ("l1", "classification")),
    ("expectation", ("classification",), 1, ("l1", "classification")),
    ("expectation", ("classification",), 1, ("mse",)),
)


@pytest.mark.parametrize(("head", "first", "epochs", "second"), REFUSED)
def test_losses_that_do_not_fit_the_head_are_refused(
    head: Head, first: tuple[LossName, ...], epochs: int, second: tuple[LossName, ...]
) -> None:
    stages = (replace(CLASSIFICATION, terms=first, epochs=epochs), replace(JOINT, terms=second))
    with pytest.raises(ConfigError):
        Config(model=ModelConfig(head=head), training=TrainingConfig(stages=stages))


def test_losses_that_fit_the_head_are_accepted() -> None:
    no_stage, classification = replace(CLASSIFICATION, epochs=0), StageConfig(terms=("classification",))
    Config(model=ModelConfig(head="plain"), training=TrainingConfig(stages=(no_stage, StageConfig(terms=("bell",)))))
    Config(model=ModelConfig(head="expectation"), training=TrainingConfig(stages=(CLASSIFICATION, classification)))
    Config(model=ModelConfig(head="expectation+regression"))


def test_an_old_configuration_without_a_head_means_a_cr_block() -> None:
    document = to_dict(ModelConfig())
    del document["head"]
    assert from_dict(ModelConfig, document, Path("bundle.json")).head == "cr-block"


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown head"):
        ModelConfig(head="bald")  # type: ignore[arg-type]
