"""OpenVINO is imported without its telemetry and computes in float32."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from crnet.errors import FormatError
from crnet.utils.openvino_runtime import compile_model, openvino, ops

IMPORT = """
import sys
import crnet.utils.openvino_runtime
print([name for name in sys.modules if name.startswith("openvino_telemetry") or name in ("torch", "urllib.request")])
print([name for name in sys.modules if name.startswith("openvino.tools.ovc")])
import openvino
try:
    openvino.convert_model("missing.onnx")
except Exception as error:
    print(type(error).__module__.split(".")[0], "openvino.tools.ovc" in sys.modules)
"""


def test_the_import_loads_neither_telemetry_nor_the_converter_and_writes_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["[]", "[]", "openvino True"]
    assert not list(tmp_path.iterdir())


def test_a_graph_that_cannot_be_compiled_is_an_error_in_one_line() -> None:
    x = ops.parameter([1, 3, 16, 16], np.float32)
    convolved = ops.convolution(x, ops.constant(np.ones((8, 3, 3, 3), np.float32)), [1, 1], [-5, -5], [0, 0], [1, 1])
    with pytest.raises(FormatError, match=r"cannot compile the graph 'odd'.*get the model again"):
        compile_model(openvino.Model([convolved], [x], "odd"), threads=1)


def test_a_product_is_exact_in_float32() -> None:
    """1 + 2 ** -12 has 13 bits: bfloat16 would round it to 1."""
    x = ops.parameter([1, 64], np.float32)
    weights = np.full((64, 64), 1 + 2.0**-12, np.float32)
    product = ops.matmul(x, ops.constant(weights), False, False)
    request = compile_model(openvino.Model([product], [x], "product"), threads=1).create_infer_request()
    request.infer([np.ones((1, 64), np.float32)])
    assert np.all(request.get_output_tensor().data == 64 * (1 + 2.0**-12))
