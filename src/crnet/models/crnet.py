"""One stream of CR-Net: frames, or sound and text, to six scores (Fig. 1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor, nn

from crnet.errors import FormatError
from crnet.models.config import Head, ModelConfig
from crnet.models.cr_block import CRBlock
from crnet.models.geometry import GEOMETRY_1D, GEOMETRY_2D, GEOMETRY_3D
from crnet.models.heads import ExpectationHead, PlainHead
from crnet.models.resnet import ResNet, average_positions, load_backbone
from crnet.models.score_head import LinearScoreHead, ScoreHead
from crnet.models.text_regression import TextRegression
from crnet.types import STREAMS, TARGETS, Batch, Stream

HEADS: dict[Head, type[CRBlock | PlainHead | ExpectationHead]] = {
    "cr-block": CRBlock,
    "plain": PlainHead,
    "expectation": ExpectationHead,
    "expectation+regression": ExpectationHead,
}


@dataclass(frozen=True, eq=False)
class StreamOutput:
    """The output of a stream for a batch.

    Attributes:
        features: [B, 6, F], f_reg_p of Eq. 3, the input of the fusion; with a head other than the CR-block, `a` for
            each target.
        logits: [B, 6, n], class logits before the softmax; all 0 from a head without classes.
        scores: [B, 6], in the order of `TARGETS`, nominally in [0, 1], not clamped.
    """

    features: Float[Tensor, "B 6 F"]
    logits: Float[Tensor, "B 6 n"]
    scores: Float[Tensor, "B 6"]


class StreamNet(nn.Module):
    """One of the three independent networks: a backbone, an average, and CR-blocks; or a regression of text beside it.

    Args:
        stream: The part of a batch that is its input.
        config: Its shape.
        seed: The initial weights depend only on the seed, the stream and the shape.

    Raises:
        FormatError: `config.init` does not fit; see `load_backbone`.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, stream: Stream, config: ModelConfig, seed: int = 0) -> None:
        super().__init__()
        self.stream: Stream = stream
        self.config = config
        generator = torch.Generator()
        generator.manual_seed(int(np.random.SeedSequence([seed, STREAMS.index(stream)]).generate_state(1)[0]))
        visual_geometry = GEOMETRY_2D if config.backbone == "r2d34" else GEOMETRY_3D
        geometry = GEOMETRY_1D if stream == "audio-text" else visual_geometry
        channels_in = 1 if stream == "audio-text" else 3
        self.backbone: ResNet | None = None
        if not (stream == "audio-text" and config.regresses_text and config.audio_text == "text"):
            self.backbone = ResNet(geometry, channels_in, config.width, config.blocks, generator=generator)
        if stream != "audio-text" and config.temporal == "conv1x1":
            self.frame_weights = nn.Parameter(torch.full((config.frames,), 1 / config.frames))
        self.head: ScoreHead = HEADS[config.head](8 * config.width, config.classes, generator=generator)
        self.text_regression: TextRegression | None = None
        if stream == "audio-text" and config.regresses_text:
            self.text_regression = TextRegression()
            self.text_features = nn.Linear(len(TARGETS), 8 * config.width, bias=False)
            bound = 1 / math.sqrt(len(TARGETS))
            nn.init.uniform_(self.text_features.weight, -bound, bound, generator=generator)
        # Not in the state dict, because they are part of the configuration. A network that is built on the meta device
        # and filled from a file needs them as real tensors.
        for name, values in (("pixel_mean", config.pixel_mean), ("pixel_std", config.pixel_std)):
            self.register_buffer(name, torch.tensor(values, device="cpu").view(3, 1, 1), persistent=False)
        if self.backbone is not None and stream != "audio-text" and config.init is not None:
            load_backbone(self.backbone, config.init)

    def forward(self, batch: Batch) -> StreamOutput:
        """Return features, class logits and scores of every clip.

        Raises:
            FormatError: The batch lacks this stream, or `conv1x1` has weights for another number of frames.
        """
        if self.text_regression is None:
            return StreamOutput(*self.head(self.clip_vector(self.feature_map(batch))))
        output, deviations = self.parts(batch)
        if not isinstance(self.head, LinearScoreHead):
            return output
        if self.backbone is None:  # G starts at zero weights, so training starts from the scores of the regression
            return replace(output, scores=output.scores + deviations)
        if self.training:
            return output
        return replace(output, scores=self.text_regression.combine(output.scores, deviations))

    def parts(self, batch: Batch) -> tuple[StreamOutput, Float[Tensor, "B 6"]]:
        """Return the output without the scores of the text regression, and the deviations that those predict.

        Raises:
            FormatError: The network has no text regression, or the batch lacks this stream.
        """
        if self.text_regression is None:
            raise FormatError("the network has no regression of text")
        deviations = self.text_regression(self._text(batch), batch.clip_ids)
        a = self.text_features(self.text_regression.standardised(deviations))  # [B, 6] -> [B, F]
        if self.backbone is not None:
            a = a + self.clip_vector(self.feature_map(batch))
        return StreamOutput(*self.head(a)), deviations

    def feature_map(self, batch: Batch) -> Tensor:
        """Return the backbone's last feature map, before any averaging; F = 8 * width.

        Returns:
            Visual: [B, T, F, h, w]. T is the number of frames with a 2-D backbone, and smaller with a 3-D one.
            Audio-text: [B, F, l].

        Raises:
            FormatError: The batch lacks this stream, or the network reads only text, as a vector.
        """
        if self.backbone is None:
            raise FormatError("a network that regresses text alone has no feature map")
        if self.stream == "audio-text":
            return self.backbone(self._signal(batch).unsqueeze(1))  # [B, L] -> [B, 1, L] -> [B, F, l]
        frames = self._frames(batch)
        if self.config.backbone == "r3d34":
            volumes = self._normalised(frames).transpose(1, 2)  # [B, T, 3, H, W] -> [B, 3, T, H, W]
            return self.backbone(volumes).transpose(1, 2)  # [B, F, t, h, w] -> [B, t, F, h, w]
        # [B, T, 3, H, W] -> [B T, 3, H, W]; 2-D convolutions are a third faster with channels last in memory.
        images = frames.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        feature_map = self.backbone(self._normalised(images))
        return feature_map.unflatten(0, (len(batch), -1))  # [B T, F, h, w] -> [B, T, F, h, w]

    def clip_vector(self, feature_map: Tensor) -> Float[Tensor, "B F"]:
        """Return the vector `a`: the mean of the feature map over space, and its mean or weighted sum over time."""
        if self.stream == "audio-text":
            return average_positions(feature_map)  # [B, F, l] -> [B, F]
        frame_vectors = average_positions(feature_map.flatten(0, 1)).view(*feature_map.shape[:3])  # -> [B, T, F]
        if self.config.temporal == "mean":
            return frame_vectors.mean(1)
        return torch.einsum("btf,t->bf", frame_vectors, self.frame_weights)

    def initialise_from_scores(self, scores: Float64[np.ndarray, "N 6"]) -> None:
        """Initialise the head from the training scores: its biases from their means, or its class centres."""
        self.head.initialise_from_scores(scores)

    def regression_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of G, which have no gradient in the first stage (classification alone)."""
        return self.head.regression_parameters()

    def _frames(self, batch: Batch) -> UInt8[Tensor, "B T 3 H W"]:
        frames = batch.scene if self.stream == "scene" else batch.face
        if frames is None:
            raise FormatError(f"the batch has no frames for the {self.stream} stream")
        if self.config.temporal == "conv1x1" and frames.shape[1] != self.config.frames:
            raise FormatError(
                f"the batch has {frames.shape[1]} frames per clip, but the network weights {self.config.frames}"
            )
        return frames

    def _normalised(self, frames: UInt8[Tensor, "*N 3 H W"]) -> Float[Tensor, "*N 3 H W"]:
        return frames.to(self.pixel_mean.dtype).div_(255).sub_(self.pixel_mean).div_(self.pixel_std)

    def _signal(self, batch: Batch) -> Float[Tensor, "B L"]:
        """Return the waveform followed by the text vector (Fig. 1), or one of the two; see `ModelConfig.text_path`."""
        if self.config.audio_text == "text":
            return self._text(batch)
        if batch.audio is None:
            raise FormatError("the batch has no sound for the audio-text stream")
        if self.config.audio_text == "audio" or self.config.regresses_text:
            return batch.audio
        return torch.cat([batch.audio, self._text(batch)], dim=1)  # [B, L], [B, 4800] -> [B, L + 4800]

    def _text(self, batch: Batch) -> Float[Tensor, "B 4800"]:
        if batch.text is None:
            raise FormatError("the batch has no text for the audio-text stream")
        return batch.text
