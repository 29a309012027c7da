"""The three networks of MTCNN as OpenVINO graphs, built from the arrays of the `mtcnn` package (MIT licence).

The package is located and read as data, but not imported: an import would need TensorFlow.
"""

from __future__ import annotations

import importlib.util
import io
import math
import pickletools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from crnet.errors import FormatError, MissingDependencyError
from crnet.media.mtcnn import LEVEL_RANGE, MEAN_LEVEL, ONET_PIXELS, RNET_PIXELS
from crnet.utils.extras import install_command
from crnet.utils.openvino_runtime import compile_model, openvino, ops
from crnet.utils.resumable import content_fingerprint

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL_REMEDY = install_command("mtcnn")
WEIGHTS_SHA256 = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
"""SHA-256 of the weights of mtcnn 1.0.0. The files contain pickles, so no other content is ever unpacked."""

PREPARED_KERNELS = 256
"""OpenVINO keeps what P-Net's layers need for a picture's size: 23 sizes a video, in three searches, take less than
half of these. Without a bound, memory grows by 0.6 MB for each size of a pyramid's level."""

COLUMNS_ROWS_CHANNELS = [0, 3, 2, 1]  # of [B, C, H, W]: the order in which the first dense layers were trained


def weights_folder() -> Path:
    """Return the folder of the weights in the installed `mtcnn` package, without importing it.

    Raises:
        MissingDependencyError: The package is not installed.
    """
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("face detection needs the weights of the package mtcnn", remedy=INSTALL_REMEDY)
    return Path(spec.submodule_search_locations[0]) / "assets" / "weights"


def read_weights(folder: Path, name: str) -> list[np.ndarray]:
    """Read the arrays of one network, in Keras layout, from `folder/name.lz4`.

    Raises:
        MissingDependencyError: The file or lz4 is missing.
        FormatError: The file is not the one that this code expects; it is not unpacked.
    """
    path = folder / f"{name}.lz4"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MissingDependencyError(
            "face detection weights cannot be read", path=path, remedy=INSTALL_REMEDY
        ) from error
    if content_fingerprint([content]) != WEIGHTS_SHA256[name]:
        raise FormatError(
            "not the weights of mtcnn 1.0.0", path=path, remedy='pip install --force-reinstall "mtcnn==1.0.0"'
        )
    try:
        import lz4.frame
    except ImportError as error:
        raise MissingDependencyError(f"face detection needs {error.name}", remedy=INSTALL_REMEDY) from error
    return list(_arrays_of_joblib(lz4.frame.decompress(content)))


def _arrays_of_joblib(content: bytes) -> Iterator[NDArray[np.float32]]:
    """Yield the arrays of a file that joblib wrote, without running its pickle, and without joblib.

    Importing joblib takes 70 ms and 10 MB of each worker process. It describes an array in instructions of the pickle
    (BUILD after SETITEMS ends the description). Behind them come one byte, as many bytes of padding, and the numbers.
    """
    stream = io.BytesIO(content)
    memo: list[Any] = []
    latest: Any = None
    numbers: list[int] = []
    shape: tuple[int, ...] | None = None
    before = ""
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name == "MEMOIZE":
            memo.append(latest)
            continue
        latest = memo[int(argument or 0)] if opcode.name == "BINGET" else argument
        if latest == "shape":
            numbers, shape = [], None
        elif opcode.name.startswith("TUPLE") and shape is None:
            shape = tuple(numbers)
        elif isinstance(argument, int):
            numbers.append(argument)
        if (before, opcode.name) == ("SETITEMS", "BUILD") and shape is not None:
            stream.seek(stream.read(1)[0], io.SEEK_CUR)
            yield np.frombuffer(stream.read(4 * math.prod(shape)), "<f4").reshape(shape)
        before = opcode.name


class Networks(NamedTuple):
    """The compiled networks. Pictures are RGB, with the channels last; "face or not" are two probabilities.

    Attributes:
        pnet: uint8 [1, h, w, 3] -> box offsets [1, 4, h', w'], face or not [1, 2, h', w'], for each window of 12x12.
        rnet: float32 [n, 24, 24, 3], normalised -> box offsets [n, 4], face or not [n, 2].
        onet: float32 [n, 48, 48, 3], normalised -> box offsets [n, 4], landmarks [n, 10] (five x, then five y), face or
            not [n, 2].
    """

    pnet: Network
    rnet: Network
    onet: Network


def load_networks() -> Networks:
    """Build and compile the three networks.

    Raises:
        MissingDependencyError: The package with the weights is not installed.
        FormatError: Its weights are not those of mtcnn 1.0.0.
    """
    folder = weights_folder()
    pnet, rnet, onet = (read_weights(folder, name) for name in ("pnet", "rnet", "onet"))
    return Networks(Network(build_pnet, pnet, (1,)), Network(build_rnet, rnet, (8,)), Network(build_onet, onet, (8, 2)))


