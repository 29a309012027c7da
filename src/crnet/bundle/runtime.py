"""What runs the networks of a bundle: OpenVINO on the CPU, PyTorch on a GPU."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from crnet.bundle.bundle import Bundle
from crnet.bundle.exported import ExportedNetworks
from crnet.bundle.stored_networks import graphs
from crnet.utils.device import Device, Precision, choose_device, prediction_precision, uses_gpu

if TYPE_CHECKING:
    from crnet.models.openvino_networks import Networks


def open_networks(bundle: Bundle, device: Device = "auto", precision: Precision = "auto") -> Networks:
    """Return the networks of a bundle, ready to run.

    Args:
        bundle: The trained system.
        device: Where they run; auto is a GPU if there is one, PyTorch is installed and the bundle is not exported.
        precision: What they compute in.

    Raises:
        ConfigError: The device is not available, or slow in this precision.
        MissingDependencyError: A GPU is asked for, and PyTorch is not installed.
        UsageError: A GPU is asked for, and the bundle is exported.
    """
    if (device == "auto" and isinstance(bundle.networks, ExportedNetworks)) or not uses_gpu(device):
        from crnet.models.openvino_networks import OpenVinoNetworks

        return OpenVinoNetworks(graphs(bundle.networks, bundle.config), prediction_precision(precision, "cpu"))
    chosen = choose_device(device)
    networks = import_module("crnet.models.inference").TorchNetworks  # nothing else in prediction needs PyTorch
    return cast("Networks", networks(bundle.networks, chosen, prediction_precision(precision, chosen.type)))
