"""Open a dataset of any kind. `OPENERS` lists our kinds, plugins add theirs (docs/data.md, docs/guides/plugins.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crnet.data.sources.archive_keys import KeyLookup, ask_for_key
from crnet.data.sources.csv_folder import is_csv, is_folder, open_folder
from crnet.data.sources.dataset import Dataset
from crnet.data.sources.first_impressions import is_release, open_release
from crnet.data.video_files import FilesBelow
from crnet.errors import UsageError
from crnet.utils.path_checks import why_absent
from crnet.utils.plugins import load_plugin, plugin_errors, plugin_names
from crnet.utils.storage import as_path


@dataclass(frozen=True)
class Opener:
    """A kind of dataset.

    Attributes:
        recognises: Whether a path holds a dataset of this kind, from the path and the files below it.
        open: Opens the dataset, from the path, the files below it, and the keys of encrypted archives.
    """

    recognises: Callable[[Path, Iterable[Path]], bool]
    open: Callable[[Path, Iterable[Path], KeyLookup], Dataset]


OPENERS = (
    Opener(is_release, lambda path, files, keys: open_release(path, keys, list(files))),
    Opener(is_folder, lambda path, files, keys: open_folder(path, files)),  # last: it recognises every folder
)
"""Our kinds of datasets. The first that recognises a path opens it; plugins are asked before them."""


def open_dataset(path: Path | str, keys: KeyLookup = ask_for_key, exclude: Path | None = None) -> Dataset:
    """Open a dataset: the official release, a simulated dataset, or a folder of videos with a CSV.

    Args:
        path: A folder, a CSV of clips, or one archive of the release.
        keys: Looks up the keys of encrypted archives.
        exclude: A folder below `path` to skip.

    Raises:
        UsageError: The path does not exist or is no dataset of these kinds.
        LabelError, ArchiveError: Labels or archives are unusable.
        ConfigError: A plugin cannot be imported, or fails.
    """
    path = as_path(path)
    if (absence := why_absent(path)) is not None:
        raise UsageError(absence[0], path=path, remedy=absence[1])
    files = FilesBelow(path.parent if is_csv(path) else path, exclude)
    for opener in (*_plugins(), *OPENERS):
        if opener.recognises(path, files):
            return opener.open(path, files, keys)
    raise UsageError("not a dataset", path=path, remedy="give a folder, a CSV of clips, or a zip of the release")


def _plugins() -> Iterator[Opener]:
    """Yield the openers of plugins, which recognise their datasets before ours accept every folder."""
    for name in plugin_names("crnet.sources"):
        opener: Opener = load_plugin("crnet.sources", name, Opener)
        named = plugin_errors("crnet.sources", name)  # also a decorator
        yield Opener(named(opener.recognises), named(opener.open))
