"""Share systems through the Hugging Face Hub: upload the bundle of a run, and find one in the local cache or fetch it.

Only safetensors and JSON pass, and only files that `bundle.json` names. A fetched bundle is checked like any other:
each file against its SHA-256 in `bundle.json`, and that file against its own. All files come from one commit, and once
they are in the cache, no connection is needed. `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` work as they always do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from crnet.bundle.verify import BUNDLE_FILE, BundleFiles, file_names, is_exported, read_document
from crnet.data.tensor_file import MAX_MAPPED_BYTES
from crnet.errors import FormatError, MissingDependencyError, StorageError, UsageError
from crnet.types import STREAMS
from crnet.utils.extras import install_command
from crnet.utils.files import LARGEST_JSON_BYTES
from crnet.version import __version__

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

DEFAULT_REVISION = "main"
CARD_NAME = "README.md"
COMMIT_MESSAGE = "Upload a system of crnet"
LONGEST_REASON = 300

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")


@dataclass(frozen=True)
class PushedBundle:
    """What an upload made.

    Attributes:
        repository: Name on the Hub.
        revision: The commit; `crnet.load(repository, revision=revision)` loads exactly these files.
        url: Where to see it.
    """

    repository: str
    revision: str
    url: str


def is_repository(run: Path | str) -> bool:
    """Return whether a name means a model on the Hub, `org/name`, and no folder.

    It means a folder if it, or the folder it would lie in, exists: a misspelled run is not looked for on the Hub.
    """
    path = Path(run)
    return bool(_REPOSITORY.fullmatch(path.as_posix())) and not path.exists() and not path.parent.exists()


def locate_system(run: Path | str, revision: str | None = None) -> tuple[Path, str | None]:
    """Return the folder of a system, and its name on the Hub if it is from there.

    Args:
        run: A run folder, a bundle, or a model on the Hub.
        revision: See `fetch_bundle`.

    Raises:
        UsageError: A revision of a folder.
        FormatError: See `fetch_bundle`.
    """
    if is_repository(run):
        name = Path(run).as_posix()
        return fetch_bundle(name, revision), name
    if revision is not None:
        raise UsageError(
            f"{run} is a folder, which has no revisions", remedy="name a model on the Hub, or leave it out"
        )
    return Path(run), None


def fetch_bundle(repository: str, revision: str | None = None) -> Path:
    """Return the folder of a bundle of the Hub in the local cache, after fetching what the cache lacks.

    Args:
        repository: Name on the Hub, `org/name`.
        revision: A commit, tag or branch; None: the newest commit, or without a connection the newest in the cache.

    Raises:
        FormatError: There is no such model, no connection, or it is no bundle that crnet would load.
        MissingDependencyError: huggingface_hub is not installed.
    """
    path = _fetch(repository, BUNDLE_FILE, revision or DEFAULT_REVISION, LARGEST_JSON_BYTES)
    folder = path.parent
    document = read_document(folder)
    if is_exported(document):
        raise FormatError("its networks are graphs; the Hub is for safetensors and JSON only", path=repository)
    for name in file_names(STREAMS, calibrated=True):
        if name in document["files"]:
            _fetch(repository, name, folder.name, MAX_MAPPED_BYTES)  # the folder is named after the commit
    return folder


def push_bundle(run: Path, repository: str, card: Path, *, private: bool = True) -> PushedBundle:
    """Upload the bundle of a run and its model card in one commit.

    Args:
        run: A run folder, or its bundle.
        repository: Name on the Hub, `org/name`; it is created if it does not exist.
        card: The model card.
        private: Whether a new repository is private.

    Raises:
        FormatError: There is no bundle, it is damaged or exported, or the Hub refuses.
        UsageError: The name is none.
        MissingDependencyError: huggingface_hub is not installed.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise UsageError(f"{repository!r} is no name of a model on the Hub", remedy="name it ORG/NAME")
    files = BundleFiles(run)
    if is_exported(files.document):
        raise FormatError("its networks are graphs", path=run, remedy="push the run that it was exported from")
    names = list(files.document["files"])
    if foreign := sorted(set(names) - set(file_names(STREAMS, calibrated=True))):
        raise FormatError(f"bundle.json names {foreign[0]}, which is no file of a bundle", path=files.folder)
    files.check(names)
    with _hub_errors(repository, "does not take this model"):
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi(library_name="crnet", library_version=__version__)
        operations = [CommitOperationAdd(name, files.folder / name) for name in (*names, BUNDLE_FILE)]
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.create_commit(
            repository, [*operations, CommitOperationAdd(CARD_NAME, card)], commit_message=COMMIT_MESSAGE
        )
    return PushedBundle(repository, commit.oid, str(commit.commit_url))


def _fetch(repository: str, name: str, revision: str, most_bytes: int) -> Path:
    """Return a file in the cache, after asking for its size before fetching it."""
    with _hub_errors(repository, "or its cache does not give this model"):
        from huggingface_hub import hf_hub_download

        download = partial(
            hf_hub_download, repository, name, revision=revision, library_name="crnet", library_version=__version__
        )
        announced = cast("DryRunFileInfo", download(dry_run=True))
        if announced.file_size is None or announced.file_size > most_bytes:
            raise FormatError(f"{name} is larger than {most_bytes >> 20} MB, or of unknown size", path=repository)
        return Path(download())


@contextmanager
def _hub_errors(repository: str, failure: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub into one line; `failure` says what the Hub does not do."""
    try:
        from httpx2 import HTTPError
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, OfflineModeIsEnabled
    except ModuleNotFoundError as error:
        remedy = f"{install_command('huggingface_hub')}; if you mean a folder, check its path"
        raise MissingDependencyError(
            "models on the Hub need the package huggingface_hub", path=repository, remedy=remedy
        ) from error
    try:
        yield
    except (HTTPError, EntryNotFoundError, OfflineModeIsEnabled, OSError, ValueError) as error:
        # A file that is not in the cache hides why the Hub was not asked or did not answer.
        cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
        if isinstance(cause, OfflineModeIsEnabled):
            remedy = "load it once with a connection, or unset HF_HUB_OFFLINE"
            raise FormatError("HF_HUB_OFFLINE is set", path=repository, remedy=remedy) from error
        if isinstance(error, OSError) and error.filename is not None:  # the cache, not the Hub
            raise StorageError(str(error.strerror), path=error.filename) from error
        reason = " ".join(str(cause).split())[:LONGEST_REASON]
        raise FormatError(
            f"the Hub {failure}: {reason}",
            path=repository,
            remedy="check the name, the revision, your access and the connection",
        ) from error
