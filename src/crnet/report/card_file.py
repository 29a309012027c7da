"""The file of a model card: what `crnet card` wrote itself, and what somebody has completed by hand since."""

from __future__ import annotations

import re
from pathlib import Path

from crnet.errors import FormatError, UsageError
from crnet.utils.files import read_at_most, write_text
from crnet.utils.resumable import content_fingerprint

LARGEST_CARD_BYTES = 4 << 20
_SEAL = "<!-- Written by crnet card; the SHA-256 of everything above is {}. -->\n"
_FINGERPRINT = re.compile(r"model fingerprint `([0-9a-f]{16})`")


def save_card(path: Path, text: str) -> None:
    """Write a card, unless that would overwrite one that somebody has completed.

    Raises:
        UsageError: There is a file that is not as `crnet card` wrote it.
        StorageError: The file cannot be written.
    """
    if path.exists() and not _is_untouched(_read(path)):
        raise UsageError(
            f"{path} was changed since crnet card wrote it, or is no card of this version",
            remedy="move it away, or name another file with --out",
        )
    write_text(path, text + _SEAL.format(_sha256(text)))


def check_card(path: Path, fingerprint: str) -> None:
    """Refuse a card that describes another model.

    Args:
        path: The card; somebody may have completed it.
        fingerprint: Fingerprint of the model that it should describe.

    Raises:
        FormatError: It names the fingerprint of another model.
    """
    named = set(_FINGERPRINT.findall(_read(path)))
    if named and fingerprint not in named:
        raise FormatError(
            f"describes another model than this bundle (fingerprint {min(named)}, not {fingerprint})",
            path=path,
            remedy="move it away and run crnet card again",
        )


def _read(path: Path) -> str:
    return read_at_most(path, LARGEST_CARD_BYTES, "give a model card").decode(errors="replace")


def _is_untouched(text: str) -> bool:
    body, seal, rest = text.rpartition(_SEAL.partition("{}")[0])
    return seal + rest == _SEAL.format(_sha256(body))


def _sha256(text: str) -> str:
    return content_fingerprint([text.encode(errors="backslashreplace")])
