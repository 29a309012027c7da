"""Small videos without people, for tests."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np


def write_grey_video(path: Path, *, seconds: float, fps: int = 2, size: int = 32) -> Path:
    """Write a grey video that becomes brighter."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("h264", rate=fps)
        stream.width = stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * fps)):
            image = np.full((size, size, 3), number % 200, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path
