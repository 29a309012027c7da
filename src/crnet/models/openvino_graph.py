"""A trained network as an OpenVINO graph, built from its arrays: what prediction runs, without PyTorch.

The graph computes what `crnet.models.crnet.StreamNet` computes in evaluation mode, for one clip. The tests compare the
two for every head, backbone and input. Batch norm is folded into the convolutions before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, FormatError
from crnet.models.config import Head, ModelConfig
from crnet.models.geometry import GEOMETRY_1D, GEOMETRY_2D, GEOMETRY_3D, Geometry
from crnet.types import TARGETS, TEXT_DIMENSIONS, Stream
from crnet.utils.openvino_runtime import openvino, ops

BACKBONE = "backbone."
"""Prefix of the names of the operations that take nearly all the time: convolutions, batch norm and shortcuts."""
BATCHNORM_EPSILON = 1e-5  # PyTorch's default
LINEAR_HEADS: tuple[Head, ...] = ("cr-block", "plain")
FEATURES, SCORES = "features", "scores"
"""Names of the outputs: f_reg_p [1, 6, F] and the scores [1, 6], not clamped."""

Weights = Mapping[str, NDArray[Any]]
Node: TypeAlias = "openvino.Node"
Value: TypeAlias = "openvino.Node | openvino.Output"


def build_graph(stream: Stream, config: ModelConfig, transforms: TransformConfig, weights: Weights) -> openvino.Model:
    """Return the graph of a stream for a batch of one clip.

    Its inputs have the names and types of the arrays of a `Batch`: uint8 `scene` or `face` [1, T, 3, H, W], or float32
    `audio` [1, L] and `text` [1, 4800]. Its outputs are float32 `features` [1, 6, F] and `scores` [1, 6].

    Args:
        stream: The stream.
        config: The shape of its network.
        transforms: What it sees of a clip.
        weights: The arrays of `StreamNet.state_dict`.

    Raises:
        FormatError: An array is missing, unknown, or of another shape.
    """
    reader = _WeightReader(weights)
    width = 8 * config.width
    if stream == "audio-text":
        parameters, a, deviations = _audio_text(config, transforms, reader)
    else:
        shape = [1, transforms.frames, 3, transforms.pixels, transforms.pixels]
        frames = ops.parameter(shape, np.uint8, name=stream)
        parameters, a, deviations = [frames], _visual(frames, config, shape, reader), None
    features, scores = _HEADS[config.head](a, width, config.classes, reader)
    if deviations is not None:
        scores = _with_text(scores, deviations, config, reader)
    reader.require_all_read()
    results = []
    for name, value in ((FEATURES, features), (SCORES, scores)):
        result = ops.result(value)
        result.output(0).tensor.set_names({name})
        results.append(result)
    for parameter in parameters:
        parameter.output(0).tensor.set_names({parameter.friendly_name})
    return openvino.Model(results, parameters, stream)


class _WeightReader:
    """Reads the arrays of a network and checks their shapes; none may be left over."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._unread = {name for name in weights if not name.endswith("num_batches_tracked")}

    def array(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Return an array as float32.

        Raises:
            FormatError: It is missing or has another shape.
        """
        array = self._weights.get(name)
        if array is None:
            raise FormatError(f"its weights do not fit the configuration: {name} is missing")
        if array.shape != shape:
            raise FormatError(
                f"its weights do not fit the configuration: {name} is {list(array.shape)}, expected {list(shape)}"
            )
        self._unread.discard(name)
        return np.ascontiguousarray(array, dtype=np.float32)

    def constant(self, name: str, *shape: int) -> Node:
        """Return an array as a node."""
        return _constant(self.array(name, *shape))

    def require_all_read(self) -> None:
        """Refuse arrays that the network does not have.

        Raises:
            FormatError: There are some.
        """
        if self._unread:
            raise FormatError(f"its weights do not fit the configuration: {min(self._unread)} is unknown")


def _constant(array: NDArray[np.float32]) -> Node:
    return ops.constant(array)  # a copy: OpenVINO's threads may free a constant, and they must not free Python's memory


def _number(value: float) -> Node:
    return ops.constant(np.float32(value))


def _visual(frames: Node, config: ModelConfig, shape: list[int], reader: _WeightReader) -> Value:
    """Return the vector `a` [1, F] of a visual stream."""
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in (config.pixel_mean, config.pixel_std))
    pixels = ops.divide(ops.convert(ops.squeeze(frames, [0]), "f32"), _number(255))
    pixels = ops.divide(ops.subtract(pixels, _constant(mean)), _constant(std))  # [T, 3, H, W]
    if config.backbone == "r3d34":
        volume = ops.unsqueeze(ops.transpose(pixels, [1, 0, 2, 3]), [0])  # -> [1, 3, T, H, W]
        feature_map = _backbone(volume, GEOMETRY_3D, 3, config, reader)
        return ops.reduce_mean(feature_map, [2, 3, 4])
    frame_vectors = ops.reduce_mean(_backbone(pixels, GEOMETRY_2D, 3, config, reader), [2, 3])  # [T, F]
    if config.temporal == "mean":
        return ops.reduce_mean(frame_vectors, [0], keep_dims=True)
    weights = reader.array("frame_weights", shape[1]).reshape(1, -1)
    return ops.matmul(_constant(weights), frame_vectors, False, False)


def _audio_text(
    config: ModelConfig, transforms: TransformConfig, reader: _WeightReader
) -> tuple[list[Node], Value, Value | None]:
    """Return the inputs, the vector `a` [1, F], and the deviations [1, 6] that a text regression predicts.

    Both inputs always exist, because a batch holds both; a network may ignore one.
    """
    if transforms.audio_samples is None:
        raise ConfigError("transforms.audio_samples is not set", remedy="set the length of the sound in samples")
    audio = ops.parameter([1, transforms.audio_samples], np.float32, name="audio")
    text = ops.parameter([1, TEXT_DIMENSIONS], np.float32, name="text")
    if not config.regresses_text:
        parts = {"both": [audio, text], "audio": [audio], "text": [text]}[config.audio_text]
        signal = parts[0] if len(parts) == 1 else ops.concat(parts, 1)
        return [audio, text], _signal_vector(signal, config, reader), None
    deviations = _text_deviations(text, reader)
    width, count = 8 * config.width, len(TARGETS)
    scale = reader.constant("text_regression.scale", count)
    layer = reader.constant("text_features.weight", width, count)
    a: Value = ops.matmul(ops.divide(deviations, scale), layer, False, True)
    if config.audio_text == "both":
        a = ops.add(a, _signal_vector(audio, config, reader))
    return [audio, text], a, deviations


def _signal_vector(signal: Value, config: ModelConfig, reader: _WeightReader) -> Value:
    feature_map = _backbone(ops.unsqueeze(signal, [0]), GEOMETRY_1D, 1, config, reader)  # [1, L] -> [1, 1, L]
    return ops.reduce_mean(feature_map, [2])


def _text_deviations(text: Node, reader: _WeightReader) -> Value:
    """Return the deviations [1, 6] that the regression predicts; 0 for a clip without words."""
    weight = reader.constant("text_regression.weight", len(TARGETS), TEXT_DIMENSIONS)
    mean = reader.constant("text_regression.mean", TEXT_DIMENSIONS)
    predicted = ops.matmul(ops.subtract(text, mean), weight, False, True)
    has_words = ops.reduce_logical_or(ops.not_equal(text, _number(0)), [1], keep_dims=True)
    return ops.multiply(predicted, ops.convert(has_words, "f32"))


def _with_text(scores: Value, deviations: Value, config: ModelConfig, reader: _WeightReader) -> Value:
    """Combine the scores with what the text regression predicts, if the head is linear; see `StreamNet.forward`."""
    mean = reader.array("text_regression.score_mean", len(TARGETS))
    network, text = reader.array("text_regression.weights", 2)
    if config.head not in LINEAR_HEADS:
        return scores
    if config.audio_text == "text":
        return ops.add(scores, deviations)
    by_network = ops.multiply(ops.subtract(scores, _constant(mean)), _number(network))
    return ops.add(ops.add(_constant(mean), by_network), ops.multiply(deviations, _number(text)))


def _backbone(x: Value, geometry: Geometry, channels_in: int, config: ModelConfig, reader: _WeightReader) -> Value:
    """Return the feature map of a ResNet: [N, channels_in, ...] -> [N, F, ...]; see `crnet.models.resnet.ResNet`."""
    convolution = _Convolution(geometry, reader)
    x = ops.relu(convolution(x, "conv1", "bn1", channels_in, config.width, geometry.stem_kernel, geometry.stem_stride))
    pool = [geometry.pool_kernel] * geometry.dimensions
    strides, padding = [geometry.pool_stride] * geometry.dimensions, [geometry.pool_kernel // 2] * geometry.dimensions
    x = ops.max_pool(x, strides, [1] * geometry.dimensions, padding, padding, pool).output(0)
    channels = config.width
    for stage, blocks in enumerate(config.blocks):
        for block in range(blocks):
            first = stage > 0 and block == 0
            x = convolution.block(
                x,
                f"{BACKBONE}layer{stage + 1}.{block}",
                channels,
                config.width << stage,
                geometry.stride if first else 1,
            )
            channels = config.width << stage
    return x


class _Convolution:
    """Convolutions of one geometry, each with the batch norm behind it."""

    def __init__(self, geometry: Geometry, reader: _WeightReader) -> None:
        self.geometry = geometry
        self.reader = reader

    def __call__(
        self,
        x: Value,
        name: str,
        batch_norm: str,
        channels_in: int,
        channels: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...],
        prefix: str = BACKBONE,
    ) -> Value:
        """Return batch norm of a convolution, whose padding is half its kernel."""
        weight = self.reader.array(f"{prefix}{name}.weight", channels, channels_in, *kernel)
        gamma, beta, mean, variance = (
            self.reader.array(f"{prefix}{batch_norm}.{part}", channels).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        column = (-1, *(1,) * (weight.ndim - 1))
        with np.errstate(all="ignore"):  # damaged weights give features that are no numbers, which is then an error
            scale = gamma / np.sqrt(variance + BATCHNORM_EPSILON)
            folded = weight * scale.astype(np.float32).reshape(column)
            bias = (beta - mean * scale).astype(np.float32).reshape((1, *column))
        padding = [size // 2 for size in kernel]
        y = ops.convolution(x, _constant(folded), list(stride), padding, padding, [1] * len(kernel))
        return _named(ops.add(_named(y, f"{prefix}{name}"), _constant(bias[..., 0])), f"{prefix}{batch_norm}")

    def block(self, x: Value, prefix: str, channels_in: int, channels: int, stride: int) -> Value:
        """Return a basic block; see `crnet.models.resnet.BasicBlock`."""
        dimensions, prefix = self.geometry.dimensions, f"{prefix}."
        kernel, one = (self.geometry.kernel,) * dimensions, (1,) * dimensions
        y = ops.relu(self(x, "conv1", "bn1", channels_in, channels, kernel, (stride,) * dimensions, prefix))
        y = self(y, "conv2", "bn2", channels, channels, kernel, one, prefix)
        if stride > 1 or channels_in != channels:
            if self.geometry.projection:
                strides = (stride,) * dimensions
                x = self(x, "downsample.0", "downsample.1", channels_in, channels, one, strides, prefix)
            else:
                x = _zero_padded(x, channels - channels_in, stride, dimensions)
        return ops.relu(_named(ops.add(y, x), f"{prefix}add"))


def _named(node: Node, name: str) -> Node:
    node.set_friendly_name(name)
    return node


def _zero_padded(x: Value, new_channels: int, stride: int, dimensions: int) -> Value:
    """Return the shortcut of type A; see `crnet.models.resnet.ZeroPaddedIdentity`."""
    axes = list(range(2, 2 + dimensions))
    end = np.full(dimensions, np.iinfo(np.int32).max)
    strided = ops.slice(
        x, np.zeros(dimensions, np.int32), end.astype(np.int32), np.full(dimensions, stride, np.int32), axes
    )
    none = [0] * (2 + dimensions)
    return ops.pad(strided, none, [0, new_channels, *[0] * dimensions], "constant", _number(0))


def _cr_block(a: Value, width: int, classes: int, reader: _WeightReader) -> tuple[Value, Value]:
    """Return features and scores of a CR-block; see `crnet.models.cr_block.CRBlock`."""
    targets = len(TARGETS)
    weight = reader.constant("head.class_features.weight", targets * classes * width, width)
    bias = reader.constant("head.class_features.bias", targets * classes * width)
    f = ops.reshape(ops.add(ops.matmul(a, weight, False, True), bias), [1, targets, classes, width], False)
    class_weight = reader.constant("head.class_weight", targets, classes, width)
    class_bias = reader.constant("head.class_bias", targets, classes)
    logits = ops.add(ops.reduce_sum(ops.multiply(f, class_weight), [3]), class_bias)
    shares = ops.unsqueeze(ops.softmax(logits, 2), [3])  # [1, P, n, 1]
    features = ops.reduce_sum(ops.multiply(shares, f), [2])  # [1, P, F]
    score_weight = reader.constant("head.score_weight", targets, width)
    scores = ops.reduce_sum(ops.multiply(features, score_weight), [2])
    return features, ops.add(scores, reader.constant("head.score_bias", targets))


def _plain(a: Value, width: int, classes: int, reader: _WeightReader) -> tuple[Value, Value]:
    """Return features and scores of a plain head; see `crnet.models.heads.PlainHead`."""
    scores = ops.matmul(a, reader.constant("head.score_weight", len(TARGETS), width), False, True)
    return _repeated(a, width), ops.add(scores, reader.constant("head.score_bias", len(TARGETS)))


def _expectation(a: Value, width: int, classes: int, reader: _WeightReader) -> tuple[Value, Value]:
    """Return features and scores of an expectation head; see `crnet.models.heads.ExpectationHead`."""
    targets = len(TARGETS)
    weight = reader.array("head.class_weight", targets, classes, width).reshape(targets * classes, width)
    logits = ops.reshape(ops.matmul(a, _constant(weight), False, True), [1, targets, classes], False)
    shares = ops.softmax(ops.add(logits, reader.constant("head.class_bias", targets, classes)), 2)
    scores = ops.reduce_sum(ops.multiply(shares, reader.constant("head.centres", targets, classes)), [2])
    return _repeated(a, width), scores


def _repeated(a: Value, width: int) -> Value:
    return ops.broadcast(ops.unsqueeze(a, [1]), [1, len(TARGETS), width])


_HEADS = {"cr-block": _cr_block, "plain": _plain, "expectation": _expectation, "expectation+regression": _expectation}
