"""What the networks of a plain and of an exported bundle have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from crnet.config import Config
from crnet.types import Stream

if TYPE_CHECKING:
    from crnet.models.crnet import StreamNet
    from crnet.utils.openvino_runtime import openvino


class NetworksOnDisk(Mapping[Stream, "StreamNet"]):
    """The networks of a bundle's folder, by stream: graphs for prediction, and, if it holds them, PyTorch modules.

    Args:
        folder: The bundle.
        config: How the system was trained.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder.absolute()  # networks load later, perhaps from another working directory
        self._config = config

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._config.streams)

    def __len__(self) -> int:
        return len(self._config.streams)

    def __contains__(self, stream: object) -> bool:
        return stream in self._config.streams

    def __getitem__(self, stream: Stream) -> StreamNet:
        """Return a network in evaluation mode, on the CPU.

        Raises:
            KeyError: The system does not have this stream.
            CrnetError: There is no such network to load; see the class of the bundle.
        """
        if stream not in self._config.streams:
            raise KeyError(stream)
        return self._module(stream)

    @abstractmethod
    def _module(self, stream: Stream) -> StreamNet:
        """Return the network of a stream that the system has."""

    @abstractmethod
    def graph(self, stream: Stream) -> openvino.Model:
        """Return the graph of a network, whose weights stay in the file's mapped memory.

        Raises:
            FormatError: The file is damaged or of another network.
        """
