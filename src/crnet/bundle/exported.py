"""The networks of an exported bundle: OpenVINO graphs in files that may come from a stranger.

Nothing in them is trusted. The caller has compared their SHA-256 with `bundle.json`. A graph names no other files: its
constants are places in the one file of weights. It is refused unless it consists of the operations of our networks, has
their inputs and outputs, and needs no more memory than they do.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from crnet.bundle.networks_on_disk import NetworksOnDisk
from crnet.bundle.verify import require_file
from crnet.config import Config
from crnet.errors import FormatError, UsageError
from crnet.types import TARGETS, TEXT_DIMENSIONS, Stream

if TYPE_CHECKING:
    from crnet.models.crnet import StreamNet
    from crnet.utils.openvino_runtime import openvino

MAX_GRAPH_BYTES = 16 << 20  # the graph of the paper's ResNet-34 in int8 has 1 MB
MAX_WEIGHTS_BYTES = 4 << 30
MAX_VALUE_BYTES = 1 << 30  # of one array between two operations; the first layer of the paper's has 26 MB
OPERATIONS = frozenset(
    {"Add", "Broadcast", "Concat", "Constant", "Convert", "Convolution", "Divide", "FakeQuantize", "MatMul", "MaxPool"}
    | {"Multiply", "NotEqual", "Pad", "Parameter", "ReduceLogicalOr", "ReduceMean", "ReduceSum", "Relu", "Reshape"}
    | {"Result", "Slice", "Softmax", "Squeeze", "Subtract", "Transpose", "Unsqueeze"}
)
"""Those of `crnet.models.openvino_graph`, and FakeQuantize and Reshape of int8."""
REMEDY = "get the bundle again from a source that you trust, or export the system again with `crnet export`"


class ExportedNetworks(NetworksOnDisk):
    """The networks of an exported bundle, whose hashes have been verified. They predict; they have no gradients."""

    def _module(self, stream: Stream) -> StreamNet:
        """Refuse: the weights cannot be loaded into a PyTorch module.

        Raises:
            UsageError: Always.
        """
        raise UsageError(
            "an exported bundle can only predict", path=self.folder, remedy="use the run that it was exported from"
        )

    def graph(self, stream: Stream) -> openvino.Model:
        """Return the graph of a network, whose weights stay in the file's mapped memory.

        Raises:
            FormatError: It is no graph of such a network.
        """
        from crnet.utils.openvino_runtime import read_graph

        path = self.folder / f"{stream}.xml"
        for file in (path, path.with_suffix(".bin")):
            require_file(file)
        graph = read_graph(path, MAX_GRAPH_BYTES, MAX_WEIGHTS_BYTES, REMEDY)
        _require_graph(graph, stream, self._config, path)
        return graph


def _require_graph(graph: openvino.Model, stream: Stream, config: Config, path: Path) -> None:
    """Refuse a graph that is not that of a network of the system.

    Raises:
        FormatError: An operation, an input, an output or a size is another.
    """
    for operation in graph.get_ops():
        kind = operation.get_type_name()
        if kind not in OPERATIONS:
            raise FormatError(f"the graph has an operation {kind!r}", path=path, remedy=REMEDY)
        for output in operation.outputs():
            shape = output.get_partial_shape()
            if not shape.is_static or _value_bytes(output) > MAX_VALUE_BYTES:
                raise FormatError(f"the size of {kind!r} in the graph is unknown or huge", path=path, remedy=REMEDY)
    transforms, width = config.transforms, 8 * config.model.width
    frames = [1, transforms.frames, 3, transforms.pixels, transforms.pixels]
    audio_text = {"audio": [1, transforms.audio_samples], "text": [1, TEXT_DIMENSIONS]}
    inputs = audio_text if stream == "audio-text" else {stream: frames}
    outputs = {"features": [1, len(TARGETS), width], "scores": [1, len(TARGETS)]}
    for expected, values in ((inputs, graph.inputs), (outputs, graph.outputs)):
        found = {name: list(value.get_shape()) for value in values for name in value.get_names()}
        if found != expected:
            raise FormatError(f"the graph has {found}, expected {expected}", path=path, remedy=REMEDY)


def _value_bytes(output: openvino.Output) -> int:
    return output.get_element_type().size * math.prod(output.get_shape())
