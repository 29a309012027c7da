"""A folder into which videos come while they are scored."""

from __future__ import annotations

import time
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from crnet.data.score_sources import ScoreSource, source_of
from crnet.data.video_files import FilesBelow, is_video
from crnet.errors import UsageError
from crnet.text.sidecars import SUFFIXES
from crnet.utils.files import file_version
from crnet.utils.path_checks import on_disk

POLL_INTERVAL_S = 10.0

State = tuple[tuple[str, tuple[int, int] | None], ...]
"""Name and version of a video and of what may be its transcripts, by which a copy in progress shows."""


class WatchedFolder:
    """A folder whose videos are offered once they no longer grow, and again after each change.

    Args:
        folder: The folder.

    Raises:
        UsageError: It is no folder, or one in object storage.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = on_disk(folder, "a watched folder")
        self._files = FilesBelow(self._folder)  # warns of special files once, not at each look

    def clips(self) -> set[str]:
        """Return the names of the videos that are there now."""
        return set(self._look()[0])

    def batches(self, sources: Sequence[ScoreSource]) -> Iterator[Sequence[ScoreSource]]:
        """Yield the sources and then, for ever, the videos that are new or changed and no longer grow.

        Args:
            sources: What is scored first. Those in the folder are offered again only if they change.
        """
        given = {source.clip for source in sources}
        offered = {clip: state for clip, state in self._look()[1].items() if clip in given}
        if sources:
            yield sources
        previous = dict[str, State]()
        while True:
            found, states = self._look()
            ready = [clip for clip, state in states.items() if previous.get(clip) == state != offered.get(clip)]
            offered |= {clip: states[clip] for clip in ready}
            previous = states
            if ready:
                yield [found[clip] for clip in ready]
            else:
                time.sleep(POLL_INTERVAL_S)

    def _look(self) -> tuple[dict[str, ScoreSource], dict[str, State]]:
        """Return the videos and their states, by clip."""
        if not self._folder.is_dir():
            raise UsageError("there is no such folder to watch", path=self._folder, remedy="name a folder that exists")
        found, transcripts = dict[str, ScoreSource](), defaultdict[tuple[Path, str], list[Path]](list)
        for file in self._files:
            if is_video(file.name):
                source = source_of(file)
                found[source.clip] = source
            elif file.suffix.lower() in SUFFIXES:
                transcripts[_key(file)].append(file)
        states = {
            clip: tuple(
                (file.name, file_version(file)) for file in (source.path, *transcripts.get(_key(source.path), ()))
            )
            for clip, source in found.items()
        }
        return found, states


def _key(file: Path) -> tuple[Path, str]:
    """Return what a video and its transcripts have in common: `talk.mp4` and `talk.en.srt`; others may have it, too."""
    return file.parent, unicodedata.normalize("NFC", file.name.partition(".")[0])
