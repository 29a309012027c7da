"""What the networks of a plain and of an exported bundle have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from crnet.bundle.verify import require_file
from crnet.config import Config
from crnet.errors import FormatError
from crnet.types import Stream
from crnet.utils.files import file_version

if TYPE_CHECKING:
    from crnet.models.crnet import StreamNet
    from crnet.utils.openvino_runtime import openvino


class NetworksOnDisk(Mapping[Stream, "StreamNet"]):
    """The networks of a bundle's folder, by stream: graphs for prediction, and, if it holds them, PyTorch modules.

    They are read when they are first used, by each job of a service for itself. If another system is written into the
    folder meanwhile, they are refused: its networks do not belong to the trees and the hashes that were loaded.

    Args:
        folder: The bundle.
        config: How the system was trained.
    """

    suffixes: ClassVar[tuple[str, ...]]
    """Of the files of a network."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder.absolute()  # networks load later, perhaps from another working directory
        self._config = config
        self._versions = {path: file_version(path) for stream in config.streams for path in self._files(stream)}

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

    def _files(self, stream: Stream) -> list[Path]:
        return [self.folder / f"{stream}{suffix}" for suffix in self.suffixes]

    def _checked_files(self, stream: Stream) -> list[Path]:
        """Return the files of a network.

        Raises:
            FormatError: One is missing, or has changed since the bundle was opened.
        """
        files = self._files(stream)
        for path in files:
            require_file(path)
            if file_version(path) != self._versions[path]:
                raise FormatError(
                    "has changed since the bundle was opened",
                    path=path,
                    remedy="load the bundle again, or restart the service",
                )
        return files

    @abstractmethod
    def _module(self, stream: Stream) -> StreamNet:
        """Return the network of a stream that the system has."""

    @abstractmethod
    def graph(self, stream: Stream) -> openvino.Model:
        """Return the graph of a network, whose weights stay in the file's mapped memory.

        Raises:
            FormatError: The file is damaged or of another network.
        """
