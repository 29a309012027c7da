"""The networks of a bundle: as graphs for prediction, and as PyTorch modules for whoever needs gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast

from crnet.bundle.exported import ExportedNetworks
from crnet.bundle.networks_on_disk import NetworksOnDisk
from crnet.bundle.verify import require_file
from crnet.config import Config
from crnet.data.tensor_file import MAX_MAPPED_BYTES, TensorFile
from crnet.errors import FormatError, MissingDependencyError
from crnet.types import Stream
from crnet.utils.extras import install_command

if TYPE_CHECKING:
    from crnet.models.crnet import StreamNet
    from crnet.models.openvino_graph import Weights
    from crnet.utils.openvino_runtime import openvino


class StoredNetworks(NetworksOnDisk):
    """The networks of a bundle's folder. Each is loaded when it is first asked for; that alone needs PyTorch."""

    suffixes = (".safetensors",)

    def __init__(self, folder: Path, config: Config) -> None:
        super().__init__(folder, config)
        self._loaded: dict[Stream, StreamNet] = {}

    def _module(self, stream: Stream) -> StreamNet:
        """Return a network; load it if it is new.

        Raises:
            FormatError: The file is damaged or of another network.
            MissingDependencyError: PyTorch is not installed.
        """
        if stream not in self._loaded:
            self._checked_files(stream)
            self._loaded[stream] = load_net(stream, self._config, self.folder)
        return self._loaded[stream]

    def graph(self, stream: Stream) -> openvino.Model:
        """Return the graph of a network, whose weights stay in the file's mapped memory.

        Raises:
            FormatError: The file is damaged or of another network.
        """
        (path,) = self._checked_files(stream)
        try:
            weights = TensorFile(path, MAX_MAPPED_BYTES).map()
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FormatError(f"its weights cannot be read: {error}", path=path) from error
        return _build(stream, self._config, weights, path)


def load_net(stream: Stream, config: Config, folder: Path) -> StreamNet:
    """Load a network of a bundle as a PyTorch module; see `crnet.models.load_net`.

    Raises:
        FormatError: The file is damaged or of another network.
        MissingDependencyError: PyTorch is not installed.
    """
    path = folder / f"{stream}.safetensors"
    require_file(path)
    try:
        loader = import_module("crnet.models.load_net")  # prediction must not need PyTorch
    except ModuleNotFoundError as error:
        raise MissingDependencyError("this needs PyTorch", remedy=install_command("torch")) from error
    return cast("StreamNet", loader.load_net(stream, config.model, path))


def why_no_gradients(networks: Mapping[Stream, StreamNet]) -> str | None:
    """Return why no gradients of the networks can be computed; None if they can."""
    if isinstance(networks, ExportedNetworks):
        return "the bundle is exported; explain the run that it was exported from"
    return None if find_spec("torch") else f"PyTorch is not installed ({install_command('torch')})"


def graphs(networks: Mapping[Stream, StreamNet], config: Config) -> dict[Stream, Callable[[], openvino.Model]]:
    """Return a function for each network that builds its graph.

    Args:
        networks: Networks on disk or in memory.
        config: How the system was trained.
    """
    if isinstance(networks, NetworksOnDisk):
        return {stream: partial(networks.graph, stream) for stream in networks}
    return {stream: partial(_graph_of_module, net, config) for stream, net in networks.items()}


def _graph_of_module(net: StreamNet, config: Config) -> openvino.Model:
    weights = {name: tensor.detach().cpu().numpy() for name, tensor in net.state_dict().items()}
    return _build(net.stream, config, weights, None)


def _build(stream: Stream, config: Config, weights: Weights, path: Path | None) -> openvino.Model:
    from crnet.models.openvino_graph import build_graph

    try:
        return build_graph(stream, config.model, config.transforms, weights)
    except FormatError as error:
        error.path = path
        raise
