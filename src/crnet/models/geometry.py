"""Kernels and strides of ResNets in one, two and three dimensions; see `crnet.models.resnet`."""

from __future__ import annotations

from dataclasses import dataclass

RESNET34_BLOCKS = (3, 4, 6, 3)  # He et al. 2016, Table 1
RESNET34_WIDTH = 64


@dataclass(frozen=True)
class Geometry:
    """Kernels and strides of a ResNet of one to three dimensions. The padding is always half the kernel.

    Attributes:
        stem_kernel, stem_stride: Kernel and stride of the first convolution in each dimension.
        pool_kernel, pool_stride: Kernel and stride of the max pooling after it.
        kernel: Kernel of every other convolution.
        stride: Stride of the first block of the second, third and fourth stage.
        projection: True if shortcuts that change shape are 1x1 convolutions (type B), False if they are zero-padded
            identities (type A).
    """

    stem_kernel: tuple[int, ...]
    stem_stride: tuple[int, ...]
    pool_kernel: int
    pool_stride: int
    kernel: int
    stride: int
    projection: bool

    @property
    def dimensions(self) -> int:
        """1 for signals, 2 for images, 3 for video."""
        return len(self.stem_kernel)


GEOMETRY_1D = Geometry((49,), (4,), 9, 4, kernel=9, stride=4, projection=True)
GEOMETRY_2D = Geometry((7, 7), (2, 2), 3, 2, kernel=3, stride=2, projection=True)
GEOMETRY_3D = Geometry((7, 7, 7), (1, 2, 2), 3, 2, kernel=3, stride=2, projection=False)
