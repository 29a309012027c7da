"""`crnet serve`: the web page and its API."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import AllowNoFace, Asr, Command, EncoderLocation, RunFolder, option
from crnet.errors import UsageError
from crnet.serve.limits import Limits


@dataclass(frozen=True)
class Serve(Command):
    """Serve a web page that scores videos.

    The page and its API (docs/serve.md) load nothing from other servers and send nothing to them. Each video is decoded
    and scored on the CPU in a resource-limited process, then deleted unless the user chooses to keep it for another
    run. Anyone who can reach the address can use the page.
    """

    run: RunFolder
    host: Annotated[str, option("Address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for all networks.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, option("Port to listen on; 0 picks a free port.")] = 7860
    asr: Asr = None
    encoder: EncoderLocation = None
    allow_no_face: AllowNoFace = False
    at_once: Annotated[int, option("Videos scored at the same time; each needs memory for the whole system.")] = 1
    max_upload_mb: Annotated[int, option("Largest video file in MB.")] = Limits.max_upload_mb
    max_duration_s: Annotated[float, option("Longest video in seconds.")] = Limits.max_duration_s
    max_time_s: Annotated[float, option("Longest processing time of one video, in seconds.")] = Limits.max_time_s
    max_memory_mb: Annotated[int, option("Memory limit for processing one video, in MB.")] = Limits.max_memory_mb
    max_waiting: Annotated[int, option("Maximum number of waiting videos; further requests are rejected.")] = (
        Limits.max_waiting
    )
    keep_minutes: Annotated[float, option("Minutes until results and unused uploads are deleted.")] = (
        Limits.keep_minutes
    )

    def __call__(self) -> int:
        """Serve until the process is stopped."""
        if not hasattr(os, "fork"):
            raise UsageError("this system cannot fork processes", remedy="serve from Linux, macOS or the container")
        from crnet.serve.server import serve

        limits = Limits(
            self.max_upload_mb,
            self.max_duration_s,
            self.max_time_s,
            self.max_memory_mb,
            self.max_waiting,
            self.keep_minutes,
        )
        serve(
            self.run,
            host=self.host,
            port=self.port,
            parallel_videos=self.at_once,
            limits=limits,
            encoder=self.encoder,
            asr=self.asr,
            allow_no_face=self.allow_no_face,
            announce=lambda url: print(f"{url} (Ctrl-C stops the server)", flush=True),
        )
        return EXIT_DONE
