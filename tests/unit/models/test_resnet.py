"""The backbone: names and numbers of the usual ResNet-34, and weight files that do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from crnet.errors import FormatError
from crnet.models.geometry import GEOMETRY_1D, GEOMETRY_2D, GEOMETRY_3D, Geometry
from crnet.models.resnet import ResNet, ZeroPaddedIdentity, average_positions, load_backbone


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def small(geometry: Geometry = GEOMETRY_2D, channels_in: int = 3, seed: int = 0) -> ResNet:
    return ResNet(geometry, channels_in, width=4, blocks=(1, 2, 1, 1), generator=generator(seed)).eval()


def torchvision_resnet34(seed: int = 0) -> dict[str, Tensor]:
    """Return a state dict with the names and shapes of torchvision's resnet34, built from its documented layout."""
    rng = generator(seed)
    state: dict[str, Tensor] = {}

    def convolution(name: str, channels: int, channels_in: int, kernel: int) -> None:
        fan_in = channels_in * kernel**2
        state[f"{name}.weight"] = (
            torch.randn(channels, channels_in, kernel, kernel, generator=rng) * (1 / fan_in) ** 0.5
        )

    def batch_norm(name: str, channels: int) -> None:
        state[f"{name}.weight"] = torch.rand(channels, generator=rng) + 0.5
        state[f"{name}.bias"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{name}.running_mean"] = torch.randn(channels, generator=rng) * 0.1
        state[f"{name}.running_var"] = torch.rand(channels, generator=rng) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv1", 64, 3, 7)
    batch_norm("bn1", 64)
    channels_in = 64
    for stage, (channels, blocks) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True), start=1):
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            convolution(f"{name}.conv1", channels, channels_in, 3)
            batch_norm(f"{name}.bn1", channels)
            convolution(f"{name}.conv2", channels, channels, 3)
            batch_norm(f"{name}.bn2", channels)
            if channels != channels_in:
                convolution(f"{name}.downsample.0", channels, channels_in, 1)
                batch_norm(f"{name}.downsample.1", channels)
            channels_in = channels
    state["fc.weight"] = torch.randn(1000, 512, generator=rng)
    state["fc.bias"] = torch.zeros(1000)
    return state


def test_a_torchvision_file_gives_the_same_features_as_in_monai(tmp_path: Path) -> None:
    networks = pytest.importorskip("monai.networks.nets")
    state = torchvision_resnet34()
    save_file(state, tmp_path / "resnet34.safetensors")
    ours = ResNet(GEOMETRY_2D, 3, generator=generator()).eval()
    load_backbone(ours, str(tmp_path / "resnet34.safetensors"))
    theirs = networks.resnet34(
        spatial_dims=2, n_input_channels=3, conv1_t_stride=2, bias_downsample=False, feed_forward=False
    ).eval()
    theirs.load_state_dict({name: value for name, value in state.items() if not name.startswith("fc.")})
    pictures = torch.randn(2, 3, 112, 96, generator=generator(1))
    with torch.inference_mode():
        features = average_positions(ours(pictures))
        torch.testing.assert_close(features, theirs(pictures), rtol=1e-5, atol=1e-5)
    assert features.std() > 0.01  # all zeros would agree with anything


def test_names_and_shapes_are_those_of_torchvision() -> None:
    expected = {name: value.shape for name, value in torchvision_resnet34().items() if not name.startswith("fc.")}
    ours = ResNet(GEOMETRY_2D, 3, generator=generator()).state_dict()
    assert {name: value.shape for name, value in ours.items()} == expected
    # He et al. 2016: 21.8 million, including the 513,000 of fc.
    assert sum(value.numel() for name, value in ours.items() if name.endswith((".weight", ".bias"))) == 21_284_672


