"""`crnet predict`: score videos."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
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
    Engine,
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
from crnet.errors import UsageError, printable
from crnet.media.limits import FileLimits
from crnet.utils.executors import LOCAL, Executor, choose_executor

if TYPE_CHECKING:
    from crnet.batch import Scoring
    from crnet.data.score_sources import ScoreSource
    from crnet.media.settings import MediaSettings
    from crnet.types import Prediction

FAILURES_SHOWN = 10


@dataclass(frozen=True)
class Predict(Command):
    """Score videos with a trained system.

    Folders are searched for videos. If a file cannot be scored, the reason is reported, the other files are still
    scored, and the exit code is 1 (2 if there was only one video). Files are read in a worker process, so that one that
    crashes a decoder, or exceeds the limits on time and memory, costs no other. With --out, the same command resumes
    after an interruption, and scores only what is new or changed the next time (docs/scale.md). Scores are strangers'
    impressions, not facts. A high neuroticism score means that the person seems emotionally stable.
    """

    run: RunFolder
    videos: Annotated[
        Positional[tuple[Path, ...]],
        option("Video files, folders of videos, and CSVs of clips and transcripts.", "VIDEO"),
    ] = ()
    transcript: Transcript = None
    asr: Asr = None
    encoder: EncoderLocation = None
    device: DeviceOption = "auto"
    precision: PrecisionOption = "auto"
    allow_no_face: AllowNoFace = False
    workers: Workers = None
    engine: Engine = LOCAL
    max_time_s: MaxTime = FileLimits.max_time_s
    max_memory_mb: MaxMemory = FileLimits.max_memory_mb
    json: Annotated[
        Flag, option("Print JSON on stdout: one document for one video, one line per video for several.")
    ] = False
    out: Annotated[
        str | None,
        option(
            "Add the scores to this table, one row per clip, and skip the clips whose scores it holds: a name ending "
            "with .csv, .jsonl or .parquet, or sqlite:///FILE (docs/scale.md).",
            "FILE",
        ),
    ] = None
    watch: Annotated[
        Path | None, option("With --out: also score the videos that come into this folder, until stopped.", "FOLDER")
    ] = None

    def __call__(self) -> int:
        """Score each video, and print its scores as soon as they are known or add them to a table."""
        from crnet.data.score_sources import list_sources

        if self.watch is not None and self.out is None:
            raise UsageError("--watch needs a table to add to", remedy="give --out FILE")
        if not self.videos and self.watch is None:
            raise missing_arguments("predict", type(self), ())
        sources = list_sources(self.videos, self.transcript)
        if self.transcript is not None and len(sources) != 1:
            raise UsageError(
                f"one transcript for {len(sources)} videos", remedy="put a .txt file beside each video instead"
            )
        return self._print(sources) if self.out is None else self._add(sources, self.out)

    def stopped(self) -> str:
        """See `Command.stopped`."""
        from crnet.score_tables.open_table import SQLITE

        if self.out is None:
            return "stopped"
        if not Path(self.out.removeprefix(SQLITE)).exists():
            return "stopped before the first score; run the same command again"
        return f"stopped; {self.out} has the scores so far; run the same command again to continue"

    def _print(self, sources: Sequence[ScoreSource]) -> int:
        """Score the videos and print the scores."""
        from crnet.batch import predict_videos

        predictions = predict_videos(
            self._scoring(),
            sources,
            allow_no_face=self.allow_no_face,
            executor=self._executor(),
            limits=FileLimits(self.max_time_s, self.max_memory_mb),
        )
        failures, error = 0, None
        with progress_display(self.quiet) as progress:
            for number, prediction in enumerate(predictions, start=1):
                error = prediction.error
                failures += error is not None
                if len(sources) > 1:
                    progress("scoring", number, len(sources), prediction.error or "")
                if self.json:
                    print_json(prediction.to_dict(), indent=None if len(sources) > 1 else 2)
                else:
                    show_prediction(prediction)
        if len(sources) == 1 and error is not None:
            print(printable(f"crnet: {error}"), file=sys.stderr)
            return EXIT_ERROR
        return EXIT_FAILURES if failures else EXIT_DONE

    def _add(self, sources: Sequence[ScoreSource], out: str) -> int:
        """Score the videos and add the scores to a table."""
        from crnet.score_batch import TableRun, model_fingerprint, score_to_table

        run = TableRun(
            self._scoring(),
            model_fingerprint(self.run),
            f"precision {self.precision}, asr {self.asr}",
            self._executor(),
            FileLimits(self.max_time_s, self.max_memory_mb),
            self.allow_no_face,
        )

        def report(prediction: Prediction) -> None:
            if self.json:
                print_json(prediction.to_dict(), indent=None)
            if self.watch is not None and prediction.error is not None:  # it is stopped before it could list them
                print(printable(f"failed: {prediction.error}"), file=sys.stderr)

        with progress_display(self.quiet) as progress:
            done = score_to_table(run, sources, out, watch=self.watch, progress=progress, report=report)
        if not self.json:
            print(f"{out}: {done.scored} clips scored, {done.skipped} already were, {len(done.failures)} failed")
        for reason in list(done.failures.values())[:FAILURES_SHOWN]:
            print(printable(f"failed: {reason}"), file=sys.stderr)
        if done.failures:
            print(f"all failures: column error of {out}", file=sys.stderr)
        return EXIT_FAILURES if done.failures else EXIT_DONE

    def _scoring(self) -> Scoring:
        import crnet
        from crnet.batch import Scoring

        load = functools.partial(
            crnet.load, self.run, self.device, encoder=self.encoder, asr=self.asr, precision=self.precision
        )
        folder = None if self.engine == LOCAL else _folder(self.run)
        return Scoring(load, functools.partial(_media_settings, self.run), folder)

    def _executor(self) -> Executor:
        return choose_executor(self.engine, self.workers, default=1)


def _media_settings(run: Path) -> MediaSettings:
    from crnet.bundle.load import read_media_settings

    return read_media_settings(_folder(run))


def _folder(run: Path) -> Path:
    from crnet.bundle.hub import locate_system  # takes 0.1 s, in which the first worker process starts already

    return locate_system(run)[0]
