"""A reader for tests of batches, which worker processes can import: the content of a file decides what happens."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from crnet.errors import MediaError, MissingDependencyError, StorageError
from crnet.types import Clip
from synthetic import make_clip


def fake_read(path: Path, settings: object, *, allow_still: bool) -> Clip:
    """Return a clip of noise, or fail."""
    content = path.read_text() if path.is_file() else "missing"
    match content:
        case "bad" | "missing":
            raise MediaError("not a video", path=path, remedy="give a video")
        case "odd":
            raise ZeroDivisionError("oh")
        case "disk full":
            raise StorageError("disk full")
        case "no decoder":
            raise MissingDependencyError("no av")
        case "crash":
            ctypes.string_at(0)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "hang":
            time.sleep(60)
        case "leave a note":
            path.with_suffix(".note").touch()
        case "slow":
            time.sleep(1)
    return make_clip(str(path), trend=len(content) / 10)
