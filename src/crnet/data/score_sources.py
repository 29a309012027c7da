"""The videos that `crnet predict` is to score: files, folders, and CSVs of paths and transcripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crnet.data.sources.csv_folder import is_csv, read_csv
from crnet.data.video_files import list_videos
from crnet.errors import UsageError
from crnet.text.transcripts import Transcript
from crnet.utils.storage import as_path


@dataclass(frozen=True)
class ScoreSource:
    """A video to score.

    Attributes:
        clip: Its name in the result: its path as given, or the cell of the CSV.
        path: The video.
        transcript: See `Predictor.predict`; a `Transcript` is the words themselves, never the name of a file.
    """

    clip: str
    path: Path
    transcript: str | Path | Transcript | None = None


def list_sources(paths: Iterable[Path | str], transcript: str | Path | None = None) -> list[ScoreSource]:
    """Return the videos that files, folders and CSVs name, each once, in a stable order.

    A CSV has the columns that `crnet prepare` reads. Where its transcript is empty, a file beside the video is used.

    Args:
        paths: The files, folders and CSVs.
        transcript: The transcript of a video that no CSV lists; see `Predictor.predict`.

    Raises:
        LabelError: A CSV is unusable.
        UsageError: A name is empty, or stands for two videos.
    """
    sources: dict[str, ScoreSource] = {}
    for path in paths:
        found = _csv_rows(as_path(path)) if is_csv(as_path(path)) else _videos(path, transcript)
        for source in found:
            earlier = sources.setdefault(source.clip, source)
            if earlier.path.absolute() != source.path.absolute():
                raise UsageError(f"two videos are called {source.clip}", path=path, remedy="score them in two runs")
    return list(sources.values())


def source_of(video: Path, transcript: str | Path | None = None) -> ScoreSource:
    """Return a video that no CSV lists, under its path as given; what is not UTF-8 in it is escaped."""
    return ScoreSource(str(video).encode(errors="backslashreplace").decode(), video, transcript)


def _videos(path: Path | str, transcript: str | Path | None) -> Iterator[ScoreSource]:
    for video in list_videos([path]):
        yield source_of(video, transcript)


def _csv_rows(table: Path) -> Iterator[ScoreSource]:
    for clip in read_csv(table).values():
        words = Transcript(clip.transcript) if clip.transcript else None
        yield ScoreSource(clip.clip_id, table.parent / clip.clip_id, words)
