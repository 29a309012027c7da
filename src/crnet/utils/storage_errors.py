"""What the errors of the packages that reach object storage mean: each raises errors of its own kinds."""

from __future__ import annotations

import errno
import re
import tempfile
from http import HTTPStatus
from pathlib import Path

from crnet.errors import CrnetError, MissingDependencyError, StorageError

_FULL = re.compile(r"\bfull\b|StorageFull|quota|insufficient ?storage|\b507\b", re.IGNORECASE)
_REFUSED = re.compile(r"credentials|forbidden|denied|unauthorized|signature|access key|\b40[13]\b", re.IGNORECASE)
_LOST_CREDENTIALS = re.compile(r"credentials|expired|token|signature|access key|skew", re.IGNORECASE)
_NO_RETRY = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError, ValueError)


def may_pass(error: Exception) -> bool:
    """Whether trying again can help."""
    text = str(error)
    if isinstance(error, (*_NO_RETRY, StorageError, MissingDependencyError)) or _is_behind_the_end(error):
        return False
    if _says_unsupported(error):
        return False
    return not (_REFUSED.search(text) or _FULL.search(text) or "Credentials" in type(error).__name__)


def _is_behind_the_end(error: Exception) -> bool:
    """Whether a range was read that begins behind the end of the object."""
    if getattr(error, "code", None) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # of gcsfs
        return True
    return isinstance(error, OSError) and error.errno == errno.EINVAL and "range" in str(error).lower()


def is_taken(error: Exception) -> bool:
    """Whether a write that required a new object found one."""
    return "PreconditionFailed" in str(error) or "At least one of the pre-conditions" in str(error)


def is_unsupported(error: StorageError) -> bool:
    """Whether the storage does not know the request: there is storage that cannot require a new object, for example."""
    return _says_unsupported(error.__cause__)


def _says_unsupported(error: BaseException | None) -> bool:
    return isinstance(error, OSError) and error.errno == errno.ENOSYS


def refuses_object_alone(error: StorageError) -> bool:
    """Whether a refusal concerns one object, whose size could be read a moment before: it is archived, for example."""
    cause, text = error.__cause__, str(error.__cause__)
    is_refused = isinstance(cause, PermissionError) or _REFUSED.search(text) is not None
    return is_refused and not (_LOST_CREDENTIALS.search(text) or "Credentials" in type(cause).__name__)


def explained(error: Exception, path: Path) -> CrnetError | OSError:
    """Return the error of a package as one with reason and remedy; an OSError concerns this object alone."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    if isinstance(error, (StorageError, MissingDependencyError)):
        return error
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        remedy = "free some space, or name another folder in TMPDIR"
        return StorageError("the disk for temporary files is full", path=tempfile.gettempdir(), remedy=remedy)
    if _is_behind_the_end(error):
        return OSError(errno.EIO, "it ends early")
    if _says_unsupported(error):
        return StorageError(f"the storage cannot do this: {text:.200}", path=path, remedy="use other storage")
    if isinstance(error, PermissionError) or _REFUSED.search(text) or "Credentials" in type(error).__name__:
        remedy = "give credentials that may use this bucket, in the environment or in the provider's own file"
        return StorageError(f"the storage refuses access: {text:.200}", path=path, remedy=remedy)
    if _FULL.search(text):
        remedy = "free some space or choose another bucket, then run the same command again"
        return StorageError(f"the storage is full: {text:.200}", path=path, remedy=remedy)
    remedy = "check the network and the address of the storage, then run the same command again"
    return StorageError(f"the storage cannot be used: {text:.200}", path=path, remedy=remedy)
