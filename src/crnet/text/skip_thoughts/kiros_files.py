"""The files of Kiros et al. (2015), read as data: nothing from them is run.

    dictionary.txt       a word a line: the rows of both tables
    utable.npy           vectors of the words for the uni-skip encoder, 620 numbers each
    btable.npy           those for the bi-skip encoder
    uni_skip.npz         weights of the uni-skip encoder, a GRU of 2,400 units, and its options in uni_skip.npz.pkl
    bi_skip.npz          weights of the bi-skip encoder, two GRUs of 1,200 units, and its options in bi_skip.npz.pkl

Of an `.npz` file the arrays `<prefix>_<name>` are read, where the prefix is `encoder` or, for the GRU that reads
backwards, `encoder_r`, and the name is W [words, 2 units], b, U (reset and update gate), Wx [words, units], bx, Ux (the
proposal). The tables were saved as pickled objects: `crnet text fetch` turns them into `*.plain.npy`.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crnet.errors import FormatError
from crnet.text.skip_thoughts.file_hashes import file_sha256
from crnet.text.skip_thoughts.npy_object_tables import is_object_table
from crnet.text.skip_thoughts.weights import DIRECTIONS, UNKNOWN, Gru, Parts, digest_of

DICTIONARY = "dictionary.txt"
TABLES = {"uni": "utable.npy", "bi": "btable.npy"}
WEIGHTS = {"uni": "uni_skip.npz", "bi": "bi_skip.npz"}
PREFIXES = {"forwards": "encoder", "backwards": "encoder_r"}
OPTIONS_SUFFIX = ".pkl"
PLAIN_SUFFIX = ".plain.npy"
PUBLISHED_FILES = (
    DICTIONARY,
    *TABLES.values(),
    *(name for weights in WEIGHTS.values() for name in (weights, weights + OPTIONS_SUFFIX)),
)

LARGEST_OPTIONS_BYTES = 1 << 16  # the published ones have some hundred bytes
LARGEST_ARRAY_BYTES = 1 << 30  # the published ones have at most 46 MB
FETCH = "see `crnet text fetch`, which says where the files come from and checks them"

# What a pickled dictionary of plain values needs; every instruction that could look something up or call it is out.
_PLAIN = (
    "PROTO FRAME STOP MARK POP NONE NEWTRUE NEWFALSE INT LONG LONG1 BININT BININT1 BININT2 FLOAT BINFLOAT "
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE DICT EMPTY_DICT SETITEM SETITEMS "
    "LIST EMPTY_LIST APPEND APPENDS TUPLE EMPTY_TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET"
)
_PLAIN_INSTRUCTIONS = frozenset(_PLAIN.split())


def read(folder: Path) -> Parts:
    """The authors' encoder.

    Raises:
        FormatError: A file is missing, damaged or foreign.
    """
    words = read_words(folder / DICTIONARY)
    paths = {part: find_table(folder, part) for part in TABLES}
    tables = {part: open_table(path, len(words)) for part, path in paths.items()}
    grus = {part: read_grus(folder, part) for part in WEIGHTS}
    for part, table in tables.items():
        expected = grus[part][0].weight_ih.shape[1]
        if table.shape[1] != expected:
            raise FormatError(
                f"its vectors have {table.shape[1]} numbers, the GRU of {WEIGHTS[part]} reads {expected}",
                path=paths[part],
                remedy=FETCH,
            )
    used = [folder / DICTIONARY, *paths.values(), *(folder / name for name in WEIGHTS.values())]
    digest = digest_of([file_sha256(path) for path in used])
    # Of equal words the last one's row counts, as in the authors' code.
    return Parts({word: row for row, word in enumerate(words)}, tables, grus, digest)


def find_table(folder: Path, part: str) -> Path:
    """The table of "uni" or "bi" that can be read: the plain one if there is one.

    Raises:
        FormatError: There is none, or only one of pickled objects.
    """
    published = folder / TABLES[part]
    plain = published.with_suffix(PLAIN_SUFFIX)
    if plain.is_file():
        return plain
    if not published.is_file():
        raise FormatError("not found, so these are not the published skip-thoughts files", path=published, remedy=FETCH)
    if is_object_table(published):
        raise FormatError(
            "holds pickled objects, as the authors published it",
            path=published,
            remedy=f"run `crnet text fetch {folder}` once: it turns it into plain numbers and runs nothing from it",
        )
    return published


def open_table(path: Path, words: int) -> NDArray[np.float32]:
    """A table [words, dimensions], mapped from disk: only rows that are looked up are read.

    Raises:
        FormatError: Damaged, of another shape or of other numbers.
    """
    try:
        table = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"not a table of word vectors: {error}", path=path, remedy=FETCH) from error
    if table.ndim != 2 or table.dtype.kind != "f" or len(table) != words:
        raise FormatError(
            f"is {table.dtype}{list(table.shape)}, the dictionary has {words} words", path=path, remedy=FETCH
        )
    return table


def read_words(path: Path) -> list[str]:
    """The words, one for each row of the tables. As in the authors' code only a line feed ends a word.

    Raises:
        FormatError: Missing, not UTF-8, or without the word UNK, which stands for all others.
    """
    try:
        with path.open("rb") as file:
            words = [line.decode("utf-8").strip() for line in file]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"not a dictionary: {error}", path=path, remedy=FETCH) from error
    if UNKNOWN not in words:
        raise FormatError(f"has no {UNKNOWN}, which stands for unknown words", path=path, remedy=FETCH)
    return words


def read_options(path: Path) -> dict[str, Any]:
    """An option pickle: a dictionary of names and plain values, of any protocol.

    Raises:
        FormatError: Missing, too large, damaged, or it asks for anything but plain values.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_OPTIONS_BYTES + 1)
    except OSError as error:
        raise FormatError(f"cannot be read: {error.strerror or error}", path=path, remedy=FETCH) from error
    if len(content) > LARGEST_OPTIONS_BYTES:
        raise FormatError(f"larger than {LARGEST_OPTIONS_BYTES >> 10} kB: no options", path=path, remedy=FETCH)
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name not in _PLAIN_INSTRUCTIONS:
                raise FormatError(
                    f"refused: it uses the instruction {opcode.name}, options need none that imports or calls",
                    path=path,
                    remedy="do not trust this file; " + FETCH,
                )
            if "PUT" in opcode.name and int(str(argument)) > len(content):
                raise ValueError(f"it numbers an object {argument}")
        options = _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (pickle.UnpicklingError, ValueError, TypeError, LookupError, EOFError, AttributeError) as error:
        raise FormatError(f"not an option file, or damaged: {error}", path=path, remedy=FETCH) from error
    if not isinstance(options, dict):
        raise FormatError(f"holds a {type(options).__name__}, not a dictionary", path=path, remedy=FETCH)
    return options


