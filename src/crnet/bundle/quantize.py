"""Quantise a graph to 8-bit weights and activations, after training, with NNCF."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO

import numpy as np

from crnet.errors import MissingDependencyError
from crnet.models.openvino_graph import BACKBONE
from crnet.utils.extras import install_command
from crnet.utils.openvino_runtime import openvino, without_telemetry


def quantize(model: openvino.Model, inputs: Iterable[Mapping[str, np.ndarray]], clips: int) -> openvino.Model:
    """Return a graph whose convolutions compute in int8.

    Args:
        model: The graph in float32; it stays as it is.
        inputs: Its inputs for the clips whose activations decide the steps of int8.
        clips: Their number.

    Raises:
        MissingDependencyError: The package nncf is not installed.
    """
    try:
        with without_telemetry():
            import nncf
    except ModuleNotFoundError as error:
        raise MissingDependencyError("int8 needs the package nncf", remedy=install_command("nncf")) from error
    logging.getLogger("nncf").setLevel(logging.ERROR)  # its `set_log_level` also changes handlers that are not its own
    names = [node.get_friendly_name() for node in model.get_ops()]
    # Heads and text regression take no time, and scores need their digits. In 8 bits, quiet sound would be silence.
    exact = [name for name in names if not name.startswith(BACKBONE)]
    if model.friendly_name == "audio-text":
        exact.append(f"{BACKBONE}conv1")
    scope = nncf.IgnoredScope(names=exact, validate=False)
    dataset = nncf.Dataset(list(inputs))
    with redirect_stdout(StringIO()):  # nncf prints its progress
        quantized: openvino.Model = nncf.quantize(model.clone(), dataset, subset_size=clips, ignored_scope=scope)
    return quantized
