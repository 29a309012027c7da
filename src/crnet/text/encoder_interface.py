"""Interface, names and limits that all text encoders share.

An encoder's name is `kind`, `kind:place` or `kind:place#fingerprint`. The place is a folder or a model's name on a hub;
the fingerprint identifies the weights, wherever they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from crnet.errors import ConfigError, FormatError
from crnet.utils.resumable import SHORT_DIGITS

if TYPE_CHECKING:  # the command line lists the encoders in its help and should start without NumPy
    import numpy as np
    from numpy.typing import NDArray

LONGEST_TEXT_CHARACTERS = 100_000  # about two hours of speech; bounds the time that any input can take


class TextEncoder(Protocol):
    """Turns texts into vectors; the same text always gives the same vector.

    `hashed_ngrams.py` is the model for encoders without weights, `sentence.py` for encoders with weights. An encoder
    must:

    - be picklable, because each worker process of `crnet prepare` receives it. With weights, `__reduce__` should let
      the process load them itself, as `SentenceEncoder` does;
    - zero-pad its vectors to 4,800 numbers, and refuse to make longer ones with `check_width`;
    - with weights, end its name in their fingerprint, and compare it with the expected one by `check_fingerprint`;
    - read at most `LONGEST_TEXT_CHARACTERS` of a text.

    `encoders.py` lists the encoders.
    """

    @property
    def name(self) -> str:
        """The name that a bundle records and `encoder_by_name` accepts."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return float32 [n, 4800]; an empty text gives zeros."""


class EncoderName(NamedTuple):
    """The parts of an encoder's name; a missing part is empty.

    Attributes:
        kind: For example "hashed-ngrams-v1" or "skip-thoughts".
        place: A folder, or a model's name on a hub.
        fingerprint: 16 hexadecimal digits that identify the weights.
    """

    kind: str
    place: str = ""
    fingerprint: str = ""

    def __str__(self) -> str:
        place = f":{self.place}" if self.place else ""
        return f"{self.kind}{place}#{self.fingerprint}" if self.fingerprint else f"{self.kind}{place}"


def parse_encoder_name(name: str) -> EncoderName:
    """Split an encoder's name into kind, place and fingerprint."""
    kind, _, rest = name.partition(":")
    place, mark, fingerprint = rest.rpartition("#")
    has_fingerprint = mark and re.fullmatch(f"[0-9a-f]{{{SHORT_DIGITS}}}", fingerprint)
    return EncoderName(kind, place, fingerprint) if has_fingerprint else EncoderName(kind, rest)


def encoder_label(name: str) -> str:
    """Return an encoder's name without its place, which differs between machines; tables and pages show it."""
    kind, _, fingerprint = parse_encoder_name(name)
    return f"{kind}#{fingerprint}" if fingerprint else name


def is_same_encoder(first: str, second: str) -> bool:
    """Return whether two names stand for the same vectors, wherever the files are."""
    return encoder_label(first) == encoder_label(second)


def check_width(width: int, path: Path | str, remedy: str) -> None:
    """Raise unless an encoder's vectors fit into a clip's text, which holds 4,800 numbers.

    Args:
        width: Length of the vectors.
        path: The encoder's folder or name, for the error.
        remedy: What the user can do, for the error.

    Raises:
        ConfigError: The vectors are longer.
    """
    from crnet.types import TEXT_DIMENSIONS

    if width > TEXT_DIMENSIONS:
        reason = f"its vectors have {width} numbers, but a clip's text holds at most {TEXT_DIMENSIONS}"
        raise ConfigError(reason, path=path, remedy=remedy)


def check_finite(vectors: NDArray[np.float32], path: Path | str) -> None:
    """Refuse vectors of damaged weights: they would make every score of a clip not-a-number.

    Raises:
        FormatError: A number is not finite; the error names `path`, the encoder's weights.
    """
    import numpy as np  # the command line's help, which needs the names of encoders, takes no time for it

    if not np.isfinite(vectors).all():
        raise FormatError(
            "its weights are damaged: a text's vector is not finite", path=path, remedy="copy the encoder again"
        )


def check_fingerprint(name: str, expected: str | None) -> None:
    """Raise unless an encoder's weights have the expected fingerprint; None accepts any.

    Args:
        name: Full name of the encoder that was loaded.
        expected: Fingerprint of the weights that were used before.

    Raises:
        ConfigError: The weights differ.
    """
    kind, place, fingerprint = parse_encoder_name(name)
    if expected and fingerprint != expected:
        raise ConfigError(
            f"these weights are not the ones that were used: {kind}#{fingerprint}, not {kind}#{expected}",
            path=place,
            remedy="restore the old weights, or name their folder with --encoder",
        )
