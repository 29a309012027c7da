"""OpenVINO, which runs trained networks: the only module that imports it, because an import sends usage data.

`import openvino` reports itself to its maker's web analytics, writes an identifier into the user's home folder, and
takes a fifth longer for it, unless the package `openvino_telemetry` is missing. So it is hidden during the import. It
also imports its converter of other formats, which takes twice as long as everything else; here that waits for its use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from crnet.errors import FormatError
from crnet.utils.cores import available_cores

TELEMETRY, CONVERTER = "openvino_telemetry", "openvino.tools.ovc"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Hide the package that sends usage data, while a package that would use it is imported."""
    installed = sys.modules.pop(TELEMETRY, None)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # Python's own way to say: it cannot be imported
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]
        if installed is not None:
            sys.modules[TELEMETRY] = installed


@contextmanager
def with_late_converter() -> Iterator[None]:
    """Let `openvino.convert_model` import its module when it is first called, rather than `import openvino`."""
    if CONVERTER in sys.modules:
        yield
        return
    stand_in = ModuleType(CONVERTER)
    stand_in.convert_model = _convert_model  # type: ignore[attr-defined]
    sys.modules[CONVERTER] = stand_in
    try:
        yield
    finally:
        del sys.modules[CONVERTER]


def _convert_model(*arguments: Any, **options: Any) -> Any:
    with without_telemetry():
        converter = import_module(CONVERTER)
    return converter.convert_model(*arguments, **options)


with without_telemetry(), with_late_converter():
    import openvino
    from openvino import opset13 as ops

if TYPE_CHECKING:
    from pathlib import Path

    from openvino import CompiledModel, Core, Model

__all__ = [
    "compile_model",
    "cpu_threads",
    "load_plugin",
    "openvino",
    "ops",
    "read_graph",
    "reason_of",
    "without_telemetry",
]


@lru_cache(maxsize=1)
def _core() -> Core:
    return openvino.Core()


def load_plugin() -> None:
    """Load the library that computes on the CPU: children that are forked afterwards share it. It starts no thread."""
    _core().get_versions("CPU")


def cpu_threads() -> int:
    """Return the number of threads to compute with: `OMP_NUM_THREADS`, or one for each core of this process.

    Threads beyond the limit of a container would use up its time at once and then stand still, all of them.
    """
    configured = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # a list is for nested loops
    return int(configured) if configured.isdigit() and int(configured) else available_cores()


def read_graph(
    path: Path,
    max_bytes: int,
    max_weights_bytes: int,
    remedy: str,
    check: Callable[[bytes], None] = lambda description: None,
) -> Model:
    """Read a graph, whose weights stay in the mapped memory of the file beside it.

    Args:
        path: The description, `NAME.xml`; the weights are in `NAME.bin`.
        max_bytes, max_weights_bytes: Sizes of the largest files to read.
        remedy: What the user can do about a graph that cannot be read, for the error.
        check: Refuses a description before OpenVINO reads it, which may compute parts of it.

    Raises:
        FormatError: A file is missing, empty, too large, or no graph.
    """
    weights = path.with_suffix(".bin")
    for file, limit_bytes in ((path, max_bytes), (weights, max_weights_bytes)):
        size = file.stat().st_size if file.is_file() else 0
        if not 0 < size <= limit_bytes:
            raise FormatError(f"has {size} bytes, expected 1 to {limit_bytes}", path=file, remedy=remedy)
    description = path.read_bytes()
    if b"<!" in description:
        raise FormatError("a graph with a document type is refused", path=path, remedy=remedy)
    check(description)
    try:
        return _core().read_model(path, weights)
    except RuntimeError as error:
        reason = f"not a graph that OpenVINO reads: {reason_of(error)}"
        raise FormatError(reason, path=path, remedy=remedy) from error


def reason_of(error: RuntimeError) -> str:
    """Return the part of OpenVINO's message that says what is wrong."""
    return str(error).strip().splitlines()[-1][:200]


def compile_model(model: Model, *, threads: int, **properties: Any) -> CompiledModel:
    """Compile a graph for the CPU.

    All processors compute in float32: by itself, OpenVINO would choose bfloat16 where there are instructions for it.

    Args:
        model: The graph.
        threads: Number of compute threads. They are not bound to cores, or all worker processes would share the first.
        properties: Further properties of OpenVINO's CPU plugin.

    Raises:
        FormatError: The graph cannot be compiled, or the memory does not suffice for it.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
        **properties,
    }
    try:
        return _core().compile_model(model, "CPU", settings)
    except RuntimeError as error:
        reason = f"OpenVINO cannot compile the graph {model.friendly_name!r}: {reason_of(error)}"
        raise FormatError(reason, remedy="free memory, or get the model again from a source that you trust") from error
