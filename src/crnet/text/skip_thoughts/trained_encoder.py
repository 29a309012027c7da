"""Files of an encoder that `crnet text train` wrote: `encoder.json`, `words.txt`, `uni|bi.safetensors`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from crnet.errors import FormatError
from crnet.text.skip_thoughts.kiros_files import read_words
from crnet.text.skip_thoughts.weights import DIRECTIONS, GruWeights, SkipThoughtsWeights, files_fingerprint
from crnet.utils.files import read_json, sha256, write_bytes, write_json, write_text

FORMAT = 1
KIND = "crnet skip-thoughts"
ENCODER_NAME = "encoder.json"
WORDS_NAME = "words.txt"
REMEDY = "copy the folder again, or train again"


def is_trained_encoder(folder: Path) -> bool:
    """Return whether a folder holds an encoder that `crnet text train` finished."""
    return (folder / ENCODER_NAME).is_file()


def write_trained_encoder(folder: Path, words: list[str], weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write an encoder; `encoder.json` comes last, so that an incomplete folder never counts as an encoder.

    Args:
        folder: The encoder's folder.
        words: The dictionary in the order of the tables' rows.
        weights: For "uni" and "bi" the tensors `table` and `<direction>.weight_ih|weight_hh|bias_ih`.

    Raises:
        StorageError: The folder cannot be written.
    """
    (folder / ENCODER_NAME).unlink(missing_ok=True)
    write_text(folder / WORDS_NAME, "".join(f"{word}\n" for word in words))
    for part, tensors in weights.items():
        write_bytes(folder / f"{part}.safetensors", save({n: t.contiguous() for n, t in tensors.items()}))
    files = {name: sha256(folder / name) for name in (WORDS_NAME, *(f"{part}.safetensors" for part in weights))}
    write_json(folder / ENCODER_NAME, {"format": FORMAT, "kind": KIND, "files": files})


def read_trained_encoder(folder: Path) -> SkipThoughtsWeights:
    """Read an encoder that `write_trained_encoder` wrote.

    Raises:
        FormatError: A file is missing or damaged, or differs from its hash in `encoder.json`.
    """
    document = read_json(folder / ENCODER_NAME, "a text encoder")
    sha256s = _checked_sha256s(folder, document)
    words = read_words(folder / WORDS_NAME)
    tables, grus = {}, {}
    for part, directions in DIRECTIONS.items():
        path = folder / f"{part}.safetensors"
        try:
            tensors = load_file(path)
            tables[part] = np.asarray(tensors["table"].float().numpy())
            grus[part] = [
                GruWeights(**{name: tensors[f"{direction}.{name}"] for name in GruWeights.__annotations__})
                for direction in directions
            ]
        except (SafetensorError, OSError, KeyError) as error:
            raise FormatError(f"not an encoder's weights: {error}", path=path, remedy=REMEDY) from error
        if tables[part].ndim != 2 or len(tables[part]) != len(words):
            raise FormatError("its table does not match the dictionary", path=path, remedy=REMEDY)
    fingerprint = files_fingerprint([sha256s[name] for name in sorted(sha256s)])
    return SkipThoughtsWeights({word: row for row, word in enumerate(words)}, tables, grus, fingerprint)


def _checked_sha256s(folder: Path, document: Any) -> dict[str, str]:
    """Return the hashes that `encoder.json` holds, after comparing the files with them."""
    path = folder / ENCODER_NAME
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise FormatError("not a text encoder of crnet", path=path)
    if document.get("format") != FORMAT:
        raise FormatError(
            f"encoder format {document.get('format')!r}, this version reads {FORMAT}", path=path, remedy=REMEDY
        )
    names = (WORDS_NAME, *(f"{part}.safetensors" for part in DIRECTIONS))
    sha256s = document.get("files")
    if not isinstance(sha256s, dict) or set(sha256s) != set(names):
        raise FormatError("does not name its files", path=path, remedy=REMEDY)
    for name in names:
        if not (folder / name).is_file() or sha256(folder / name) != sha256s[name]:
            raise FormatError("missing, or different from its hash in encoder.json", path=folder / name, remedy=REMEDY)
    return sha256s
