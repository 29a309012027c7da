"""`crnet predict`: score videos."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE, EXIT_ERROR, EXIT_FAILURES
from crnet.cli.options import (
    AllowNoFace,
    Asr,
    Command,
    DeviceOption,
    EncoderLocation,
    Flag,
    PrecisionOption,
    RunFolder,
    Transcript,
    option,
)
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json, show_prediction
from crnet.cli.usage_errors import missing_arguments
from crnet.errors import UsageError


@dataclass(frozen=True)
class Predict(Command):
    """Score videos with a trained system.

    Folders are searched for videos. If a file cannot be scored, the reason is reported, the other files are still
    scored, and the exit code is 1 (2 if there was only one video). Scores are strangers' impressions, not facts. A high
    neuroticism score means that the person seems emotionally stable.
    """

    run: RunFolder
    videos: Annotated[Positional[tuple[Path, ...]], option("Video files and folders.", "VIDEO")] = ()
    transcript: Transcript = None
    asr: Asr = None
    encoder: EncoderLocation = None
    device: DeviceOption = "auto"
    precision: PrecisionOption = "float32"
    allow_no_face: AllowNoFace = False
    json: Annotated[
        Flag, option("Print JSON on stdout: one document for one video, one line per video for several.")
    ] = False
    csv: Annotated[Path | None, option("Also write the scores to this CSV file, one row per video.", "FILE.csv")] = None

    def __call__(self) -> int:
        """Score each video and print its scores as soon as they are known."""
        import crnet
        from crnet.data.video_files import list_videos
        from crnet.report.prediction_csv import open_prediction_csv

        if not self.videos:
            raise missing_arguments("predict", type(self), ())
        paths = list_videos(self.videos)
        if self.transcript is not None and len(paths) != 1:
            raise UsageError(
                f"one transcript for {len(paths)} videos", remedy="put a .txt file beside each video instead"
            )
        system = crnet.load(self.run, self.device, encoder=self.encoder, asr=self.asr, precision=self.precision)
        failures, error = 0, None
        table = contextlib.nullcontext(lambda _: None) if self.csv is None else open_prediction_csv(self.csv)
        with table as write_row, progress_display(self.quiet) as progress:
            for number, path in enumerate(paths, start=1):
                prediction = system.try_predict(path, self.transcript, allow_no_face=self.allow_no_face)
                write_row(prediction)
                error = prediction.error
                failures += error is not None
                if len(paths) > 1:
                    progress("scoring", number, len(paths), prediction.error or "")
                if self.json:
                    print_json(prediction.to_dict(), indent=None if len(paths) > 1 else 2)
                else:
                    show_prediction(prediction)
        if len(paths) == 1 and error is not None:
            print(f"crnet: {error}", file=sys.stderr)
            return EXIT_ERROR
        return EXIT_FAILURES if failures else EXIT_DONE
