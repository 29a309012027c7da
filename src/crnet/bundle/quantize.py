"""Quantise a graph to 8-bit weights and activations, after training, with NNCF."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from io import StringIO

import numpy as np

from crnet.errors import MissingDependencyError
from crnet.models.openvino_graph import BACKBONE
from crnet.types import Stream
from crnet.utils.extras import install_command
from crnet.utils.openvino_runtime import openvino, without_telemetry

QUANTIZED_STREAMS: tuple[Stream, ...] = ("scene", "face")
"""The network of the sound takes the least time, and in 8 bits it moves scores most: quiet sound has few steps."""


def quantize(model: openvino.Model, inputs: Iterable[Mapping[str, np.ndarray]], clips: int) -> openvino.Model:
    """Return the graph of a visual stream whose convolutions compute in int8.

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
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    names = [node.get_friendly_name() for node in model.get_ops()]
    # The head takes no time, and scores need its digits.
    scope = nncf.IgnoredScope(names=[name for name in names if not name.startswith(BACKBONE)], validate=False)
    # By default, activations beyond the mean of the clips' extremes are cut off.
    whole_range = nncf.AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
    )
    with redirect_stdout(StringIO()):  # nncf prints its progress
        quantized: openvino.Model = nncf.quantize(
            model.clone(),
            nncf.Dataset(list(inputs)),
            subset_size=clips,
            fast_bias_correction=False,  # the fast one leaves more of the error
            ignored_scope=scope,
            advanced_parameters=whole_range,
        )
    return quantized
