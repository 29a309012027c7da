"""Convert tables of word vectors that NumPy saved as pickled objects to plain numbers, without unpickling them.

The authors' `utable.npy` and `btable.npy` are arrays of dtype object, written under Python 2: a pickle in which each
row is a separate array. The small interpreter below executes only the few instructions that such a pickle needs. It
knows numbers, texts, tuples, and the three names by which NumPy rebuilds arrays, which it does not call. It refuses
everything else. Rows go to the new file one by one, so memory does not grow with the length of the vectors.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any, Literal

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from crnet.errors import FormatError
from crnet.utils.files import atomic_write
from crnet.utils.progress import Progress, no_progress

MAX_ROWS = 20_000_000
MAX_ROW_BYTES = 1 << 20
MAX_NAME_BYTES = 200
MAX_STACK = 100_000  # pickle lists rows a thousand at a time
MAX_MEMO = 1_000_000  # the published tables need a dozen; short vectors take one each
MAX_TUPLE = 16  # values in a tuple; the state of an array has five
INSTRUCTIONS_PER_ROW = 64  # a row of Python 2 takes 20
PROGRESS_ROWS = 10_000  # rows between two progress reports
LARGE_BYTES = 64  # longer values may be a row's content and are not memoised
REMEDY = "get the file again; this one is damaged or not a table of word vectors"

_RECONSTRUCT = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
_NDARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_FLOATS = {"f4": np.float32, "f8": np.float64}
_VALUES = (
    "BININT BININT1 BININT2 LONG1 INT NONE NEWTRUE NEWFALSE "
    "BINSTRING SHORT_BINSTRING BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES"
)
_PUSH = frozenset(_VALUES.split())
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_PUTS, _GETS = frozenset({"BINPUT", "LONG_BINPUT", "MEMOIZE"}), frozenset({"BINGET", "LONG_BINGET"})
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = frozenset({"PROTO", "FRAME"})


@dataclass(frozen=True)
class _Global:
    """A name that the pickle imports; nothing is imported."""

    name: str


@dataclass
class _DType:
    """Placeholder for a `numpy.dtype`."""

    code: str
    order: Literal["<", ">"] = "<"


@dataclass
class _Array:
    """Placeholder for an array; `row` is its number once its content was written, -1 for the whole table."""

    row: int | None = None


class _List:
    """Placeholder for the list of rows."""


_MARK = object()


class _RefusedError(Exception):
    """The pickle contains something that a table of vectors does not need."""


def is_object_table(path: str | Path) -> bool:
    """Return whether an `.npy` file holds pickled objects instead of plain numbers.

    Raises:
        FormatError: The file cannot be read or is not an `.npy` file.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return read_npy_header(file)[2].hasobject
    except (OSError, ValueError, RecursionError) as error:
        raise FormatError(f"not a NumPy array: {error}", path=path, remedy=REMEDY) from error


def convert_table(source: str | Path, target: str | Path, progress: Progress = no_progress) -> tuple[int, int]:
    """Write the vectors of an object table as a plain float32 array; no code from the file runs.

    Args:
        source: An `.npy` file of dtype object whose elements are vectors of one length.
        target: The new `.npy` file, written in one step.
        progress: Called every 10,000 rows.

    Returns:
        The number of rows and their length.

    Raises:
        FormatError: `source` is damaged, is not such a table, or contains instructions that a table does not need.
        StorageError: `target` cannot be written.
    """
    source, target = Path(source), Path(target)
    try:
        with source.open("rb") as file, atomic_write(target) as temporary, temporary.open("wb") as plain:
            shape, fortran, _ = read_npy_header(file)
            if not shape or fortran:
                raise ValueError("not a table")
            rows = shape[0]
            if not 0 < rows <= MAX_ROWS:
                raise _RefusedError(f"it has {rows} rows")
            writer = _RowWriter(plain, rows, lambda row: progress(f"reading {source.name}", row, rows))
            _PickleInterpreter(writer.write).run(_BoundedReader(file), rows)
            writer.check()
            return rows, writer.length
    except _RefusedError as error:
        raise FormatError(f"refused: {error}", path=source, remedy=REMEDY) from error
    except (ValueError, IndexError, TypeError, OverflowError, RecursionError) as error:
        raise FormatError(f"damaged, or not a table of word vectors: {error}", path=source, remedy=REMEDY) from error


