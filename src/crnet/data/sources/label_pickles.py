"""Read the label files of First Impressions v2, which are Python 2 pickles, without running code from them.

The result contains only text, numbers and dictionaries. Functions of this module replace the three names that such a
file may call: NumPy's scalar and dtype reconstructors, and the encoder that Python 3 uses to write bytes. Any other
name and any instruction that such files do not need are refused before an object is created.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any

from crnet.errors import LabelError

LARGEST_PICKLE_BYTES = 64 << 20  # the training annotation has about 2 MB
GET_AGAIN = "download the file again from the organisers"

_BUILDING = (
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE",
    "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS", "GLOBAL", "STACK_GLOBAL",
)  # fmt: skip
_NUMBERS = ("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT")
_TEXTS = (
    "BINSTRING", "SHORT_BINSTRING", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
)  # fmt: skip
_MEMO_GETS = ("BINGET", "LONG_BINGET")
_MEMO_PUTS = ("BINPUT", "LONG_BINPUT", "MEMOIZE")
_TUPLES = ("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")
_CALLS = ("REDUCE", "BUILD")
_ALLOWED = frozenset((*_BUILDING, *_NUMBERS, *_TEXTS, *_MEMO_GETS, *_MEMO_PUTS, *_TUPLES, *_CALLS))
_DAMAGE = (ValueError, TypeError, LookupError, EOFError, AttributeError, OverflowError)
_NUMBER_FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}


def read_label_pickle(content: bytes, display_path: str) -> dict[Any, Any]:
    """Read a label pickle of any protocol from 2 on.

    Args:
        content: The file's bytes.
        display_path: Path for messages.

    Returns:
        The dictionary in it; its values are dictionaries, texts and numbers.

    Raises:
        LabelError: Too large, damaged, not a dictionary, or it uses anything that labels do not need.
    """
    if len(content) > LARGEST_PICKLE_BYTES:
        raise LabelError(
            f"has {len(content)} bytes, the limit is {LARGEST_PICKLE_BYTES}", path=display_path, remedy=GET_AGAIN
        )
    try:
        _check_instructions(content)
        labels = _LabelUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _RefusedError as error:
        raise LabelError(
            f"refused: {error}",
            path=display_path,
            remedy="download the file from the organisers; this one is not theirs",
        ) from error
    except (pickle.UnpicklingError, struct.error, *_DAMAGE) as error:
        raise LabelError(f"not a label file, or damaged: {error}", path=display_path, remedy=GET_AGAIN) from error
    if not isinstance(labels, dict):
        raise LabelError(f"contains a {type(labels).__name__}, not a dictionary", path=display_path, remedy=GET_AGAIN)
    return labels


class _RefusedError(Exception):
    """The pickle uses something that labels do not need."""


def _check_instructions(content: bytes) -> None:
    """Refuse unneeded instructions, tuples that are not arguments (they could nest without limit), and memo bombs."""
    memorised = 0
    awaits_call = False
    for opcode, argument, _ in pickletools.genops(content):
        if opcode.name not in _ALLOWED:
            raise _RefusedError(f"it uses the instruction {opcode.name}")
        if opcode.name in ("BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(content):
            raise _RefusedError(f"it gives an object the number {argument}")
        memorised += opcode.name in _MEMO_PUTS
        if awaits_call and opcode.name not in (*_MEMO_PUTS, *_CALLS):
            raise _RefusedError("it contains a tuple")
        if opcode.name in _TUPLES:
            awaits_call = True
        elif opcode.name in _CALLS:
            awaits_call = False


class _Call:
    """A function that a pickle may call. The pickle cannot do anything else with it, such as set its state."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _RefusedError("it changes a function")


class _Dtype:
    """Replaces `numpy.dtype`: the type of a number and, after its state is set, its byte order."""

    def __init__(self, code: str, align: object = False, copy: object = True) -> None:
        self.code = code.lstrip("<>|=")
        self.order = ">" if code.startswith(">") else "<"
        if self.code not in _NUMBER_FORMATS:
            raise _RefusedError(f"it contains numbers of type {code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: _Dtype, raw: str | bytes) -> float:
    """Replace NumPy's `multiarray.scalar`."""
    content = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(dtype, _Dtype):
        raise _RefusedError("it builds a number without a type")
    return float(struct.unpack(dtype.order + _NUMBER_FORMATS[dtype.code], content)[0])


def _encode(text: str, encoding: str) -> bytes:
    """Replace `_codecs.encode`."""
    if encoding != "latin1":
        raise _RefusedError(f"it encodes text as {encoding!r}")
    return text.encode("latin1")


_NAMES = {
    ("numpy.core.multiarray", "scalar"): _Call(_scalar),
    ("numpy._core.multiarray", "scalar"): _Call(_scalar),
    ("numpy", "dtype"): _Call(_Dtype),
    ("_codecs", "encode"): _Call(_encode),
}


class _LabelUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise _RefusedError(f"it uses {module}.{name}")
        return _NAMES[module, name]
