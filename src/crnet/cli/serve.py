"""`crnet serve`: the REST API and its page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import DisallowNone

from crnet.cli.exit_codes import EXIT_DONE
from crnet.cli.options import AllowNoFace, Asr, Command, EncoderLocation, RunFolder, option
from crnet.errors import UsageError
from crnet.serve.limits import Limits


@dataclass(frozen=True)
class Serve(Command):
    """Serve a REST API and a web page that score videos.

    Both (docs/serve.md) load nothing from other servers and send nothing to them. Each video is decoded and scored on
    the CPU in a resource-limited process, then deleted. Without --api-keys, anyone who can reach the address can use
    the server.
    """

    run: RunFolder
    host: Annotated[str, option("Address to listen on: 127.0.0.1 for this machine only, 0.0.0.0 for all networks.")] = (
        "127.0.0.1"
    )
    port: Annotated[int, option("Port to listen on; 0 picks a free port.")] = 7860
    asr: Asr = None
    encoder: EncoderLocation = None
    allow_no_face: AllowNoFace = False
    workers: Annotated[int, option("Videos scored at the same time; each needs memory for the whole system.")] = 1
    max_upload_mb: Annotated[int, option("Largest video file in MB.")] = Limits.max_upload_mb
    max_duration_s: Annotated[float, option("Longest video in seconds.")] = Limits.max_duration_s
    max_time_s: Annotated[float, option("Longest processing time of one video, in seconds.")] = Limits.max_time_s
    max_memory_mb: Annotated[int, option("Memory limit for processing one video, in MB.")] = Limits.max_memory_mb
    max_waiting: Annotated[int, option("Maximum number of waiting videos; further requests are rejected.")] = (
        Limits.max_waiting
    )
    keep_minutes: Annotated[float, option("Minutes until results are deleted.")] = Limits.keep_minutes
    upload_minutes: Annotated[float, option("Minutes in which a video must be uploaded and its job created.")] = (
        Limits.upload_minutes
    )
    rate_limit: Annotated[int, option("Most requests of a client to the API in a minute; 0: no limit.")] = 0
    trusted_proxy: Annotated[
        tuple[str, ...],
        option("Addresses or networks of proxies, such as 10.0.0.0/8, that name the client.", "ADDRESS ..."),
    ] = ()
    api_keys: Annotated[
        Path | None, DisallowNone, option("Text file with one API key per line; requests then need one.", "FILE")
    ] = None
    allowed_host: Annotated[
        tuple[str, ...],
        option(
            "Names under which clients reach the server, such as faces.example.org or *.example.org. IP addresses and "
            "localhost are always allowed.",
            "NAME ...",
        ),
    ] = ()
    allowed_origin: Annotated[
        tuple[str, ...],
        option("Other sites whose pages may use the API, such as https://example.org.", "URL ..."),
    ] = ()
    frame_ancestor: Annotated[tuple[str, ...], option("Other sites that may show the page in a frame.", "URL ...")] = ()
    video_folder: Annotated[
        Path | None, DisallowNone, option("Folder of videos on this machine that jobs may name.", "FOLDER")
    ] = None
    stop_timeout_s: Annotated[float, option("Seconds that running jobs get to finish when the server is stopped.")] = (
        10.0
    )

    def __call__(self) -> int:
        """Serve until the process is stopped."""
        if not hasattr(os, "fork"):
            raise UsageError("this system cannot fork processes", remedy="serve from Linux, macOS or the container")
        from crnet.serve.access import AccessPolicy, read_keys
        from crnet.serve.server import ServerConfig, serve

        config = ServerConfig(
            host=self.host,
            port=self.port,
            workers=self.workers,
            limits=Limits(
                self.max_upload_mb,
                self.max_duration_s,
                self.max_time_s,
                self.max_memory_mb,
                self.max_waiting,
                self.keep_minutes,
                self.upload_minutes,
            ),
            access=AccessPolicy(
                allowed_hosts=self.allowed_host,
                allowed_origins=self.allowed_origin,
                frame_ancestors=self.frame_ancestor,
                keys=() if self.api_keys is None else read_keys(self.api_keys),
                rate_limit=self.rate_limit,
                trusted_proxies=self.trusted_proxy,
            ),
            video_folder=self.video_folder,
            allow_no_face=self.allow_no_face,
            stop_timeout_s=self.stop_timeout_s,
        )
        serve(
            self.run,
            config,
            encoder=self.encoder,
            asr=self.asr,
            announce=lambda url: print(f"{url} (Ctrl-C stops the server)", flush=True),
        )
        return EXIT_DONE
