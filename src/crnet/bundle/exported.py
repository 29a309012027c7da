"""The networks of an exported bundle: OpenVINO graphs in files that may come from a stranger.

Nothing in them is trusted. The caller has compared their SHA-256 with `bundle.json`. A graph names no other files: its
constants are places in the one file of weights. It is refused unless it consists of the operations of our networks, has
their inputs and outputs, and computes no more than several times as much.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from crnet.bundle.networks_on_disk import NetworksOnDisk
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
SHAPED = frozenset(
    {"broadcast", "pad", "reducelogicalor", "reducemean", "reducesum", "reshape", "slice", "squeeze", "transpose"}
    | {"unsqueeze"}
)
"""Operations, whose further inputs are shapes or axes: OpenVINO computes those when it reads a graph."""
SPARE_BYTES = 64 << 20  # of values, beyond what a network of the size of the system has
REMEDY = "get the bundle again from a source that you trust, or export the system again with `crnet export`"


class ExportedNetworks(NetworksOnDisk):
    """The networks of an exported bundle, whose hashes have been verified. They predict; they have no gradients."""

    suffixes = (".xml", ".bin")

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
            FormatError: It is no graph of such a network, or has changed since the bundle was opened.
        """
        from crnet.utils.openvino_runtime import read_graph

        path, _ = self._checked_files(stream)
        check = partial(_require_constant_shapes, path=path)
        graph = read_graph(path, MAX_GRAPH_BYTES, MAX_WEIGHTS_BYTES, REMEDY, check)
        _require_graph(graph, stream, self._config, path)
        return graph


def _require_constant_shapes(description: bytes, path: Path) -> None:
    """Refuse a graph in which a shape is computed: OpenVINO would do so while it reads the graph, whatever it takes.

    Raises:
        FormatError: A shape is no constant, an operation is another, or the description is none.
    """
    try:
        # In UTF-8 alone, a document type cannot hide from its search, so there are no entities.
        net = ElementTree.fromstring(description.decode("utf-8"))  # noqa: S314
        layers = {_number(layer, "id"): layer for layer in net.iter("layer")}
        if len(layers) != sum(1 for _ in net.iter("layer")):
            raise ValueError("two operations have the same number")
        kinds = {number: str(layer.get("type")) for number, layer in layers.items()}
        edges = [[_number(edge, end) for end in ("from-layer", "to-layer", "to-port")] for edge in net.iter("edge")]
        data_port = {number: _data_port(layers[number]) for number, kind in kinds.items() if kind.lower() in SHAPED}
        computed = [kinds[to] for source, to, port in edges
                    if kinds.get(source) != "Const" and to in data_port and port != data_port[to]]  # fmt: skip
    except (ElementTree.ParseError, ValueError) as error:
        raise FormatError(f"not a graph that OpenVINO reads: {error}", path=path, remedy=REMEDY) from error
    known = {"const", *(operation.lower() for operation in OPERATIONS)}
    if foreign := [kind for kind in kinds.values() if kind.lower() not in known]:
        raise FormatError(f"the graph has an operation {foreign[0]!r}", path=path, remedy=REMEDY)
    if computed:
        raise FormatError(f"the graph computes a shape of {computed[0]!r}", path=path, remedy=REMEDY)


def _data_port(layer: ElementTree.Element) -> int:
    """Return the number of an operation's first input.

    Raises:
        ValueError: It is not the smallest, or two have the same.
    """
    ports = [_number(port, "id") for port in layer.iterfind("input/port")]
    if ports != sorted(set(ports)) or not ports:
        raise ValueError(f"the inputs of an operation are {ports}")
    return ports[0]


def _number(element: ElementTree.Element, name: str) -> int:
    """Return a number that every parser reads as the same.

    Raises:
        ValueError: It is none.
    """
    text = element.get(name, "")
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name}={text!r} is no number")
    return int(text)


def _require_graph(graph: openvino.Model, stream: Stream, config: Config, path: Path) -> None:
    """Refuse a graph that is not that of a network of the system.

    Raises:
        FormatError: An operation, an input, an output or a size is another.
    """
    computed_bytes = 0
    for operation in graph.get_ops():
        kind = operation.get_type_name()
        if kind not in OPERATIONS:
            raise FormatError(f"the graph has an operation {kind!r}", path=path, remedy=REMEDY)
        for output in operation.outputs():
            shape = output.get_partial_shape()
            if not shape.is_static or _value_bytes(output) > MAX_VALUE_BYTES:
                raise FormatError(f"the size of {kind!r} in the graph is unknown or huge", path=path, remedy=REMEDY)
            computed_bytes += _value_bytes(output) if kind != "Constant" else 0
    if computed_bytes > _most_bytes(stream, config, path):
        reason = f"the graph computes {computed_bytes >> 20} MB, far more than a network of this system"
        raise FormatError(reason, path=path, remedy=REMEDY)
    transforms, width = config.transforms, 8 * config.model.width
    frames = [1, transforms.frames, 3, transforms.pixels, transforms.pixels]
    audio_text = {"audio": [1, transforms.audio_samples], "text": [1, TEXT_DIMENSIONS]}
    inputs = audio_text if stream == "audio-text" else {stream: frames}
    outputs = {"features": [1, len(TARGETS), width], "scores": [1, len(TARGETS)]}
    for expected, values in ((inputs, graph.inputs), (outputs, graph.outputs)):
        found = {name: list(value.get_shape()) for value in values for name in value.get_names()}
        if found != expected:
            raise FormatError(f"the graph has {found}, expected {expected}", path=path, remedy=REMEDY)


def _most_bytes(stream: Stream, config: Config, path: Path) -> int:
    """Return a bound on what a graph computes: several times what the values of such a network take together.

    They are in proportion to its inputs, its width and its blocks. In int8, its weights are converted twice.
    """
    transforms, model = config.transforms, config.model
    sound, pixels = (transforms.audio_samples or 0) + TEXT_DIMENSIONS, transforms.frames * transforms.pixels**2
    float_bytes, conversions = 4, 4
    values = (sound if stream == "audio-text" else pixels) * model.width * (sum(model.blocks) + 4)
    return SPARE_BYTES + float_bytes * (values + conversions * path.with_suffix(".bin").stat().st_size)


def _value_bytes(output: openvino.Output) -> int:
    return output.get_element_type().size * math.prod(output.get_shape())
