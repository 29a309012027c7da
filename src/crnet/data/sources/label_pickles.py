"""Read the label files of First Impressions v2, which are Python 2 pickles, without running code from them.

The files contain a dictionary of texts, or of dictionaries of numbers; `crnet.utils.plain_pickle` builds nothing else.
Functions of this module replace the three names that such a file may call: NumPy's scalar and dtype reconstructors, and
the encoder that Python 3 uses to write bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from crnet.errors import LabelError
from crnet.utils.plain_pickle import PickleLimits, RefusedPickleError, read_plain_pickle

LARGEST_PICKLE_BYTES = 32 << 20  # the training annotation has about 2 MB
GET_AGAIN = "download the file again from the organisers"

# 10,000 clips of six targets, all of them NumPy's numbers, take 600,000 instructions and 240,000 entries of the memo.
MOST_INSTRUCTIONS = 4_000_000
MOST_REMEMBERED = 1_000_000
MOST_DICTIONARIES = 1_000  # one, and one for each target
DEPTH = 2

_DAMAGE = (ValueError, TypeError, LookupError, EOFError, AttributeError, OverflowError, struct.error)
_NUMBER_FORMATS = {"f8": "d", "f4": "f", "i8": "q", "i4": "i"}


def read_label_pickle(content: bytes, display_path: str) -> dict[str, Any]:
    """Read a label pickle of any protocol from 2 on.

    Args:
        content: The file's bytes.
        display_path: Path for messages.

    Returns:
        The dictionary in it. Its keys are texts; its values are texts, numbers, and dictionaries from texts to texts
        and numbers.

    Raises:
        LabelError: Too large, damaged, not a dictionary, or it uses anything that labels do not need.
    """
    if len(content) > LARGEST_PICKLE_BYTES:
        raise LabelError(
            f"has {len(content)} bytes, the limit is {LARGEST_PICKLE_BYTES}", path=display_path, remedy=GET_AGAIN
        )
    try:
        labels = read_plain_pickle(content, _LIMITS)
    except RefusedPickleError as error:
        raise LabelError(
            f"refused: {error}",
            path=display_path,
            remedy="download the file from the organisers; this one is not theirs",
        ) from error
    except _DAMAGE as error:
        raise LabelError(f"not a label file, or damaged: {error}", path=display_path, remedy=GET_AGAIN) from error
    if not isinstance(labels, dict):
        raise LabelError(f"contains a {type(labels).__name__}, not a dictionary", path=display_path, remedy=GET_AGAIN)
    return labels


@dataclass
class _Dtype:
    """Replaces `numpy.dtype`: the type of a number and, after its state is set, its byte order."""

    code: str
    order: str


def _dtype(code: str, align: object = False, copy: object = True) -> _Dtype:
    """Replace `numpy.dtype`."""
    name = code.lstrip("<>|=")
    if name not in _NUMBER_FORMATS:
        raise RefusedPickleError(f"it contains numbers of type {code!r:.100}")
    return _Dtype(name, ">" if code.startswith(">") else "<")


def _set_state(target: Any, state: tuple[Any, ...]) -> None:
    """Set the byte order of a dtype."""
    if not isinstance(target, _Dtype):
        raise RefusedPickleError("it sets the state of something other than a number's type")
    target.order = ">" if state[1] == ">" else "<"


def _scalar(dtype: _Dtype, raw: str | bytes) -> float:
    """Replace NumPy's `multiarray.scalar`."""
    content = raw.encode("latin1") if isinstance(raw, str) else raw
    if not isinstance(dtype, _Dtype):
        raise RefusedPickleError("it builds a number without a type")
    return float(struct.unpack(dtype.order + _NUMBER_FORMATS[dtype.code], content)[0])


def _encode(text: str, encoding: str) -> bytes:
    """Replace `_codecs.encode`."""
    if encoding != "latin1":
        raise RefusedPickleError(f"it encodes text as {encoding!r:.100}")
    return text.encode("latin1")


_LIMITS = PickleLimits(
    instructions=MOST_INSTRUCTIONS,
    memo=MOST_REMEMBERED,
    containers=MOST_DICTIONARIES,
    depth=DEPTH,
    calls={
        "numpy.core.multiarray scalar": _scalar,
        "numpy._core.multiarray scalar": _scalar,
        "numpy dtype": _dtype,
        "_codecs encode": _encode,
    },
    set_state=_set_state,
)
