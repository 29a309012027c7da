"""Trained networks on OpenVINO, which scores clips on the CPU without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Protocol

import numpy as np

from crnet.errors import FormatError
from crnet.models.openvino_graph import FEATURES, SCORES
from crnet.types import Batch, Stream
from crnet.utils.device import ComputePrecision
from crnet.utils.openvino_runtime import compile_model, cpu_threads, openvino

if TYPE_CHECKING:
    from jaxtyping import Float32

    Outputs = tuple[dict[Stream, Float32[np.ndarray, "B 6 F"]], dict[Stream, Float32[np.ndarray, "B 6"]]]


class Networks(Protocol):
    """Trained networks that prediction can run.

    Attributes:
        threads: Number of computing threads, if it is set before they run for the first time; None: `cpu_threads`.
    """

    threads: int | None

    def compile(self) -> None:
        """Do now what else happens when they run for the first time."""

    def run(self, batch: Batch) -> Outputs:
        """Return the features f_reg_p [B, 6, F] and the scores [B, 6] of each stream, in float32, not bounded.

        Raises:
            FormatError: The batch lacks a stream.
        """

    def run_one(self, stream: Stream, batch: Batch) -> Outputs:
        """Do the same for one stream alone."""


def stream_inputs(stream: Stream, batch: Batch, clip: int) -> dict[str, np.ndarray]:
    """Return the inputs of a stream's graph, for one clip of a batch.

    Raises:
        FormatError: The batch lacks the stream.
    """
    inputs = {}
    for name in ("audio", "text") if stream == "audio-text" else (stream,):
        array = getattr(batch, name)
        if array is None:
            raise FormatError(f"the batch has no {name} for the {stream} stream")
        inputs[name] = np.ascontiguousarray(array[clip : clip + 1])
    return inputs


class OpenVinoNetworks:
    """Networks that are compiled when they are first used, for one clip at a time. Several threads can share them.

    A clip's result therefore depends neither on the batch that it is in nor on the CPU: float32 is float32 everywhere,
    although OpenVINO would choose bfloat16 on CPUs that have it.

    Args:
        graphs: Returns the graph of each stream.
        precision: What the networks compute in.
        threads: Number of computing threads; None: `cpu_threads`.
    """

    def __init__(
        self,
        graphs: Mapping[Stream, Callable[[], openvino.Model]],
        precision: ComputePrecision = "float32",
        threads: int | None = None,
    ) -> None:
        self.threads = threads
        self._graphs = graphs
        self._precision = {"float32": "f32", "bfloat16": "bf16"}[precision]
        self._compiled: dict[Stream, _CompiledNetwork] = {}
        self._lock = Lock()

    def compile(self) -> None:
        """Compile every network now. No process may be forked afterwards, because threads do not survive a fork."""
        for stream in self._graphs:
            self._network(stream)

    def run(self, batch: Batch) -> Outputs:
        """See `Networks.run`."""
        outputs = [self.run_one(stream, batch) for stream in self._graphs]
        features = {stream: array for part, _ in outputs for stream, array in part.items()}
        return features, {stream: array for _, part in outputs for stream, array in part.items()}

    def run_one(self, stream: Stream, batch: Batch) -> Outputs:
        """See `Networks.run_one`."""
        network = self._network(stream)
        results = [network(stream_inputs(stream, batch, clip)) for clip in range(len(batch))]
        features, scores = (np.concatenate([result[name] for result in results]) for name in (FEATURES, SCORES))
        return {stream: features}, {stream: scores}

    def _network(self, stream: Stream) -> _CompiledNetwork:
        with self._lock:
            if stream not in self._compiled:
                threads, hint = self.threads or cpu_threads(), self._precision
                compiled = compile_model(self._graphs[stream](), threads=threads, INFERENCE_PRECISION_HINT=hint)
                self._compiled[stream] = _CompiledNetwork(compiled.create_infer_request())
            return self._compiled[stream]


class _CompiledNetwork:
    """A compiled network. It works for one thread at a time, or one would read the results of another."""

    def __init__(self, request: openvino.InferRequest) -> None:
        self._request = request
        self._lock = Lock()

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return features and scores for one clip."""
        with self._lock:
            self._request.infer(inputs, share_inputs=True)
            return {name: self._request.get_tensor(name).data.copy() for name in (FEATURES, SCORES)}
