"""A skip-thoughts encoder that `crnet text train` wrote: `encoder.json`, `words.txt`, `uni|bi.safetensors`."""

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
from crnet.text.skip_thoughts.weights import DIRECTIONS, Gru, Parts, digest_of
from crnet.utils.files import read_json, sha256, write_bytes, write_json, write_text

FORMAT = 1
ENCODER_NAME = "encoder.json"
WORDS_NAME = "words.txt"
TRAIN_AGAIN = "copy the folder again, or train again"


def is_own(folder: Path) -> bool:
    """Whether a folder holds an encoder of ours."""
    return (folder / ENCODER_NAME).is_file()


def write(folder: Path, words: list[str], weights: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write an encoder; `encoder.json` comes last, so that a half-written folder is never taken for whole.

    Args:
        folder: Where to.
        words: The dictionary in the order of the tables' rows.
        weights: Of "uni" and "bi" the tensors `table` and `<direction>.weight_ih|weight_hh|bias_ih`.

    Raises:
        StorageError: The folder cannot be written.
    """
    (folder / ENCODER_NAME).unlink(missing_ok=True)
    write_text(folder / WORDS_NAME, "".join(f"{word}\n" for word in words))
    for part, tensors in weights.items():
        write_bytes(folder / f"{part}.safetensors", save({n: t.contiguous() for n, t in tensors.items()}))
    files = {name: sha256(folder / name) for name in (WORDS_NAME, *(f"{part}.safetensors" for part in weights))}
    write_json(folder / ENCODER_NAME, {"format": FORMAT, "kind": "crnet skip-thoughts", "files": files})


def read(folder: Path) -> Parts:
    """The encoder in a folder.

    Raises:
        FormatError: A file is missing, damaged, or not what `encoder.json` names.
    """
    document = read_json(folder / ENCODER_NAME, "a text encoder")
    files = _checked_files(folder, document)
    words = read_words(folder / WORDS_NAME)
    tables, grus = {}, {}
    for part, directions in DIRECTIONS.items():
        path = folder / f"{part}.safetensors"
        try:
            tensors = load_file(path)
            tables[part] = np.asarray(tensors["table"].float().numpy())
            grus[part] = [
                Gru(**{name: tensors[f"{direction}.{name}"] for name in Gru.__annotations__})
                for direction in directions
            ]
        except (SafetensorError, OSError, KeyError) as error:
            raise FormatError(f"not an encoder's weights: {error}", path=path, remedy=TRAIN_AGAIN) from error
        if tables[part].ndim != 2 or len(tables[part]) != len(words):
            raise FormatError("its table does not fit the dictionary", path=path, remedy=TRAIN_AGAIN)
    digest = digest_of([files[name] for name in sorted(files)])
    return Parts({word: row for row, word in enumerate(words)}, tables, grus, digest)


def _checked_files(folder: Path, document: Any) -> dict[str, str]:
    path = folder / ENCODER_NAME
    if not isinstance(document, dict) or document.get("kind") != "crnet skip-thoughts":
        raise FormatError("not a text encoder of crnet", path=path)
    if document.get("format") != FORMAT:
        raise FormatError(
            f"encoder format {document.get('format')!r}, this version reads {FORMAT}", path=path, remedy=TRAIN_AGAIN
        )
    names = (WORDS_NAME, *(f"{part}.safetensors" for part in DIRECTIONS))
    files = document.get("files")
    if not isinstance(files, dict) or set(files) != set(names):
        raise FormatError("does not name its files", path=path, remedy=TRAIN_AGAIN)
    for name in names:
        if not (folder / name).is_file() or sha256(folder / name) != files[name]:
            raise FormatError(
                "missing, or not the file that encoder.json names", path=folder / name, remedy=TRAIN_AGAIN
            )
    return files
