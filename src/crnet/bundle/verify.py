"""Find the files of a bundle and verify their SHA-256. Imports no torch.

Hashing a gigabyte takes more than half as long as importing torch, so `crnet.load` starts the hashing first and imports
torch meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.types import DATA_SOURCES, STREAMS, TARGETS, ModelInfo, Stream
from crnet.utils.files import read_json, sha256
from crnet.utils.path_checks import on_disk
from crnet.utils.resumable import SHORT_DIGITS, fingerprint
from crnet.version import __version__

FORMAT = 1
EXPORTED_FORMAT = 2  # its networks are graphs, which earlier versions cannot read
BUNDLE_FILE = "bundle.json"
BUNDLE_FOLDER = "bundle"
CALIBRATION_FILE = "calibration.json"
KIND = "crnet bundle"
HUB_PREFIX = "models--"  # folders of models in the cache of huggingface_hub: models--ORG--NAME
HASH_THREADS = 1  # a second thread would compete with the import of torch on two cores
EXPECTED_TYPES = {
    "config": dict,
    "files": dict,
    "media": dict,
    "encoder": str,
    "training_source": str,
    "train_medians": list,
}


def file_names(streams: tuple[Stream, ...], *, calibrated: bool, exported: bool = False) -> list[str]:
    """Return the names of the files beside `bundle.json`."""
    suffixes = (".xml", ".bin") if exported else (".safetensors",)
    networks = [f"{stream}{suffix}" for stream in streams for suffix in suffixes]
    names = [*networks, "fusion.safetensors", "trees.safetensors"]
    return [*names, CALIBRATION_FILE] if calibrated else names


def is_exported(document: Mapping[str, Any]) -> bool:
    """Return whether the networks of a bundle are graphs."""
    return document["format"] == EXPORTED_FORMAT


class BundleFiles:
    """The files of a bundle, hashed by threads in the background.

    Args:
        path: A run folder, or the bundle in it.

    Raises:
        FormatError: There is no bundle, it has another format, or its description is damaged.
    """

    def __init__(self, path: Path | str) -> None:
        self.folder = find_bundle(path)
        self.document = read_document(self.folder)
        pool = ThreadPoolExecutor(HASH_THREADS)
        names = reversed(
            file_names(STREAMS, calibrated=True, exported=is_exported(self.document))
        )  # the trees, by far the largest file, come early
        self._hashes = {name: pool.submit(sha256, self.folder / name) for name in names if self._expected(name)}
        pool.shutdown(wait=False)

    def check(self, names: Iterable[str]) -> None:
        """Wait for the hashes of some files and compare them.

        Raises:
            FormatError: A file is missing, or is not the file that the description names.
        """
        for name in names:
            path = self.folder / name
            require_file(path)
            if not self._expected(name) or self._hashes[name].result() != self._expected(name):
                raise FormatError("damaged: not the file that bundle.json names", path=path, remedy=_fetch_again(path))

    def _expected(self, name: str) -> str | None:
        """Return the SHA-256 that `bundle.json` names."""
        expected = self.document["files"].get(name)
        return expected if isinstance(expected, str) else None


def require_file(path: Path) -> None:
    """Refuse a missing file of a bundle, and a pipe, which would be read forever, before anything opens it.

    Raises:
        FormatError: It is not a regular file.
    """
    if not path.is_file():
        raise FormatError("a file of the bundle is missing", path=path, remedy=_fetch_again(path))


def _fetch_again(path: Path) -> str:
    """Return what to do about a damaged or missing file; the Hub's cache keeps a damaged one until it is removed."""
    for folder in path.parts:
        if folder.startswith(HUB_PREFIX):
            name = folder.removeprefix(HUB_PREFIX).replace("--", "/")
            return f"run `hf cache rm model/{name}` and load the model again"
    return "copy the bundle again, or train again"


def document_sha256(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of `bundle.json` without this hash: every change of the description must be detected."""
    hashed = {key: value for key, value in document.items() if key != "sha256"}
    return fingerprint(hashed)


def model_info(folder: Path, document: Mapping[str, Any]) -> ModelInfo:
    """Return name and fingerprint of a bundle.

    Args:
        folder: The bundle, as `find_bundle` returns it.
        document: Its description, verified by `read_document`.
    """
    return ModelInfo(run_of(folder.resolve()).name, document_sha256(document)[:SHORT_DIGITS], __version__)


def run_of(folder: Path) -> Path:
    """Return the run folder of a bundle, or the bundle itself if it does not lie in a run."""
    return folder.parent if folder.name == BUNDLE_FOLDER else folder


def find_bundle(path: Path | str) -> Path:
    """Return the folder of the bundle, given this folder or the run that holds it.

    Raises:
        FormatError: There is none.
        UsageError: It is in object storage.
    """
    path = on_disk(path, "a run")
    for folder in (path, path / BUNDLE_FOLDER):
        if (folder / BUNDLE_FILE).is_file():
            return folder
    raise FormatError(
        "no trained system here" if path.exists() else "no such folder",
        path=path,
        remedy="give a run folder whose training is finished, or the bundle in it",
    )


def read_document(folder: Path) -> dict[str, Any]:
    """Read `bundle.json` and verify it.

    Raises:
        FormatError: It is damaged, foreign, or of another format.
    """
    path = folder / BUNDLE_FILE
    document = read_json(path, "a bundle")
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise FormatError("not a bundle of crnet", path=path)
    exported = isinstance(document.get("export"), dict)
    if document.get("format") != (EXPORTED_FORMAT if exported else FORMAT):
        raise FormatError(
            f"bundle format {document.get('format')!r}, this version reads {FORMAT}",
            path=path,
            remedy="use the version of crnet that wrote it, or train again",
        )
    for key, expected_type in EXPECTED_TYPES.items():
        if not isinstance(document.get(key), expected_type):
            raise FormatError(f"{key!r} is missing or of the wrong type", path=path)
    if document.get("sha256") != document_sha256(document):
        raise FormatError("damaged: not the description that was written", path=path, remedy=_fetch_again(path))
    medians = document["train_medians"]
    if document.get("targets") != list(TARGETS) or len(medians) != len(TARGETS):
        raise FormatError("its targets are not those of this version", path=path)
    if not all(isinstance(median, float) and 0 <= median <= 1 for median in medians):
        raise FormatError("its training medians are not scores", path=path)
    if document["training_source"] not in DATA_SOURCES:
        raise FormatError(f"unknown training source {document['training_source']!r}", path=path)
    return document
