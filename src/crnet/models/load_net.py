"""Load a trained network as a PyTorch module, for gradients, a GPU, or further training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from crnet.errors import FormatError
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.types import Stream


def load_net(stream: Stream, config: ModelConfig, path: Path) -> StreamNet:
    """Load a network in evaluation mode, on the CPU.

    Args:
        stream: The stream.
        config: The shape of its network.
        path: The safetensors file of its weights.

    Raises:
        FormatError: The file is damaged or of another network.
    """
    with torch.device("meta"):  # no memory and no initial weights: the file has all of them
        net = StreamNet(stream, replace(config, init=None))
    try:
        net.load_state_dict(load_file(path), assign=True)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise FormatError(f"its weights do not fit the configuration: {str(error)[:300]}", path=path) from error
    return net.float().eval()