def read_npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of an `.npy` file: the shape, whether the array is in Fortran order, and the type.

    Raises:
        ValueError, RecursionError: It is damaged.
    """
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        return read(file)
    except TokenError as error:  # of a header that is cut short
        raise ValueError(f"its header cannot be read: {error}") from error


class _BoundedReader:
    """A file that refuses to read more than one row at a time."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.tell = file.tell

    def read(self, count: int) -> bytes:
        if count > MAX_ROW_BYTES:
            raise _RefusedError(f"one value in it has {count} bytes")
        return self._file.read(count)

    def readline(self) -> bytes:
        return self._file.readline(MAX_NAME_BYTES)


class _RowWriter:
    """Writes rows of one length below an `.npy` header."""

    def __init__(self, file: IO[bytes], rows: int, report: Callable[[int], None]) -> None:
        self._file, self._rows, self._report = file, rows, report
        self._written = 0
        self.length = 0

    def write(self, row: NDArray[Any]) -> int:
        """Write the next row and return its number."""
        if self._written == 0:
            self.length = len(row)
            header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self.length)}
            npy.write_array_header_1_0(self._file, header)
        if len(row) != self.length or not row.size:
            raise _RefusedError(f"row {self._written} has {len(row)} numbers, but the first row has {self.length}")
        self._file.write(row.astype("<f4").tobytes())
        self._written += 1
        if self._written % PROGRESS_ROWS == 0 or self._written == self._rows:
            self._report(self._written)
        return self._written - 1

    def check(self) -> None:
        """Raise unless all rows were written."""
        if self._written != self._rows:
            raise _RefusedError(f"it holds {self._written} rows, but its header says {self._rows}")


