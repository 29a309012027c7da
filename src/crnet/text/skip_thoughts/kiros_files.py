"""Read the files of Kiros et al. (2015) as data; no code from them runs.

    dictionary.txt       one word per line: the rows of both tables
    utable.npy           word vectors of the uni-skip encoder, 620 numbers each
    btable.npy           word vectors of the bi-skip encoder
    uni_skip.npz         weights of the uni-skip encoder, a GRU of 2,400 units; its options are in uni_skip.npz.pkl
    bi_skip.npz          weights of the bi-skip encoder, two GRUs of 1,200 units; its options are in bi_skip.npz.pkl

The arrays in an `.npz` file are called `<prefix>_<name>`. The prefix is `encoder` or, for the GRU that reads backwards,
`encoder_r`. The names are W [words, 2 units], b, U (reset and update gates) and Wx [words, units], bx, Ux (proposal).
The authors saved the tables as pickled objects; `crnet text fetch` converts them to `*.plain.npy`.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crnet.errors import FormatError
from crnet.text.skip_thoughts.file_hashes import cached_sha256
from crnet.text.skip_thoughts.npy_object_tables import is_object_table, read_npy_header
from crnet.text.skip_thoughts.weights import DIRECTIONS, UNKNOWN, GruWeights, SkipThoughtsWeights, files_fingerprint
from crnet.utils.files import require_regular_file
from crnet.utils.plain_pickle import PickleLimits, RefusedPickleError, read_plain_pickle

DICTIONARY = "dictionary.txt"
TABLES = {"uni": "utable.npy", "bi": "btable.npy"}
WEIGHTS = {"uni": "uni_skip.npz", "bi": "bi_skip.npz"}
PREFIXES = {"forwards": "encoder", "backwards": "encoder_r"}
ARRAYS = ("W", "U", "b", "Wx", "Ux", "bx")
OPTIONS_SUFFIX = ".pkl"
PLAIN_SUFFIX = ".plain.npy"
KIROS_FILES = (
    DICTIONARY,
    *TABLES.values(),
    *(name for weights in WEIGHTS.values() for name in (weights, weights + OPTIONS_SUFFIX)),
)

LARGEST_OPTIONS_BYTES = 1 << 16  # the authors' files have a few hundred bytes
LARGEST_WEIGHTS_BYTES = 512 << 20  # of all arrays of an encoder; the authors' have at most 87 MB
REMEDY = "see `crnet text fetch`, which names the source of the files and checks them"

_OPTIONS = PickleLimits(instructions=20_000, memo=20_000, containers=1_000, depth=4, plain=True)


def read_kiros_files(folder: Path) -> SkipThoughtsWeights:
    """Read the authors' encoder.

    Raises:
        FormatError: A file is missing, damaged or of another kind.
    """
    words = read_words(folder / DICTIONARY)
    paths = {part: find_table(folder, part) for part in TABLES}
    tables = {part: open_table(path, len(words)) for part, path in paths.items()}
    grus = {part: read_grus(folder, part) for part in WEIGHTS}
    for part, table in tables.items():
        expected = grus[part][0].weight_ih.shape[1]
        if table.shape[1] != expected:
            raise FormatError(
                f"its vectors have {table.shape[1]} numbers, but the GRU of {WEIGHTS[part]} reads {expected}",
                path=paths[part],
                remedy=REMEDY,
            )
    paths_read = [folder / DICTIONARY, *paths.values(), *(folder / name for name in WEIGHTS.values())]
    fingerprint = files_fingerprint([cached_sha256(path) for path in paths_read])
    # If a word occurs twice, its last row counts, as in the authors' code.
    return SkipThoughtsWeights({word: row for row, word in enumerate(words)}, tables, grus, fingerprint)


def find_table(folder: Path, part: str) -> Path:
    """Return the path of the table of "uni" or "bi", the converted one if it exists.

    Raises:
        FormatError: There is no table, or only one of pickled objects.
    """
    original = folder / TABLES[part]
    plain = original.with_suffix(PLAIN_SUFFIX)
    if plain.is_file():
        return plain
    if not original.is_file():
        raise FormatError("not found, so these are not the published skip-thoughts files", path=original, remedy=REMEDY)
    if is_object_table(original):
        raise FormatError(
            "holds pickled objects, as the authors published it",
            path=original,
            remedy=f"run `crnet text fetch {folder}` once to convert it to plain numbers; no code from it runs",
        )
    return original


def open_table(path: Path, words: int) -> NDArray[np.float32]:
    """Open a table [words, dimensions], mapped from disk so that only the rows in use are read.

    Raises:
        FormatError: The table is damaged, has another shape, or does not hold floats.
    """
    try:
        require_regular_file(path)
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"not a table of word vectors: {error}", path=path, remedy=REMEDY) from error
    if table.ndim != 2 or table.dtype.kind != "f" or len(table) != words:
        raise FormatError(
            f"is {table.dtype}{list(table.shape)}, but the dictionary has {words} words", path=path, remedy=REMEDY
        )
    return table


def read_words(path: Path) -> list[str]:
    """Read the dictionary: one word for each row of the tables. As in the authors' code, only a line feed ends a word.

    Raises:
        FormatError: The file is missing, not UTF-8, or has no entry UNK for unknown words.
    """
    try:
        require_regular_file(path)
        with path.open("rb") as file:
            words = [line.decode("utf-8").strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"not a dictionary: {error}", path=path, remedy=REMEDY) from error
    if UNKNOWN not in words:
        raise FormatError(f"has no entry {UNKNOWN} for unknown words", path=path, remedy=REMEDY)
    return words


def read_options(path: Path) -> dict[str, Any]:
    """Read a pickled dictionary of names and plain values, in any pickle protocol, without unpickling it.

    Raises:
        FormatError: The file is missing, too large or damaged, or holds anything but plain values.
    """
    try:
        require_regular_file(path)
        with path.open("rb") as file:
            content = file.read(LARGEST_OPTIONS_BYTES + 1)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", path=path, remedy=REMEDY) from error
    if len(content) > LARGEST_OPTIONS_BYTES:
        raise FormatError(
            f"larger than {LARGEST_OPTIONS_BYTES >> 10} kB, so not an option file", path=path, remedy=REMEDY
        )
    try:
        options = read_plain_pickle(content, _OPTIONS)
    except RefusedPickleError as error:
        remedy = "do not trust this file; " + REMEDY
        raise FormatError(f"refused: {error}, which an option file does not need", path=path, remedy=remedy) from error
    except (ValueError, TypeError, LookupError, EOFError, AttributeError, OverflowError) as error:
        raise FormatError(f"not an option file, or damaged: {error}", path=path, remedy=REMEDY) from error
    if not isinstance(options, dict):
        raise FormatError(f"holds a {type(options).__name__}, not a dictionary", path=path, remedy=REMEDY)
    return options


def read_grus(folder: Path, part: str) -> list[GruWeights]:
    """Read the encoder of "uni" (one GRU) or "bi" (forwards, backwards).

    Raises:
        FormatError: A file is missing or damaged, or the weights do not match their options.
    """
    path = folder / WEIGHTS[part]
    options = read_options(path.with_name(path.name + OPTIONS_SUFFIX))
    words, units = options.get("dim_word"), options.get("dim")
    if options.get("encoder") != "gru" or not isinstance(words, int) or not isinstance(units, int):
        raise FormatError(f"its options do not describe a GRU: {_summary(options)}", path=path, remedy=REMEDY)
    prefixes = [PREFIXES[direction] for direction in DIRECTIONS[part]]
    arrays = _read_arrays(path, {f"{prefix}_{name}.npy" for prefix in prefixes for name in ARRAYS})
    return [_gru(arrays, prefix, words, units, path) for prefix in prefixes]


def _read_arrays(path: Path, members: Collection[str]) -> dict[str, NDArray[Any]]:
    try:
        require_regular_file(path)
        with zipfile.ZipFile(path) as archive:
            present = [member for member in archive.infolist() if member.filename in members]
            unpacked = sum(member.file_size for member in present)
            if unpacked > LARGEST_WEIGHTS_BYTES:
                raise ValueError(f"its arrays have {unpacked} bytes, the limit is {LARGEST_WEIGHTS_BYTES}")
            return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in present}
    except (
        OSError,
        ValueError,
        EOFError,
        RecursionError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        raise FormatError(f"not an archive of arrays, or damaged: {error}", path=path, remedy=REMEDY) from error


def _array(content: bytes) -> NDArray[Any]:
    """Return the array of an `.npy` file; its shape is compared with the length before anything is allocated."""
    file = io.BytesIO(content)
    shape, fortran, dtype = read_npy_header(file)
    if dtype.hasobject:
        raise ValueError("Object arrays cannot be loaded, because they are pickles")
    if math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"an array of type {dtype} and shape {list(shape)} does not fit its file")
    return np.frombuffer(content, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")


def _gru(arrays: Mapping[str, NDArray[Any]], prefix: str, words: int, units: int, path: Path) -> GruWeights:
    shapes = {
        "W": (words, 2 * units), "U": (units, 2 * units), "b": (2 * units,),
        "Wx": (words, units), "Ux": (units, units), "bx": (units,),
    }  # fmt: skip
    tensors = {}
    for name, shape in shapes.items():
        array = arrays.get(f"{prefix}_{name}")
        if array is None or array.shape != shape or array.dtype.kind != "f":
            actual = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise FormatError(f"{prefix}_{name} is {actual}, not floats {list(shape)}", path=path, remedy=REMEDY)
        tensors[name] = torch.from_numpy(array.astype(np.float32))
    return GruWeights(
        torch.cat([tensors["W"], tensors["Wx"]], dim=1).T.contiguous(),
        torch.cat([tensors["U"], tensors["Ux"]], dim=1).T.contiguous(),
        torch.cat([tensors["b"], tensors["bx"]]),
    )


def _summary(options: Mapping[str, Any]) -> str:
    return str({name: options.get(name) for name in ("encoder", "dim_word", "dim")})[:200]
