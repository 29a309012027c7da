"""The shape of the networks, as configured and as stored in a bundle. Reading it needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from crnet.errors import ConfigError
from crnet.models.classes import EDGES
from crnet.models.geometry import RESNET34_BLOCKS, RESNET34_WIDTH
from crnet.types import SEGMENTS, Backbone

MAX_WIDTH = 1_024
MAX_BLOCKS = 64  # in a stage; ResNet-152 has 36
MAX_FRAMES = 16_384
CPU_WIDTH_STEP = 8  # training another width on a CPU can corrupt memory
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB in [0, 1]; torchvision's weights were trained with these numbers
IMAGENET_STD = (0.229, 0.224, 0.225)

Head = Literal["cr-block", "plain", "expectation", "expectation+regression"]


@dataclass(frozen=True)
class ModelConfig:
    """The shape of the three streams; the defaults are the paper's.

    Attributes:
        backbone: Backbone of the visual streams: a 2-D ResNet applied to each frame, or a 3-D one over all frames.
        temporal: How the 2-D backbone's frames become one vector: their mean, or a sum with a learned weight per frame.
        width: Channels of the first stage. Feature vectors have 8 * width values (512 by default). Must be a
            multiple of 8 for training on a CPU.
        blocks: Number of blocks in each of the four stages.
        classes: Number of classes per target: 4, 7 or 10.
        frames: Frames per clip; must equal `transforms.frames`. The temporal mode "conv1x1" learns one
            weight for each.
        pixel_mean: Mean of the RGB pixels in [0, 1]. The input is (x / 255 - mean) / std.
        pixel_std: Standard deviation of the RGB pixels in [0, 1].
        audio_text: Input of the audio-text stream: both (Fig. 1), or only one of the two (Table 3).
        text_path: How the text vector enters the audio-text stream. "concat": behind the sound, as one signal for the
            convolutions (Fig. 1). "vector": through a ridge regression, which keeps its positions; the CR-block sees
            the regression's predictions beside the sound, and the scores of both are combined with weights fitted on
            validation clips.
        init: Initial weights of the visual backbones: a ResNet-34 safetensors file with torchvision's parameter names.
            None uses He initialisation.
        head: Head that maps the backbone's output to scores: the paper's CR-block, or one of the alternatives compared
            in Tables 4 to 6. The last two are the same network trained with different losses.
    """

    backbone: Backbone = "r2d34"
    temporal: Literal["mean", "conv1x1"] = "mean"
    width: int = RESNET34_WIDTH
    blocks: tuple[int, int, int, int] = RESNET34_BLOCKS
    classes: int = 4
    frames: int = SEGMENTS
    pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    pixel_std: tuple[float, float, float] = IMAGENET_STD
    audio_text: Literal["both", "audio", "text"] = "both"
    text_path: Literal["concat", "vector"] = "concat"
    init: Path | None = None
    head: Head = "cr-block"

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise ConfigError(f"unknown head {self.head!r}", remedy=f"choose one of {', '.join(get_args(Head))}")
        if self.text_path not in ("concat", "vector"):
            raise ConfigError(f"text_path is {self.text_path!r}", remedy="choose concat or vector")
        if self.classes not in EDGES:
            raise ConfigError(
                f"the paper gives no edges for {self.classes} classes",
                remedy=f"choose {', '.join(map(str, EDGES))} classes",
            )
        if self.width > MAX_WIDTH:
            raise ConfigError(f"width is {self.width}", remedy=f"choose 1 to {MAX_WIDTH}; ResNet-34 has 64")
        if self.width < 1 or self.frames < 1 or len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ConfigError("width, frames and each of the four numbers of blocks must be 1 or more")
        if max(self.blocks) > MAX_BLOCKS or self.frames > MAX_FRAMES:
            raise ConfigError(
                f"blocks are {list(self.blocks)} and frames {self.frames}",
                remedy=f"choose at most {MAX_BLOCKS} blocks in each stage and {MAX_FRAMES} frames",
            )
        if min(self.pixel_std) <= 0:
            raise ConfigError("pixel_std must be positive")
        if self.backbone == "r3d34" and self.temporal == "conv1x1":
            raise ConfigError(
                "a 3-D backbone leaves no frames to weight", remedy='use temporal="mean" or backbone="r2d34"'
            )

    @property
    def regresses_text(self) -> bool:
        """Whether the audio-text stream has a ridge regression of the text vector."""
        return self.text_path == "vector" and self.audio_text != "audio"

    def require_trainable_on(self, device_type: str) -> None:
        """Refuse a width that a CPU cannot train safely.

        On CPUs without AVX-512, the weight gradient of a 1x1 convolution with stride 2, channels-last memory and fewer
        than 8 input channels writes past its buffer (oneDNN issue 6035, torch 2.13 with oneDNN 3.12). Prediction
        computes no weight gradient, so networks of any width load and predict.

        Raises:
            ConfigError: `device_type` is "cpu" and `width` is not a multiple of 8.
        """
        if device_type == "cpu" and self.width % CPU_WIDTH_STEP:
            raise ConfigError(
                f"a network of width {self.width} cannot be trained safely on a CPU: in narrow layers, gradients of "
                "oneDNN's convolutions write past their buffers if the CPU has no AVX-512 (oneDNN issue 6035)",
                remedy=f"choose a width that is a multiple of {CPU_WIDTH_STEP}, or train on a GPU",
            )
