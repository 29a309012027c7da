"""Open a dataset of any kind."""

from __future__ import annotations

from pathlib import Path

from crnet.data.sources.archives import KeyLookup, ask_for_key
from crnet.data.sources.csv_folder import open_folder
from crnet.data.sources.first_impressions import SIMULATED_MARKER, is_release, open_release
from crnet.data.sources.source import Source, find_files
from crnet.errors import UsageError


def open_source(path: Path | str, keys: KeyLookup = ask_for_key, exclude: Path | None = None) -> Source:
    """Open a dataset: the official release, a simulated dataset, or a folder of videos with a CSV.

    Args:
        path: A folder, a CSV of clips, or one archive of the release.
        keys: Looks up the keys of encrypted archives.
        exclude: A folder below `path` to skip.

    Raises:
        UsageError: The path does not exist or is no dataset of these kinds.
        LabelError, ArchiveError: Labels or archives are unusable.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() == ".csv":
        return open_folder(path, find_files(path.parent, exclude))
    if path.is_file() and path.suffix.lower() != ".zip":
        raise UsageError("not a dataset", path=path, remedy="give a folder, a CSV of clips, or a zip of the release")
    if not path.exists():
        raise UsageError("no such file or folder", path=path, remedy="check the name of the dataset")
    files = find_files(path, exclude)
    if path.is_file() or (path / SIMULATED_MARKER).is_file() or is_release(files):
        return open_release(path, keys, files)
    return open_folder(path, files)
