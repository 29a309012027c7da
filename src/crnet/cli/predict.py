"""`crnet predict`: score videos."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional

from crnet.cli.exit_codes import EXIT_DONE, EXIT_ERROR, EXIT_FAILURES
from crnet.cli.options import (
    AllowNoFace,
    Asr,
    Command,
    DeviceOption,
    EncoderLocation,
    Flag,
    MaxMemory,
    MaxTime,
    PrecisionOption,
    RunFolder,
    Transcript,
    Workers,
    option,
)
from crnet.cli.progress import progress_display
from crnet.cli.terminal import print_json, show_prediction
from crnet.cli.usage_errors import missing_arguments
from crnet.errors import UsageError
from crnet.media.limits import FileLimits
from crnet.utils.executors import worker_processes

if TYPE_CHECKING:
    from crnet.predict import Predictor
    from crnet.types import Prediction


@dataclass(frozen=True)
class Predict(Command):
    """Score videos with a trained system.

    Folders are searched for videos. If a file cannot be scored, the reason is reported, the other files are still
    scored, and the exit code is 1 (2 if there was only one video). Files are read in a worker process, so that one that
    crashes a decoder, or exceeds the limits on time and memory, costs no other. Scores are strangers' impressions, not
    facts. A high neuroticism score means that the person seems emotionally stable.
    """

    run: RunFolder
    videos: Annotated[Positional[tuple[Path, ...]], option("Video files and folders.", "VIDEO")] = ()
    transcript: Transcript = None
    asr: Asr = None
    encoder: EncoderLocation = None
    device: DeviceOption = "auto"
    precision: PrecisionOption = "float32"
    allow_no_face: AllowNoFace = False
    workers: Workers = None
    max_time_s: MaxTime = FileLimits.max_time_s
    max_memory_mb: MaxMemory = FileLimits.max_memory_mb
    json: Annotated[
        Flag, option("Print JSON on stdout: one document for one video, one line per video for several.")
    ] = False
    csv: Annotated[Path | None, option("Also write the scores to this CSV file, one row per video.", "FILE.csv")] = None

    def __call__(self) -> int:
        """Score each video and print its scores as soon as they are known."""
        from crnet.data.video_files import list_videos
        from crnet.report.prediction_csv import open_prediction_csv

        if not self.videos:
            raise missing_arguments("predict", type(self), ())
        paths = list_videos(self.videos)
        if self.transcript is not None and len(paths) != 1:
            raise UsageError(
                f"one transcript for {len(paths)} videos", remedy="put a .txt file beside each video instead"
            )
        predictions = self._begin(paths)
        failures, error = 0, None
        table = contextlib.nullcontext(lambda _: None) if self.csv is None else open_prediction_csv(self.csv)
        with table as write_row, progress_display(self.quiet) as progress:
            for number, prediction in enumerate(predictions, start=1):
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

    def _begin(self, paths: Sequence[Path]) -> Iterator[Prediction]:
        """Load the system and score the first video; return all predictions. Only then is a table worth opening."""
        import crnet
        from crnet.batch import predict_videos

        def load() -> Predictor:
            return crnet.load(self.run, self.device, encoder=self.encoder, asr=self.asr, precision=self.precision)

        predictions = predict_videos(
            load,
            paths,
            self.transcript,
            allow_no_face=self.allow_no_face,
            workers=1 if self.workers is None else worker_processes(self.workers),
            limits=FileLimits(self.max_time_s, self.max_memory_mb),
        )
        return itertools.chain([next(predictions)], predictions)
