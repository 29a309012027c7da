"""Parts of CR-Net in other projects, imported as the README shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import crnet.models
from crnet.errors import ConfigError
from crnet.models import (
    CRBlock,
    ExpectationHead,
    ModelConfig,
    PlainHead,
    ResNet,
    StreamNet,
    bell_loss,
    class_indices,
    classification_loss,
    l1_loss,
    loss_terms,
    mse_loss,
)
from crnet.models.geometry import GEOMETRY_2D


def test_every_exported_name_exists() -> None:
    assert all(hasattr(crnet.models, name) for name in crnet.models.__all__)


def test_the_example_of_the_readme_runs() -> None:
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    (example,) = [block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "CRBlock" in block]
    names: dict[str, torch.Tensor] = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["features"].shape == (30, 6, 512) and names["class_logits"].shape == (30, 6, 4)
    assert names["scores"].shape == (30, 6) and names["loss"].shape == ()


def test_importing_models_loads_no_media_library() -> None:
    check = (
        "import sys; from crnet.models import CRBlock, bell_loss; "
        "print([m for m in ('av', 'soxr', 'openvino', 'cv2', 'crnet.media', 'crnet.data') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_cr_block_needs_no_generator() -> None:
    block = CRBlock(width=512, classes=4, targets=6)
    features, logits, scores = block(torch.zeros(2, 512))
    assert (features.shape, logits.shape, scores.shape) == ((2, 6, 512), (2, 6, 4), (2, 6))


def test_without_a_generator_the_global_seed_decides_the_weights() -> None:
    torch.manual_seed(0)
    first = CRBlock(8)
    torch.manual_seed(0)
    second = CRBlock(8)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not torch.equal(first.class_weight, CRBlock(8).class_weight)


@pytest.mark.parametrize("targets", [1, 2, 16])
@pytest.mark.parametrize("head", [CRBlock, PlainHead, ExpectationHead])
def test_a_head_takes_any_number_of_targets(head: type[CRBlock | PlainHead | ExpectationHead], targets: int) -> None:
    net = head(8, 7, targets)
    net.initialise_from_scores(np.full((3, targets), 0.25))
    features, logits, scores = net(torch.zeros(5, 8))
    assert (features.shape, logits.shape, scores.shape) == ((5, targets, 8), (5, targets, 7), (5, targets))
    if head is not ExpectationHead:  # at a zero vector it returns the mean of the centres
        assert scores.tolist() == [[pytest.approx(0.25)] * targets] * 5


def test_a_cr_block_of_two_targets_and_three_classes_learns() -> None:
    torch.manual_seed(0)
    block = CRBlock(width=8, classes=3, targets=2)
    vectors, labels = torch.randn(16, 8), torch.rand(16, 2)
    classes = torch.from_numpy(class_indices(labels.double().numpy(), 3, edges=(0.3, 0.6)))
    optimizer = torch.optim.Adam(block.parameters(), 0.01)
    totals = []
    for _ in range(30):
        _, logits, scores = block(vectors)
        total = loss_terms(scores, logits, labels, classes, 4.0).total()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert totals[-1] < 0.5 * totals[0]


def test_bell_loss_by_hand() -> None:
    # 0, 9 and 18 points off: 0, 300 (1 - exp(-0.5)) = 118.040802 and 300 (1 - exp(-2)) = 259.399415
    prediction, target = torch.tensor([[0.50, 0.59, 0.32]]), torch.tensor([[0.5, 0.5, 0.5]])
    elements = bell_loss(prediction, target, reduction="none")
    assert elements.shape == (1, 3)
    assert elements.tolist() == [[pytest.approx(value, abs=1e-3) for value in (0.0, 118.040802, 259.399415)]]
    assert bell_loss(prediction, target, reduction="sum").item() == pytest.approx(377.440217, abs=1e-3)
    assert bell_loss(prediction, target, reduction="mean").item() == pytest.approx(125.813406, abs=1e-3)
    assert bell_loss(prediction, target).item() == pytest.approx(125.813406, abs=1e-3)
    # 2 (1 - exp(-9^2 / (2 * 3^2))) = 2 (1 - exp(-4.5)) = 1.977782
    assert bell_loss(prediction, target, 3.0, 2.0, reduction="none")[0, 1].item() == pytest.approx(1.977782, abs=1e-5)


def test_reductions_have_the_same_gradient_up_to_the_number_of_elements() -> None:
    gradients = []
    for reduction in ("mean", "sum", "none"):
        prediction = torch.tensor([0.5, 0.55, 0.7, 0.2], requires_grad=True)
        bell_loss(prediction, torch.full((4,), 0.52), reduction=reduction).sum().backward()  # type: ignore[arg-type]
        assert prediction.grad is not None
        gradients.append(prediction.grad)
    torch.testing.assert_close(4 * gradients[0], gradients[1])
    torch.testing.assert_close(gradients[1], gradients[2])


def test_an_unknown_reduction_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown reduction 'median': choose mean, sum or none"):
        bell_loss(torch.zeros(1), torch.zeros(1), reduction="median")  # type: ignore[arg-type]


def test_the_other_losses() -> None:
    prediction, target = torch.tensor([0.5, 0.7]), torch.tensor([0.4, 0.75])  # 10 and -5 points off
    assert l1_loss(prediction, target).item() == pytest.approx(7.5, rel=1e-5)
    assert mse_loss(prediction, target).item() == pytest.approx(62.5, rel=1e-5)
    logits, classes = torch.zeros(3, 6, 4), torch.zeros(3, 6, dtype=torch.int64)
    assert classification_loss(logits, classes).item() == pytest.approx(8.317766, rel=1e-6)  # 6 ln 4


def test_user_defined_edges() -> None:
    scores = np.array([0.0, 0.29, 0.3, 0.5, 0.6, 1.0])
    assert class_indices(scores, 3, edges=(0.3, 0.6)).tolist() == [0, 0, 1, 1, 2, 2]
    head = ExpectationHead(8, 3, 1, edges=(0.3, 0.6))
    assert head.centres.tolist() == [[pytest.approx(centre) for centre in (0.15, 0.45, 0.8)]]
    head.initialise_from_scores(np.array([[0.1], [0.2], [0.9]]))
    assert head.centres.tolist() == [[pytest.approx(centre) for centre in (0.15, 0.45, 0.9)]]


@pytest.mark.parametrize(("classes", "edges"), [(3, (0.5,)), (3, (0.6, 0.3)), (3, (0.0, 0.5)), (2, (1.0,)), (5, None)])
def test_edges_that_do_not_divide_the_scores_are_refused(classes: int, edges: tuple[float, ...] | None) -> None:
    with pytest.raises(ConfigError):
        class_indices(np.array([0.5]), classes, edges=edges)


def test_a_resnet_and_a_stream_need_no_generator() -> None:
    assert ResNet(GEOMETRY_2D, 3, 8, (1, 1, 1, 1)).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 1, 1)
    assert StreamNet("face", ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=4)).head.targets == 6
