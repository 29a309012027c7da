"""ResNet-34 (He et al. 2016) in one, two and three dimensions, with torchvision's parameter names.

The 2-D network is torchvision's `resnet34` without `fc`. The 1-D network adapts it to sound as in Gucluturk et al.
(2016): 7x7 becomes 1x49, 3x3 becomes 1x9, stride 2 becomes stride 4. The 3-D network is that of Hara et al. (2018): the
stem has a stride of 1 in time, and shortcuts that change shape are zero-padded identities (type A).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from crnet.errors import FormatError
from crnet.models.geometry import RESNET34_BLOCKS, RESNET34_WIDTH, Geometry

PICKLE_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".pkl", ".tar")
TO_SAFETENSORS = (
    'if you trust the file, convert it once: python -c "import torch, safetensors.torch as s; s.save_file('
    "{k: v.contiguous() for k, v in torch.load('IN.pth', weights_only=True).items()}, 'OUT.safetensors')\""
)


Layer = Callable[..., nn.Module]
CONVOLUTION: dict[int, Layer] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORM: dict[int, Layer] = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL: dict[int, Layer] = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


class ZeroPaddedIdentity(nn.Module):
    """The shortcut of type A: takes every `stride`-th position and fills the new channels with zeros."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.new_channels = new_channels
        self.stride = stride

    def forward(self, x: Float[Tensor, "N C *space"]) -> Float[Tensor, "N D *smaller"]:
        """[N, C, ...] -> [N, C + new_channels, ... / stride]."""
        strided = slice(None, None, self.stride)
        x = x[(slice(None), slice(None), *(strided,) * (x.ndim - 2))]
        return F.pad(x, (0, 0) * (x.ndim - 2) + (0, self.new_channels))


class BasicBlock(nn.Module):
    """Two convolutions with batch norm plus a shortcut (He et al. 2016, Fig. 5 left)."""

    def __init__(self, geometry: Geometry, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        convolution, batch_norm = CONVOLUTION[geometry.dimensions], BATCH_NORM[geometry.dimensions]
        kernel, padding = geometry.kernel, geometry.kernel // 2
        self.conv1 = convolution(channels_in, channels, kernel, stride, padding, bias=False)
        self.bn1 = batch_norm(channels)
        self.conv2 = convolution(channels, channels, kernel, 1, padding, bias=False)
        self.bn2 = batch_norm(channels)
        self.downsample: nn.Module
        if stride == 1 and channels_in == channels:
            self.downsample = nn.Identity()
        elif geometry.projection:
            self.downsample = nn.Sequential(
                convolution(channels_in, channels, 1, stride, bias=False), batch_norm(channels)
            )
        else:
            self.downsample = ZeroPaddedIdentity(channels - channels_in, stride)

    def forward(self, x: Float[Tensor, "N C *space"]) -> Float[Tensor, "N D *smaller"]:
        """[N, channels_in, ...] -> [N, channels, ... / stride]."""
        residual = F.relu(self.bn1(self.conv1(x)), inplace=True)
        residual = self.bn2(self.conv2(residual))
        return F.relu(residual + self.downsample(x), inplace=True)


class ResNet(nn.Module):
    """A ResNet of basic blocks without its classifier. It returns the feature map.

    Args:
        geometry: `GEOMETRY_1D`, `GEOMETRY_2D` or `GEOMETRY_3D`.
        channels_in: 3 for RGB, 1 for sound.
        width: Channels of the first stage; each later stage doubles them.
        blocks: Number of blocks in each of the four stages.
        generator: Random generator of the initial weights (He et al. 2015, fan-out, as in torchvision); None uses
            PyTorch's global one.
    """

    def __init__(
        self,
        geometry: Geometry,
        channels_in: int,
        width: int = RESNET34_WIDTH,
        blocks: Sequence[int] = RESNET34_BLOCKS,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        stem_padding = tuple(kernel // 2 for kernel in geometry.stem_kernel)
        self.conv1 = CONVOLUTION[geometry.dimensions](
            channels_in, width, geometry.stem_kernel, geometry.stem_stride, stem_padding, bias=False
        )
        self.bn1 = BATCH_NORM[geometry.dimensions](width)
        self.maxpool = MAX_POOL[geometry.dimensions](
            geometry.pool_kernel, geometry.pool_stride, geometry.pool_kernel // 2
        )
        self.layer1 = _stage(geometry, width, width, blocks[0], stride=1)
        self.layer2 = _stage(geometry, width, 2 * width, blocks[1], stride=geometry.stride)
        self.layer3 = _stage(geometry, 2 * width, 4 * width, blocks[2], stride=geometry.stride)
        self.layer4 = _stage(geometry, 4 * width, 8 * width, blocks[3], stride=geometry.stride)
        for module in self.modules():
            # On the meta device weights come from a file, and sampling would import torch's compiler.
            if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)

    def forward(self, x: Float[Tensor, "N C *space"]) -> Float[Tensor, "N F *map"]:
        """Return the feature map of F = 8 * width channels. `average_positions` makes a vector of it."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x)), inplace=True))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


def average_positions(feature_map: Float[Tensor, "N F *map"]) -> Float[Tensor, "N F"]:
    """Return the mean of the feature map over all its positions, in float32 or better."""
    return feature_map.flatten(2).mean(2, dtype=torch.promote_types(feature_map.dtype, torch.float32))


def _stage(geometry: Geometry, channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(geometry, channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(geometry, channels, channels, 1) for _ in range(blocks - 1)))


@torch.no_grad()
def load_backbone(net: ResNet, path: Path | str) -> None:
    """Load weights in torchvision's format, stored as safetensors, into `net`. `fc.*` is ignored.

    Names and shapes are checked before any tensor is read, and nothing in the file is executed. The counters of batch
    norm (`num_batches_tracked`) may be missing, because older files lack them.

    Raises:
        FormatError: The file is a pickle or is not safetensors; or a parameter is missing, unknown, of another shape
            or not finite. The error names the first such parameter.
    """
    path = Path(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise FormatError("a pickle can run code when it is read", path=path, remedy=TO_SAFETENSORS)
    own = net.state_dict()
    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if not name.startswith("fc.")]  # noqa: SIM118
            _require_same_parameters(own, {name: tuple(file.get_slice(name).get_shape()) for name in names}, path)
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError as error:
        raise FormatError("not found, so the network has no initial weights", path=path) from error
    except (OSError, SafetensorError) as error:
        raise FormatError(f"cannot be read as safetensors: {error}", path=path, remedy=TO_SAFETENSORS) from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FormatError(f"{name} contains values that are not finite", path=path)
    for name, tensor in tensors.items():
        own[name].copy_(tensor)


def _require_same_parameters(own: dict[str, Tensor], shapes: dict[str, tuple[int, ...]], path: Path) -> None:
    """Raise FormatError for the first parameter that the file lacks, has in another shape, or has in addition."""
    remedy = "give a torchvision-format ResNet-34, or set the width and blocks that the file was trained with"
    for name, tensor in own.items():
        shape = shapes.get(name)
        if shape is None and not name.endswith("num_batches_tracked"):
            raise FormatError(f"{name} is missing", path=path, remedy=remedy)
        if shape is not None and shape != tuple(tensor.shape):
            raise FormatError(f"{name} is {list(shape)}, expected {list(tensor.shape)}", path=path, remedy=remedy)
    for name in itertools.filterfalse(own.__contains__, shapes):
        raise FormatError(f"{name} is not a parameter of this network", path=path, remedy=remedy)