class _PlainUnpickler(pickle.Unpickler):
    """The second lock: the instructions have been looked at already."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def read_grus(folder: Path, part: str) -> list[Gru]:
    """The encoder of "uni" (one GRU) or "bi" (forwards, backwards).

    Raises:
        FormatError: Missing, damaged, or not what its options say.
    """
    path = folder / WEIGHTS[part]
    options = read_options(path.with_name(path.name + OPTIONS_SUFFIX))
    words, units = options.get("dim_word"), options.get("dim")
    if options.get("encoder") != "gru" or not isinstance(words, int) or not isinstance(units, int):
        raise FormatError(f"its options do not describe a GRU: {_short(options)}", path=path, remedy=FETCH)
    arrays = dict(_read_arrays(path))
    return [_gru(arrays, PREFIXES[direction], words, units, path) for direction in DIRECTIONS[part]]


def _read_arrays(path: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.filename.startswith("encoder_") and member.file_size <= LARGEST_ARRAY_BYTES:
                    with archive.open(member) as file:
                        yield member.filename.removesuffix(".npy"), np.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise FormatError(f"not an archive of arrays, or damaged: {error}", path=path, remedy=FETCH) from error


def _gru(arrays: Mapping[str, NDArray[Any]], prefix: str, words: int, units: int, path: Path) -> Gru:
    shapes = {
        "W": (words, 2 * units), "U": (units, 2 * units), "b": (2 * units,),
        "Wx": (words, units), "Ux": (units, units), "bx": (units,),
    }  # fmt: skip
    found = {}
    for name, shape in shapes.items():
        array = arrays.get(f"{prefix}_{name}")
        if array is None or array.shape != shape or array.dtype.kind != "f":
            what = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
            raise FormatError(f"{prefix}_{name} is {what}, not floats {list(shape)}", path=path, remedy=FETCH)
        found[name] = torch.from_numpy(array.astype(np.float32))
    return Gru(
        torch.cat([found["W"], found["Wx"]], dim=1).T.contiguous(),
        torch.cat([found["U"], found["Ux"]], dim=1).T.contiguous(),
        torch.cat([found["b"], found["bx"]]),
    )


def _short(options: Mapping[str, Any]) -> str:
    return str({name: options.get(name) for name in ("encoder", "dim_word", "dim")})[:200]