class _PickleInterpreter:
    """Executes the instructions of a pickle that rebuild an array of arrays, and no others."""

    def __init__(self, write: Callable[[NDArray[Any]], int]) -> None:
        self._write = write
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._puts = 0
        self._listed_rows = 0
        self._large_values = 0  # that no row has taken yet

    def run(self, file: _BoundedReader, rows: int) -> None:
        """Execute the whole pickle of a table of so many rows.

        Raises:
            _RefusedError: The pickle contains another instruction.
        """
        budget = INSTRUCTIONS_PER_ROW * (rows + MAX_TUPLE)
        instructions = pickletools.genops(file)  # type: ignore[arg-type]  # needs these three methods only
        for number, (opcode, argument, _) in enumerate(instructions):
            if number >= budget or len(self._stack) > MAX_STACK:
                raise _RefusedError(f"it has more instructions than {rows} rows need")
            name = opcode.name
            if name in _PUSH:
                self._push(_CONSTANTS.get(name, argument))
            elif name in _PUTS:
                self._put(self._puts if argument is None else argument)
            elif name in _GETS:
                self._stack.append(self._memo[argument] if argument in self._memo else _refuse("it holds a row twice"))
            elif name in _TUPLES:
                self._push_tuple(self._pop(_TUPLES[name]))
            elif name not in _IGNORED:
                self._execute(name, argument)
        if len(self._stack) != 1 or not isinstance(self._stack[0], _Array) or self._stack[0].row != -1:
            raise _RefusedError("it is not an array")

    def _execute(self, name: str, argument: Any) -> None:
        match name:
            case "MARK":
                self._stack.append(_MARK)
            case "TUPLE":
                self._push_tuple(tuple(self._pop_to_mark()))
            case "EMPTY_LIST":
                self._stack.append(_List())
            case "APPEND":
                self._append(self._pop(1))
            case "APPENDS":
                self._append(self._pop_to_mark())
            case "GLOBAL":
                self._stack.append(_checked_global(argument))
            case "STACK_GLOBAL":
                self._stack.append(_checked_global(" ".join(self._pop(2))))
            case "REDUCE":
                self._stack.append(_placeholder(*self._pop(2)))
            case "BUILD":
                self._build(*self._pop(1))
            case "STOP":
                pass
            case _:
                raise _RefusedError(f"it uses the instruction {name}")

    def _push(self, value: Any) -> None:
        if _is_large(value):
            self._large_values += 1
            if self._large_values > 1:
                raise _RefusedError("it holds a long value that is not the content of a row")
        self._stack.append(value)

    def _push_tuple(self, values: tuple[Any, ...]) -> None:
        """Push a tuple of values, some of which may be tuples of values: the shape inside the state of an array."""
        inner = [value for value in values if isinstance(value, tuple)]
        if any(isinstance(value, tuple) for one in inner for value in one) or len(values) > MAX_TUPLE:
            raise _RefusedError("it holds a tuple that a row does not need")
        self._stack.append(values)

    def _put(self, number: int) -> None:
        """Memoise the top of the stack, except rows, their content, and tuples: each of those is needed once."""
        self._puts += 1
        top = self._stack[-1]
        if isinstance(top, tuple | _Array | _List) or _is_large(top):
            return
        self._memo[number] = top
        if len(self._memo) > MAX_MEMO:
            raise _RefusedError(f"it remembers more than {MAX_MEMO} values")

    def _pop(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) < count or any(value is _MARK for value in self._stack[len(self._stack) - count :]):
            raise _RefusedError("its stack runs empty")
        values = tuple(self._stack[len(self._stack) - count :])
        del self._stack[len(self._stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        values = []
        while (value := self._stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _append(self, items: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(self._stack[-1], _List):
            raise _RefusedError("it appends to something that is not a list")
        for item in items:
            if not isinstance(item, _Array) or item.row != self._listed_rows:
                raise _RefusedError("it lists something other than its rows in their order")
            self._listed_rows += 1

    def _build(self, state: Any) -> None:
        target = self._stack[-1]
        if not isinstance(state, tuple):
            raise _RefusedError("it sets a state that is not a tuple")
        if isinstance(target, _DType):
            target.order = ">" if state[1] == ">" else "<"
        elif isinstance(target, _Array) and target.row is None:
            _version, _shape, dtype, _fortran, content = state
            if isinstance(content, _List):
                target.row = -1
            else:
                target.row = self._write(_row_values(dtype, content))
                self._large_values = 0
        else:
            raise _RefusedError("it sets the state of something other than an array")


def _is_large(value: Any) -> bool:
    """Return whether a value may be the content of a row."""
    return isinstance(value, str | bytes) and len(value) > LARGE_BYTES


def _refuse(reason: str) -> Any:
    raise _RefusedError(reason)


def _checked_global(name: str) -> _Global:
    if name not in _RECONSTRUCT and name not in (_NDARRAY, _DTYPE):
        raise _RefusedError(f"it imports {name.replace(' ', '.')}")
    return _Global(name)


def _placeholder(function: Any, arguments: Any) -> _DType | _Array:
    """Return the placeholder for the result of a call, without calling anything."""
    if not isinstance(function, _Global) or not isinstance(arguments, tuple):
        raise _RefusedError("it calls something that is not a function")
    if function.name in _RECONSTRUCT:
        return _Array()
    if function.name == _DTYPE and isinstance(arguments[0], str):
        code = arguments[0]
        return _DType(code.lstrip("<>|="), ">" if code.startswith(">") else "<")
    raise _RefusedError(f"it calls {function.name.replace(' ', '.')}")


def _row_values(dtype: Any, content: Any) -> NDArray[Any]:
    if not isinstance(dtype, _DType) or dtype.code not in _FLOATS:
        raise _RefusedError("it holds a row that is not a vector of floats")
    raw = content.encode("latin1") if isinstance(content, str) else content
    if not isinstance(raw, bytes):
        raise _RefusedError("it holds a row without numbers")
    return np.frombuffer(raw, dtype=np.dtype(_FLOATS[dtype.code]).newbyteorder(dtype.order))