@pytest.mark.parametrize(
    ("geometry", "shape", "expected"),
    [
        # 36,800 / 4 (stem) / 4 (pool) = 2,300; / 4 / 4 / 4, each rounded up: 575, 144, 36
        (GEOMETRY_1D, (2, 1, 36_800), (2, 32, 36)),
        # 112 / 2 / 2 = 28; 14, 7, 4
        (GEOMETRY_2D, (2, 3, 112, 112), (2, 32, 4, 4)),
        (GEOMETRY_2D, (1, 3, 1, 1), (1, 32, 1, 1)),
        # time: 16 (stem keeps it), 8 (pool), 4, 2, 1
        (GEOMETRY_3D, (1, 3, 16, 112, 112), (1, 32, 1, 4, 4)),
        (GEOMETRY_3D, (1, 3, 32, 56, 56), (1, 32, 2, 2, 2)),
    ],
)
def test_shape_of_the_map(geometry: Geometry, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    net = small(geometry, shape[1])
    with torch.inference_mode():
        feature_map = net(torch.zeros(shape))
    assert tuple(feature_map.shape) == expected
    assert tuple(average_positions(feature_map).shape) == expected[:2]


def test_kernels_in_one_to_three_dimensions() -> None:
    shapes = {
        geometry.dimensions: tuple(small(geometry, channels).conv1.weight.shape)  # type: ignore[union-attr]
        for geometry, channels in ((GEOMETRY_1D, 1), (GEOMETRY_2D, 3), (GEOMETRY_3D, 3))
    }
    assert shapes == {1: (4, 1, 49), 2: (4, 3, 7, 7), 3: (4, 3, 7, 7, 7)}
    assert tuple(small(GEOMETRY_1D, 1).state_dict()["layer1.0.conv1.weight"].shape) == (4, 4, 9)


def test_zero_padded_identity_by_hand() -> None:
    x = torch.arange(12.0).view(1, 1, 3, 4)
    out = ZeroPaddedIdentity(new_channels=2, stride=2)(x)
    assert out[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]
    assert out[0, 1:].tolist() == [[[0.0, 0.0]] * 2] * 2


def test_shortcuts_in_three_dimensions_have_no_parameters_and_pass_gradients() -> None:
    net = small(GEOMETRY_3D)
    assert not any("downsample" in name for name in net.state_dict())
    # With a residual branch of zeros, only the shortcut can carry the gradient.
    block = net.layer2[0]
    torch.nn.init.zeros_(block.bn2.weight)  # type: ignore[arg-type, union-attr]
    x = torch.rand(1, 4, 4, 4, 4, requires_grad=True)
    block(x).sum().backward()
    assert x.grad is not None
    assert x.grad[0, :, ::2, ::2, ::2].eq(1).all()
    assert x.grad.sum() == 4 * 2 * 2 * 2


def test_average_of_bfloat16_is_float32() -> None:
    assert average_positions(torch.ones(1, 2, 3, 3, dtype=torch.bfloat16)).dtype == torch.float32


def test_initial_weights_are_he_initialised_from_the_generator() -> None:
    net, same, other = small(seed=1), small(seed=1), small(seed=2)
    torch.rand(1)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), same.parameters(), strict=True))
    assert not torch.equal(net.conv1.weight, other.conv1.weight)  # type: ignore[arg-type]
    wide = ResNet(GEOMETRY_2D, 3, width=32, blocks=(1, 1, 1, 1), generator=generator()).state_dict()
    # fan-out, 128 to 256 channels: std = sqrt(2 / (256 * 9))
    assert wide["layer4.0.conv1.weight"].std().item() == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)


# --- files that do not fit -----------------------------------------------------------------------------------------


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    state = small(seed=5).state_dict()
    if value is None:
        del state[name]
    else:
        state[name] = value
    return state


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (changed("layer2.0.downsample.0.weight", None), "layer2.0.downsample.0.weight is missing"),
        (changed("bn1.bias", torch.zeros(5)), r"bn1.bias is \[5\], expected \[4\]"),
        (changed("layer9.0.conv1.weight", torch.zeros(1)), "layer9.0.conv1.weight is not a parameter"),
        (changed("layer1.0.bn2.weight", torch.full((4,), torch.nan)), "layer1.0.bn2.weight .* not finite"),
        ({"fc.weight": torch.zeros(2, 2)}, "conv1.weight is missing"),
    ],
)
def test_a_file_that_does_not_fit_names_the_parameter(state: dict[str, Tensor], reason: str, tmp_path: Path) -> None:
    net = small()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    save_file(state, tmp_path / "x.safetensors")
    with pytest.raises(FormatError, match=reason) as error:
        load_backbone(net, tmp_path / "x.safetensors")
    assert error.value.path == tmp_path / "x.safetensors"
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("resnet34.pth", b"PK\x03\x04", "pickle"),
        ("resnet34.PT", b"", "pickle"),
        ("empty.safetensors", b"", "safetensors"),
        ("text.safetensors", b"no tensors", "safetensors"),
        ("huge.safetensors", b"\xff" * 64, "safetensors"),
    ],
)
def test_foreign_files_are_refused_with_a_remedy(name: str, content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=reason) as error:
        load_backbone(small(), tmp_path / name)
    assert "save_file" in str(error.value.remedy)


def test_missing_and_truncated_files(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not found"):
        load_backbone(small(), tmp_path / "nowhere.safetensors")
    with pytest.raises(FormatError):
        load_backbone(small(), tmp_path)
    whole = tmp_path / "whole.safetensors"
    save_file(small().state_dict(), whole)
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-9])
    with pytest.raises(FormatError, match="safetensors"):
        load_backbone(small(), tmp_path / "cut.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_counters_may_be_missing_and_precisions_differ(dtype: Any, tmp_path: Path) -> None:
    source = small(seed=3)
    state = {n: v.to(dtype) for n, v in source.state_dict().items() if not n.endswith("num_batches_tracked")}
    save_file(state, tmp_path / "x.safetensors")
    net = small(seed=4)
    load_backbone(net, tmp_path / "x.safetensors")
    assert net.conv1.weight.dtype == torch.float32  # type: ignore[union-attr]
    torch.testing.assert_close(net.conv1.weight, source.conv1.weight, rtol=1e-3, atol=1e-3)
