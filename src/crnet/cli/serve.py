"""`crnet serve`: the web page and its API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from crnet.cli.exit_codes import EXIT_DONE
from crnet.errors import UsageError

if TYPE_CHECKING:
    pass


def serve(
    run: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    asr: str | None = None,
    encoder: str | None = None,
    at_once: int = 1,
    max_upload_mb: int = 100,
    max_duration_s: float = 120.0,
    max_time_s: float = 300.0,
    max_memory_mb: int = 4096,
    max_waiting: int = 20,
    keep_min: float = 30.0,
) -> int:
    """Serve a web page where people drop a video and see its scores.

    The page and its HTTP API (docs/serve.md) fetch nothing from elsewhere and send nothing elsewhere. Videos are
    decoded in processes with limits, scored one after the other, and deleted. Whoever can reach the address can use it.

    Args:
        run: A run that `crnet train` finished, or its bundle.
        host: Address to listen at; 127.0.0.1 is reachable from this machine only, 0.0.0.0 from everywhere.
        port: Port to listen at; 0 takes a free one.
        asr: Speech recognition for videos that come without words: name or folder of a model for faster-whisper that
            is on this machine.
        encoder: Where the system's text encoder is now, such as skip-thoughts:FOLDER, if not where it was in training.
        at_once: Videos scored at the same time; each holds the system in memory.
        max_upload_mb: Largest video file.
        max_duration_s: Longest video.
        max_time_s: Longest time that one video is worked on.
        max_memory_mb: Memory that the work on one video may take.
        max_waiting: Videos that may wait; who comes then is sent away.
        keep_min: Minutes that results can be downloaded; uploads that nobody scored go after that time, too.
    """
    if not hasattr(os, "fork"):
        raise UsageError("this system cannot fork processes", remedy="serve from Linux, macOS or the container")
    from crnet.serve.limits import Limits
    from crnet.serve.server import serve as serve_page

    limits = Limits(max_upload_mb, max_duration_s, max_time_s, max_memory_mb, max_waiting, keep_min)

    def announce(url: str) -> None:
        print(f"{url} (Ctrl-C ends it)", flush=True)

    serve_page(run, host=host, port=port, at_once=at_once, limits=limits, encoder=encoder, asr=asr, announce=announce)
    return EXIT_DONE