class Network:
    """A compiled network. Several threads can share it; it works for one of them at a time.

    It is compiled for a few fixed numbers of pictures. The results for a picture are then the same in every batch,
    to the last bit. (Alone, O-Net's differ by 1e-7, so it takes two at least.)

    Args:
        build: Builds the graph for a number of pictures from the weights.
        weights: The arrays of the weight file.
        sizes: The numbers of pictures that the graph is compiled for, the largest first.
    """

    def __init__(
        self, build: Callable[[int, list[np.ndarray]], Any], weights: list[np.ndarray], sizes: tuple[int, ...]
    ) -> None:
        # The networks are too small for more than one thread.
        compiled = [compile_model(build(size, weights), threads=1, CPU_RUNTIME_CACHE_CAPACITY=PREPARED_KERNELS)
                    for size in sizes]  # fmt: skip
        self._requests = [(size, graph.create_infer_request()) for size, graph in zip(sizes, compiled, strict=True)]
        self._outputs = range(len(compiled[0].outputs))
        self._lock = threading.Lock()

    def __call__(self, pictures: NDArray[Any]) -> list[NDArray[np.float32]]:
        """Return the outputs for one or more pictures, each with one row for each picture."""
        with self._lock:
            parts = list(self._run(pictures))
        return [np.concatenate(output)[: len(pictures)] for output in zip(*parts, strict=True)]

    def _run(self, pictures: NDArray[Any]) -> Iterator[list[NDArray[np.float32]]]:
        """Yield the outputs for the next pictures; the last part may have more rows than pictures."""
        start = 0
        for size, request in self._requests:
            is_smallest = size == self._requests[-1][0]
            while len(pictures) - start >= (1 if is_smallest else size):
                part = pictures[start : start + size]
                if len(part) < size:
                    part = np.concatenate([part, *[part[-1:]] * (size - len(part))])
                request.set_input_tensor(openvino.Tensor(part))
                request.infer()
                yield [request.get_output_tensor(i).data.copy() for i in self._outputs]
                start += size


class GraphBuilder:
    """Adds layers with the next arrays of a weight file, which are in the order of the layers.

    Args:
        arrays: Kernels [kh, kw, in, out], dense weights [in, out], biases [out], slopes of PReLU [..., out].
    """

    def __init__(self, arrays: Iterable[np.ndarray]) -> None:
        self._arrays = iter(arrays)

    def convolution(self, x: Any, *, activated: bool = True) -> Any:
        """[B, in, H, W] -> [B, out, H - kh + 1, W - kw + 1]."""
        kernel = ops.constant(np.ascontiguousarray(self._next().transpose(3, 2, 0, 1)))
        convolved = ops.convolution(x, kernel, [1, 1], [0, 0], [0, 0], [1, 1])
        return self._finish(ops.add(convolved, ops.constant(self._next().reshape(1, -1, 1, 1))), activated)

    def dense(self, x: Any, *, activated: bool = False) -> Any:
        """[B, in] -> [B, out]."""
        product = ops.matmul(x, ops.constant(self._next()), transpose_a=False, transpose_b=False)
        return self._finish(ops.add(product, ops.constant(self._next().reshape(1, -1))), activated)

    def _finish(self, x: Any, activated: bool) -> Any:
        return ops.prelu(x, ops.constant(self._next().reshape(-1))) if activated else x

    def _next(self) -> NDArray[np.float32]:
        return np.ascontiguousarray(next(self._arrays), dtype=np.float32)


def build_pnet(size: int, arrays: Iterable[np.ndarray]) -> Any:
    """Build P-Net, which judges each 12x12 window of a picture of any size; see `Networks`."""
    builder, picture = GraphBuilder(arrays), ops.parameter([size, -1, -1, 3], np.uint8)
    level = ops.convert(picture, np.float32)
    level = ops.multiply(ops.subtract(level, np.float32(MEAN_LEVEL)), np.float32(1 / LEVEL_RANGE))
    x = _pool(builder.convolution(_channels_first(level)), 2, pad_end=True)
    x = builder.convolution(builder.convolution(x))
    return _graph(picture, builder.convolution(x, activated=False), builder.convolution(x, activated=False))


def build_rnet(size: int, arrays: Iterable[np.ndarray]) -> Any:
    """Build R-Net; see `Networks`."""
    builder, patch = GraphBuilder(arrays), ops.parameter([size, RNET_PIXELS, RNET_PIXELS, 3], np.float32)
    x = _pool(builder.convolution(_channels_first(patch)), 3, pad_end=True)
    x = _pool(builder.convolution(x), 3, pad_end=False)
    x = builder.dense(_flatten_by_columns(builder.convolution(x)), activated=True)
    return _graph(patch, builder.dense(x), builder.dense(x))


def build_onet(size: int, arrays: Iterable[np.ndarray]) -> Any:
    """Build O-Net; see `Networks`."""
    builder, patch = GraphBuilder(arrays), ops.parameter([size, ONET_PIXELS, ONET_PIXELS, 3], np.float32)
    x = _pool(builder.convolution(_channels_first(patch)), 3, pad_end=True)
    x = _pool(builder.convolution(x), 3, pad_end=False)
    x = _pool(builder.convolution(x), 2, pad_end=True)
    x = builder.dense(_flatten_by_columns(builder.convolution(x)), activated=True)
    return _graph(patch, builder.dense(x), builder.dense(x), builder.dense(x))


def _channels_first(x: Any) -> Any:
    """[B, H, W, C] -> [B, C, H, W]."""
    return ops.transpose(x, ops.constant([0, 3, 1, 2]))


def _pool(x: Any, kernel: int, *, pad_end: bool) -> Any:
    """Take the maxima of windows that are two apart; `pad_end`: also of those that reach beyond the last pixel."""
    rounding = "ceil" if pad_end else "floor"
    return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [kernel, kernel], rounding).output(0)


def _flatten_by_columns(x: Any) -> Any:
    """[B, C, H, W] -> [B, W * H * C]."""
    return ops.reshape(ops.transpose(x, ops.constant(COLUMNS_ROWS_CHANNELS)), ops.constant([0, -1]), special_zero=True)


def _graph(picture: Any, *outputs: Any) -> Any:
    """Return the graph with these outputs, the last of which are logits that become probabilities."""
    *values, logits = outputs
    return openvino.Model([*values, ops.softmax(logits, axis=1)], [picture], "")
