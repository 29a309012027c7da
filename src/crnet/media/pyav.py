"""The parts of PyAV that this package uses. A missing PyAV is reported here, and nowhere else."""

from __future__ import annotations

from crnet.errors import MissingDependencyError
from crnet.utils.extras import install_command

try:
    import av
    from av.sidedata.sidedata import Type as SideDataType
    from av.stream import Disposition
    from av.video.reformatter import Interpolation, VideoReformatter
except ImportError as error:
    raise MissingDependencyError("reading videos needs the package av", remedy=install_command("av")) from error

__all__ = ["Disposition", "Interpolation", "SideDataType", "VideoReformatter", "av"]
