"""`crnet prepare`: from a dataset to a clip store."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import DisallowNone, Positional

from crnet.cli.exit_codes import EXIT_DONE, EXIT_FAILURES
from crnet.cli.options import Asr, Command, Engine, Json, MaxMemory, MaxTime, NewEncoder, Workers, option
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json
from crnet.errors import printable
from crnet.media.limits import FileLimits
from crnet.text.encoders import DEFAULT_ENCODER
from crnet.utils.executors import LOCAL

FAILURES_SHOWN = 10
CHANGES_SHOWN = 10  # clips


@dataclass(frozen=True)
class Prepare(Command):
    """Turn a dataset into a clip store of frames, faces, sound and text.

    Reads the First Impressions v2 release in any form (nested zips, encrypted test zips, unpacked folders), the output
    of `crnet simulate`, or a folder of videos with a CSV file (docs/data.md). The keys of encrypted zips come from
    CRNET_FIV2_KEY_<NAME OF THE ZIP> or CRNET_FIV2_KEY; on a terminal, the command asks for the others. An encrypted
    zip without a key is skipped with a warning, and the same command with its key adds its clips. Videos that cannot
    be read are listed in STORE/failures.csv. If it is interrupted, run the same command again to continue.
    """

    resumes = True

    source: Annotated[Positional[Path], option("The dataset: a folder, a CSV file, or a zip of the release.")]
    store: Annotated[Positional[Path], option("Folder for the new clip store.")]
    workers: Workers = None
    engine: Engine = LOCAL
    frames_per_segment: Annotated[
        int | None, DisallowNone, option("Number of frames to keep from each of the 32 segments (default: all).")
    ] = None
    pixels: Annotated[int, option("Height and width of the stored frames, in pixels.")] = 112
    encoder: NewEncoder = DEFAULT_ENCODER
    asr: Asr = None
    max_time_s: MaxTime = FileLimits.max_time_s
    max_memory_mb: MaxMemory = FileLimits.max_memory_mb
    json: Json = False

    def __call__(self) -> int:
        """Prepare every clip that is not in the store yet, and list the failures."""
        from crnet.data.failures import FAILURES_NAME
        from crnet.data.prepare import prepare
        from crnet.media.settings import MediaSettings
        from crnet.text.asr import FasterWhisper
        from crnet.text.encoders import encoder_by_name

        encoder = encoder_by_name(self.encoder)
        with progress_display(self.quiet) as progress:
            report = prepare(
                self.source,
                self.store,
                workers=self.workers,
                settings=MediaSettings(pixels=self.pixels, frames_per_segment=self.frames_per_segment),
                encoder=encoder,
                recogniser=None if self.asr is None else FasterWhisper(self.asr),
                progress=progress,
                limits=FileLimits(self.max_time_s, self.max_memory_mb),
                engine=self.engine,
            )
        failures = [vars(failure) for failure in report.failures]
        if self.json:
            counts = {"done": report.done, "skipped": report.skipped}
            locked = [{"path": archive.path, "remedy": archive.remedy} for archive in report.locked]
            changed = list(report.changed)
            document = {"store": str(self.store), **counts, "failures": failures, "locked": locked, "changed": changed}
            print_json(document)
        else:
            print(f"{self.store}: {report.done} clips prepared, {report.skipped} already were, {len(failures)} failed")
            if report.changed:
                shown = ", ".join(report.changed[:CHANGES_SHOWN])
                more = len(report.changed) - CHANGES_SHOWN
                names = shown if more <= 0 else f"{shown} and {more} more (--json lists all)"
                print(f"read differently than by the version that wrote the store, so prepared again: {names}")
            if report.locked:
                print(f"encrypted zips without a key, which were skipped: {len(report.locked)}")
        for failure in report.failures[:FAILURES_SHOWN]:
            print(printable(f"failed: {failure.path}: {failure.reason} ({failure.remedy})"), file=sys.stderr)
        if failures:
            print(f"all failures: {self.store / FAILURES_NAME}", file=sys.stderr)
        return EXIT_FAILURES if failures else EXIT_DONE
