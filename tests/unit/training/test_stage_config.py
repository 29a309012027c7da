"""The paper's two stages (Sec. 4.2.1), compared with values computed by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from crnet.errors import ConfigError
from crnet.models.losses import PAPER_LOSSES, LossTerms
from crnet.training.config import CLASSIFICATION, JOINT, StageConfig, TrainingConfig


def test_the_defaults_are_those_of_the_paper() -> None:
    for stage in (CLASSIFICATION, JOINT):
        assert (stage.lr, stage.weight_decay, stage.batch_size, stage.epochs) == (0.002, 0.005, 30, 50)
        assert (stage.lr_step_epochs, stage.lr_factor) == (10, 0.1)
    assert (CLASSIFICATION.optimizer, CLASSIFICATION.momentum) == ("sgd", 0.9)
    assert CLASSIFICATION.terms == ("classification",)
    assert (JOINT.optimizer, JOINT.betas) == ("adam", (0.5, 0.999))
    assert set(JOINT.terms) == {"l1", "mse", "bell", "classification"}
    assert TrainingConfig().stages == (CLASSIFICATION, JOINT)


@pytest.mark.parametrize(("epoch", "lr"), [(0, 2e-3), (9, 2e-3), (10, 2e-4), (19, 2e-4), (20, 2e-5), (49, 2e-7)])
def test_the_learning_rate_is_divided_by_ten_every_ten_epochs(epoch: int, lr: float) -> None:
    assert JOINT.lr_at(epoch) == pytest.approx(lr, rel=1e-12)


@pytest.mark.parametrize(("epoch", "weight"), [(0, 200.0), (1, 100.0), (49, 4.0)])
def test_lambda_follows_equation_9_and_is_1_in_classification(epoch: int, weight: float) -> None:
    assert JOINT.classification_weight_at(epoch) == pytest.approx(weight)
    assert CLASSIFICATION.classification_weight_at(epoch) == 1.0


@pytest.mark.parametrize(
    ("terms", "total"),
    [
        (("classification",), 5.0 * 16),
        (("l1", "mse", "bell", "classification"), 2 + 3 + 4 + 80),
        (("bell",), 4.0),
        (("mse", "l1"), 5.0),
    ],
)
def test_a_stage_adds_up_its_own_terms(terms: tuple[str, ...], total: float) -> None:
    numbers = [torch.tensor(float(value)) for value in (2, 3, 4, 5)]
    losses = LossTerms(dict(zip(PAPER_LOSSES, numbers, strict=True)), classification_weight=16.0)
    stage = StageConfig(terms=terms)  # type: ignore[arg-type]
    assert losses.total(stage.terms).item() == total
    assert stage.trains_regression is (terms != ("classification",))


def test_optimizers_have_the_configured_values_and_the_trainable_parameters() -> None:
    trainable, frozen = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    frozen.requires_grad_(False)
    sgd = CLASSIFICATION.make_optimizer(iter([trainable, frozen]))
    adam = JOINT.make_optimizer(iter([trainable, frozen]))
    assert isinstance(sgd, torch.optim.SGD) and isinstance(adam, torch.optim.Adam)
    for optimizer in (sgd, adam):
        assert [len(group["params"]) for group in optimizer.param_groups] == [1]
        assert (optimizer.defaults["lr"], optimizer.defaults["weight_decay"]) == (0.002, 0.005)
    assert sgd.defaults["momentum"] == 0.9 and adam.defaults["betas"] == (0.5, 0.999)


@pytest.mark.parametrize(
    "changes",
    [
        {"terms": ()},
        {"terms": ("l2",)},
        {"terms": ("l1", "l1")},
        {"optimizer": "adamw"},
        {"epochs": -1},
        {"batch_size": 0},
        {"lr_step_epochs": 0},
        {"lr": 0.0},
        {"lr": float("nan")},
        {"lr_factor": -0.1},
        {"weight_decay": -1.0},
        {"momentum": 1.0},
        {"betas": (0.5, 1.5)},
    ],
    ids=str,
)
def test_bad_stages(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(JOINT, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [{"workers": -1}, {"seed": -1}, {"stages": (replace(CLASSIFICATION, epochs=0), replace(JOINT, epochs=0))}],
    ids=["workers", "seed", "no epochs"],
)
def test_bad_training(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        TrainingConfig(**changes)  # type: ignore[arg-type]
