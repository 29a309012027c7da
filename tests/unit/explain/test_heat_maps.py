"""Feature maps and Grad-CAM: shapes, signs, layers, and whether a trained network looks at the cue."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from crnet.errors import UsageError
from crnet.explain.heat_maps import compute_feature_maps, compute_heat_maps, gradcam, mass_inside
from crnet.explain.layers import default_layer
from crnet.models.classes import class_indices
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.losses import loss_terms
from crnet.predict import Predictor
from crnet.types import Batch
from random_net import random_net

PIXELS, FRAMES = 56, 2
FACE_CUE, VOICE_CUE = 0, 1  # places in the row of targets


@pytest.mark.parametrize(
    ("pixels", "layer"),
    [(112, "layer3"), (56, "layer2"), (64, "layer2"), (32, "layer1"), (8, "layer1"), (224, "layer4")],
)
def test_the_default_layer_is_the_latest_that_is_fine_enough(pixels: int, layer: str) -> None:
    assert default_layer(pixels) == layer


def some_frames(pixels: int = 40, frames: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    frame = torch.randint(0, 256, (1, frames, 3, pixels, pixels), dtype=torch.uint8, generator=generator)
    return Batch(("a",), scene=frame, face=frame.flip(1))


@pytest.mark.parametrize("backbone", ["r2d34", "r3d34"])
@pytest.mark.parametrize("layer", ["layer1", "layer2", "layer3", "layer4", None])
@pytest.mark.parametrize("stream", ["scene", "face"])
def test_maps_have_the_frames_shape_and_range(backbone: str, layer: str | None, stream: str) -> None:
    net = random_net(stream, ModelConfig(backbone=backbone, width=4, blocks=(1, 1, 1, 1), frames=4)).eval()
    maps = compute_heat_maps(net, some_frames(), layer)
    assert maps.features.shape == (4, 40, 40) and maps.gradcam.shape == (6, 4, 40, 40)
    assert maps.features.min() == 0 and maps.features.max() == 1
    assert np.quantile(np.abs(maps.gradcam), 0.98, axis=(1, 2, 3)) == pytest.approx(np.ones(6))
    np.testing.assert_allclose(compute_feature_maps(net, some_frames(), layer), maps.features, atol=1e-6)
    assert all(parameter.grad is None for parameter in net.parameters())


def test_maps_of_a_loaded_system(make_system: Callable[..., Predictor]) -> None:
    net = make_system(temporal="conv1x1").bundle.networks["scene"]
    with torch.inference_mode(False):
        assert np.isfinite(compute_heat_maps(net, some_frames(32)).gradcam).all()


@pytest.mark.parametrize("backbone", ["r2d34", "r3d34"])
def test_gradcam_agrees_with_captum(backbone: str) -> None:
    from captum.attr import LayerGradientXActivation

    net = random_net("scene", ModelConfig(backbone=backbone, width=8, blocks=(1, 1, 1, 1), frames=4)).eval()
    batch = some_frames()
    attribution = LayerGradientXActivation(lambda _: net(batch).scores, net.backbone.layer2)
    expected = torch.stack([attribution.attribute(torch.zeros(1, 1), target=i).sum(1) for i in range(6)])
    if backbone == "r3d34":
        expected = expected[:, 0]
    resized = torch.nn.functional.interpolate(expected[:, None], (4, 40, 40), mode="trilinear")[:, 0].detach().numpy()
    peaks = np.quantile(np.abs(resized), 0.98, axis=(1, 2, 3), keepdims=True)
    np.testing.assert_allclose(compute_heat_maps(net, batch, "layer2").gradcam, resized / peaks, atol=1e-5)


def test_at_the_last_stage_the_maps_add_up_to_the_change_of_the_score() -> None:
    """The sum of gradient times activation is the first-order change of the score when the activation vanishes."""
    net = random_net("scene", ModelConfig(width=4, blocks=(1, 1, 1, 1), frames=4)).eval()
    batch = some_frames()
    activation = net.feature_map(batch)
    score = net.head(net.clip_vector(activation))[2][0, 2]
    gradient = torch.autograd.grad(score, activation)[0]
    cam = gradcam(activation[0], gradient[0])
    assert cam.sum().item() == pytest.approx((activation * gradient).sum().item(), rel=1e-5)
    # At this stage every cell of a channel has the same gradient, so it is the original Grad-CAM.
    weights = gradient[0].mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(cam, (weights * activation[0].detach()).sum(1))


@pytest.mark.parametrize(
    "batch", [some_frames(), Batch(("a", "b"), scene=torch.zeros(2, 4, 3, 40, 40, dtype=torch.uint8))]
)
def test_batches_without_maps_are_refused(batch: Batch) -> None:
    stream = "audio-text" if len(batch) == 1 else "scene"
    net = StreamNet(stream, ModelConfig(width=4, blocks=(1, 1, 1, 1), frames=4))
    with pytest.raises(UsageError):
        compute_heat_maps(net, batch)


def test_mass_is_a_share_of_the_magnitude() -> None:
    cam = np.array([[[1.0, -3.0], [0.0, 4.0]]])
    assert mass_inside(cam, np.array([[True, True], [False, False]])) == 0.5
    assert mass_inside(0 * cam, np.array([[True, True], [False, False]])) == 0


@dataclass(frozen=True, eq=False)
class DrawnHeads:
    """Drawn heads in front of coloured backgrounds; the mouth decides the first score, nothing visible the second."""

    frames: torch.Tensor
    face: np.ndarray  # where the head is, bool [N, P, P]
    scores: np.ndarray


def draw(clips: int, seed: int) -> DrawnHeads:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:PIXELS, :PIXELS]
    frames = np.zeros((clips, FRAMES, 3, PIXELS, PIXELS), np.uint8)
    face, scores = np.zeros((clips, PIXELS, PIXELS), bool), np.full((clips, 6), 0.5)
    for i in range(clips):
        background = rng.integers((40, 80, 80), (120, 200, 200))[:, None, None] + 20 * rng.normal(
            size=(3, 7, 7)
        ).repeat(8, 1).repeat(8, 2)
        (across, down), radius = rng.uniform(14, 42, 2), rng.uniform(9, 12)
        smile, voice = rng.uniform(size=2)
        skin = np.array([225, 190, 160])[:, None] * rng.uniform(0.8, 1.1)
        eyes = (np.abs(np.abs(x - across) - 0.4 * radius) < 1.6) & (np.abs(y - down + 0.3 * radius) < 1.6)
        head = (x - across) ** 2 + (y - down) ** 2 < radius**2
        mouth = (np.abs(y - down - 0.4 * radius) < (0.12 + 0.3 * smile) * radius) & (np.abs(x - across) < 0.6 * radius)
        for t in range(FRAMES):
            picture = background + 4 * rng.normal(size=(3, PIXELS, PIXELS))
            picture[:, head] = skin
            picture[:, eyes] = 20
            picture[:, mouth] = np.array([150, 30, 40])[:, None]
            frames[i, t] = np.clip(picture, 0, 255)
        face[i] = (x - across) ** 2 + (y - down) ** 2 < (1.2 * radius) ** 2
        scores[i, [FACE_CUE, VOICE_CUE]] = 0.2 + 0.6 * np.array([smile, voice])
    return DrawnHeads(torch.from_numpy(frames), face, scores)


SHAPE = ModelConfig(width=8, blocks=(1, 1, 1, 1), frames=FRAMES)


def trained(heads: DrawnHeads, epochs: int = 15, batch_size: int = 20) -> StreamNet:
    net = StreamNet("scene", SHAPE, seed=0)
    net.initialise_from_scores(np.full((1, 6), 0.5))
    truth, classes = torch.from_numpy(heads.scores).float(), torch.from_numpy(class_indices(heads.scores))
    optimizer = torch.optim.Adam(net.parameters(), 2e-3, weight_decay=5e-4)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 if epoch < 2 * epochs // 3 else 4e-4
        order = torch.randperm(len(truth), generator=torch.Generator().manual_seed(epoch))
        for part in order.split(batch_size):
            output = net.train()(Batch(("",) * len(part), scene=heads.frames[part]))
            terms = loss_terms(output.scores, output.logits, truth[part], classes[part], 1.0)
            optimizer.zero_grad()
            terms.total().backward()
            optimizer.step()
    return net.eval()


def face_mass(net: StreamNet, heads: DrawnHeads) -> np.ndarray:
    """Return the mean share of Grad-CAM's magnitude on the head, for the face target and for the voice target."""
    shares = []
    for i in range(len(heads.frames)):
        cams = compute_heat_maps(net, Batch(("",), scene=heads.frames[i : i + 1])).gradcam
        shares.append([mass_inside(cams[target], heads.face[i]) for target in (FACE_CUE, VOICE_CUE)])
    return np.mean(shares, axis=0)


def test_gradcam_finds_the_face_for_a_score_that_the_face_decides() -> None:
    training, test = draw(340, 0), draw(40, 1)
    face_target, voice_target = face_mass(trained(training), test)
    area = test.face.mean()
    untrained = [face_mass(random_net("scene", SHAPE, seed=seed).eval(), test) for seed in range(100, 104)]
    gaps = [a - b for a, b in untrained]
    assert face_target > 2 * area
    assert face_target > voice_target + 0.08
    # Random weights know neither cue, so they give neither this gap nor this mass.
    assert face_target - voice_target > max(np.abs(gaps)) + 0.02
    assert face_target > max(a for a, _ in untrained) + 0.05
