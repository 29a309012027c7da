"""Score many videos into a table, as every night: what it holds already is skipped, and nothing is lost by a kill."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import crnet
from crnet.batch import Scoring, VideoReader, read_video, score_videos
from crnet.bundle.hub import locate_system
from crnet.bundle.verify import find_bundle, model_info, read_document
from crnet.data.score_sources import ScoreSource
from crnet.data.watched_folder import WatchedFolder
from crnet.media.limits import FileLimits
from crnet.score_tables.open_table import open_score_table, remove_failed_rows
from crnet.score_tables.rows import Done, ScoreRow, ScoreTable
from crnet.types import Prediction
from crnet.utils.executors import Executor
from crnet.utils.progress import Progress, no_progress

TASK = "scoring"


@dataclass(frozen=True)
class BatchReport:
    """Result of `score_to_table`.

    Attributes:
        scored: Number of clips scored by this call.
        skipped: Number of clips whose scores the table held already.
        failures: The reason for each clip that could not be scored.
    """

    scored: int
    skipped: int
    failures: dict[str, str]


def model_fingerprint(run: Path | str) -> str:
    """Return the fingerprint of a bundle, which its description and the hashes of its files decide.

    Raises:
        FormatError: There is no bundle, or its description is damaged.
    """
    folder = find_bundle(locate_system(run)[0])
    return model_info(folder, read_document(folder)).fingerprint


@dataclass(frozen=True)
class TableRun:
    """What the videos of one run have in common.

    Attributes:
        scoring: Scores the clips.
        model: See `model_fingerprint`.
        options: Identifies the options of the system that change scores.
        executor: Where the videos are read, and on a cluster scored.
        limits: See `FileLimits`.
        allow_no_face: See `Predictor.predict`.
        read: Reads a video.
    """

    scoring: Scoring
    model: str
    options: str = ""
    executor: Executor = Executor(1)  # noqa: RUF009  # frozen
    limits: FileLimits = FileLimits()  # noqa: RUF009  # frozen
    allow_no_face: bool = False
    read: VideoReader = read_video


def score_to_table(
    run: TableRun,
    sources: Sequence[ScoreSource],
    out: str,
    *,
    watch: Path | None = None,
    progress: Progress = no_progress,
    report: Callable[[Prediction], None] = lambda prediction: None,
) -> BatchReport:
    """Score videos and add a row for each to a table.

    A clip is skipped if the table holds its scores by the same model, for the same video, transcript and options. A
    clip that failed before is tried again. After a kill at any moment, the table lacks only the clips in work.

    Args:
        run: The system and its options.
        sources: The videos.
        out: The table; see `open_score_table`.
        watch: Folder whose new and changed videos are scored as they come, until the caller is stopped; None: end after
            `sources`.
        progress: Called after each clip.
        report: Called with each new prediction.

    Raises:
        CrnetError: See `open_score_table` and `score_videos`.
    """
    scored, skipped, failures = 0, 0, dict[str, str]()
    folder = None if watch is None else WatchedFolder(watch)
    expected = {source.clip for source in sources} | (set() if folder is None else folder.clips())
    with open_score_table(out, run.model, expected) as (table, done):
        for batch in [sources] if folder is None else folder.batches(sources):
            remove_failed_rows(table, done, {source.clip for source in batch})
            for number, prediction in enumerate(_score(run, batch, table, done, out), start=1):
                note = ""
                if prediction is None:
                    skipped += 1
                elif prediction.error is not None:
                    failures[prediction.clip] = note = prediction.error
                else:
                    scored += 1
                    failures.pop(prediction.clip, None)  # of a copy that had not come to its end
                if prediction is not None:
                    report(prediction)
                progress(TASK, number, len(batch), note)
    return BatchReport(scored, skipped, failures)


def _score(
    run: TableRun, sources: Sequence[ScoreSource], table: ScoreTable, done: Done, out: str
) -> Iterator[Prediction | None]:
    """Score videos and add their rows; yield each prediction, None for a clip that the table holds."""
    results = score_videos(
        run.scoring,
        sources,
        options=run.options,
        known=lambda clip: done.inputs.get(clip, frozenset()),
        allow_no_face=run.allow_no_face,
        executor=run.executor,
        limits=run.limits,
        read=run.read,
        purpose=f"{Path.cwd()} {out}",  # the table has one run at a time
    )
    for _, result in results:
        if result.prediction is not None:
            scored_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            row = ScoreRow(
                result.prediction,
                run.model,
                crnet.__version__,
                scored_at,
                round(result.seconds, 3),
                result.file_sha256,
                result.input_fingerprint,
            )
            table.append(row)
            done.add(row.prediction.clip, row.model_fingerprint, row.input_fingerprint)
            if row.prediction.error is not None:
                done.failed.add(row.prediction.clip)
        yield result.prediction
