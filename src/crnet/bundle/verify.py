"""The files of a bundle: where they are, and whether they are those that were written. Imports no torch.

Hashing a gigabyte takes more than half as long as importing torch, so `crnet.load` begins with the one and does the
other meanwhile: 0.3 s of a cold start.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

from crnet.errors import FormatError
from crnet.types import STREAMS, TARGETS, Stream, TrainingSource
from crnet.utils.files import read_json, sha256

FORMAT = 1
BUNDLE_FILE = "bundle.json"
BUNDLE_FOLDER = "bundle"
CALIBRATION_FILE = "calibration.json"
COPY_AGAIN = "copy the bundle again, or train again"
KIND = "crnet bundle"
HASHED_AT_ONCE = 1  # on two cores, the other one imports: a cold start adds 2.36 s; with two threads 2.59


def file_names(streams: tuple[Stream, ...], calibrated: bool) -> list[str]:
    """The files beside `bundle.json`."""
    names = [f"{name}.safetensors" for name in (*streams, "fusion", "trees")]
    return [*names, CALIBRATION_FILE] if calibrated else names


class BundleFiles:
    """A bundle whose files are being hashed by threads.

    Args:
        path: A run folder or the bundle in it.

    Raises:
        FormatError: No bundle there, of another format, or with a damaged description.
    """

    def __init__(self, path: Path) -> None:
        self.folder = find_bundle(path)
        self.document = checked_document(self.folder)
        pool = ThreadPoolExecutor(HASHED_AT_ONCE)
        names = reversed(file_names(STREAMS, calibrated=True))  # the trees, by far the largest, early
        self._hashes = {name: pool.submit(sha256, self.folder / name) for name in names if self._expected(name)}
        pool.shutdown(wait=False)

    def check(self, names: Iterable[str]) -> None:
        """Wait for some files.

        Raises:
            FormatError: One is missing, or not the file that the description names.
        """
        for name in names:
            path = self.folder / name
            if not path.is_file():
                raise FormatError("a file of the bundle is missing", path=path, remedy=COPY_AGAIN)
            if not self._expected(name) or self._hashes[name].result() != self._expected(name):
                raise FormatError("damaged: not the file that bundle.json names", path=path, remedy=COPY_AGAIN)

    def _expected(self, name: str) -> str | None:
        digest = self.document["files"].get(name)
        return digest if isinstance(digest, str) else None


def document_sha256(document: Mapping[str, Any]) -> str:
    """Of everything in `bundle.json` but this hash: a changed weight or source must not pass unseen."""
    rest = {key: value for key, value in document.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def find_bundle(path: Path) -> Path:
    """The bundle's folder, given it or the run that holds it.

    Raises:
        FormatError: There is none.
    """
    for folder in (path, path / BUNDLE_FOLDER):
        if (folder / BUNDLE_FILE).is_file():
            return folder
    raise FormatError(
        "no trained system here" if path.exists() else "no such folder",
        path=path,
        remedy="give a run folder whose training has ended, or the bundle in it",
    )


def checked_document(folder: Path) -> dict[str, Any]:
    """What `bundle.json` says, if it is what was written.

    Raises:
        FormatError: It is not.
    """
    path = folder / BUNDLE_FILE
    document = read_json(path, "a bundle")
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise FormatError("not a bundle of crnet", path=path)
    if document.get("format") != FORMAT:
        raise FormatError(
            f"bundle format {document.get('format')!r}, this version reads {FORMAT}",
            path=path,
            remedy="use the version of crnet that wrote it, or train again",
        )
    expected = {
        "config": dict,
        "files": dict,
        "media": dict,
        "encoder": str,
        "training_source": str,
        "train_medians": list,
    }
    for key, kind in expected.items():
        if not isinstance(document.get(key), kind):
            raise FormatError(f"{key!r} is missing or of the wrong kind", path=path)
    if document.get("sha256") != document_sha256(document):
        raise FormatError("damaged: not the description that was written", path=path, remedy=COPY_AGAIN)
    medians = document["train_medians"]
    if document.get("targets") != list(TARGETS) or len(medians) != len(TARGETS):
        raise FormatError("its targets are not this version's", path=path)
    if not all(isinstance(median, float) and 0 <= median <= 1 for median in medians):
        raise FormatError("its training medians are not scores", path=path)
    if document["training_source"] not in get_args(TrainingSource):
        raise FormatError(f"unknown training source {document['training_source']!r}", path=path)
    return document
