"""Keys of encrypted archives: from the environment or, on a terminal, from the user."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

KEY_VARIABLE = "CRNET_FIV2_KEY"


@dataclass(frozen=True)
class Key:
    """The key of an archive.

    Attributes:
        value: The key itself.
        source: Where it comes from, for messages, such as "in CRNET_FIV2_KEY".
    """

    value: str = field(repr=False)
    source: str


KeyLookup = Callable[[Sequence[str]], Key | None]
"""A function from the names of an archive and of the archives around it, without `.zip` and innermost first, to its
key; None if there is none, so that the archive is skipped."""


def key_variable(name: str) -> str:
    """Return the environment variable of an archive: its name in capitals, with `_` for all but letters and digits."""
    return f"{KEY_VARIABLE}_{re.sub('[^A-Z0-9]', '_', name.upper())}"


def key_variables(names: Sequence[str]) -> tuple[str, ...]:
    """Return the variables that may hold the key of an archive, in the order in which they are read.

    Args:
        names: As for a `KeyLookup`.
    """
    return (*map(key_variable, names), KEY_VARIABLE)


def locked_remedy(names: Sequence[str]) -> str:
    """Return what to do about an archive without a key; `names` as for a `KeyLookup`."""
    *first, last = key_variables(names)
    return f"set {', '.join(first)} or {last} to its key and run the same command again"


def wrong_key_remedy(names: Sequence[str]) -> str:
    """Return what to do about an archive whose key is wrong; `names` as for a `KeyLookup`."""
    return f"set {key_variable(names[0])} to the key of {names[0]}.zip"


def key_from_environment(variables: Sequence[str]) -> Key | None:
    """Return the key in the first of these variables that is set and not empty; None if there is none."""
    for variable in variables:
        if value := os.environ.get(variable):
            return Key(value, f"in {variable}")
    return None


def ask_for_key(names: Sequence[str]) -> Key | None:
    """Return a key from the environment or, on a terminal, from the user: the default `KeyLookup`.

    The user is asked only for archives on disk, which are opened at the start, and not for those inside another one,
    which may be reached after hours.
    """
    key = key_from_environment(key_variables(names))
    if key is not None or len(names) > 1 or sys.stdin is None or not sys.stdin.isatty():
        return key
    try:
        value = getpass.getpass(f"Key of {names[0]}.zip (the organisers provide it; Enter skips this zip): ")
    except EOFError:
        return None
    return Key(value, "that was typed") if value else None
