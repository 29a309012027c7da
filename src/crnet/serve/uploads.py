"""Uploads: each arrives in one or several chunks, can be resumed, and counts against the quota from its first byte."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from crnet.serve.limits import Limits
from crnet.serve.problems import RETRY_LATER_S, ServiceError, cannot_store, no_space, not_found
from crnet.serve.storage import Storage, display_name, new_token
from crnet.utils.job_limits import BYTES_PER_MB

CHUNK_TIMEOUT_S = 60.0  # for one request; a slow client sends smaller chunks
MAX_PENDING_UPLOADS = 10  # total size of uploads without a job, in units of the largest upload
MAX_PENDING_OF_CLIENT = 5  # the same for one client, so that it leaves space for others
SMALLEST_SHARE_BYTES = BYTES_PER_MB  # of the quota, so that many empty uploads exhaust it too


@dataclass(eq=False)
class Upload:
    """A video that arrives or waits for its job.

    Attributes:
        id: Its name in the API.
        name: Name that the visitor gave the video, for display.
        size_bytes: Size of the whole file.
        path: The file.
        client: Who sends it (`crnet.serve.access.client_of`).
        received_bytes: How much has arrived.
        created_s: When it was created, on the monotonic clock.
        request: Stands for the request that is sending it, if there is one.
    """

    id: str
    name: str
    size_bytes: int
    path: Path
    client: str = ""
    received_bytes: int = 0
    created_s: float = field(default_factory=time.monotonic)
    request: object | None = None


class Uploads:
    """The uploads that have no job yet.

    Args:
        storage: Where the files go.
        limits: Size and time limits.
    """

    def __init__(self, storage: Storage, limits: Limits) -> None:
        self._storage = storage
        self._limits = limits
        self._uploads: dict[str, Upload] = {}

    def __len__(self) -> int:
        return len(self._uploads)

    @property
    def reserved_bytes(self) -> int:
        """Space that the uploads may take, whether or not their bytes have arrived."""
        return _reserved_bytes(self._uploads.values())

    def create(self, name: str, size_bytes: int, client: str = "") -> Upload:
        """Reserve the space of an upload.

        Raises:
            ServiceError: It is too large, or the quota of all clients or of this one is exhausted.
        """
        if size_bytes > self._limits.max_upload_bytes:
            raise ServiceError(
                413,
                "too-large",
                f"the file is larger than {self._limits.max_upload_mb} MB",
                remedy="send a smaller file",
            )
        token = new_token()
        upload = Upload(token, display_name(name), size_bytes, self._storage.uploads / token, client)
        self._check_quota(upload)
        try:
            upload.path.touch()
        except OSError as error:
            raise cannot_store(error) from None
        self._uploads[token] = upload
        return upload

    def _check_quota(self, new: Upload) -> None:
        uploads = [*self._uploads.values(), new]
        if _reserved_bytes(uploads) > MAX_PENDING_UPLOADS * self._limits.max_upload_bytes:
            raise no_space()
        of_client = [upload for upload in uploads if upload.client == new.client]
        if _reserved_bytes(of_client) > MAX_PENDING_OF_CLIENT * self._limits.max_upload_bytes:
            raise ServiceError(
                429,
                "too-many-uploads",
                "too many of your uploads are unfinished",
                remedy="finish or delete them",
                retry_after_s=RETRY_LATER_S,
            )

    def get(self, upload_id: str) -> Upload:
        """Return an upload.

        Raises:
            ServiceError: There is none of this id.
        """
        try:
            return self._uploads[upload_id]
        except KeyError:
            raise not_found("upload") from None

    async def append(self, upload_id: str, offset: int, chunks: AsyncIterator[bytes]) -> Upload:
        """Append the body of a request. What has arrived stays, also if the client goes away in the middle.

        A later request takes over: the server may learn only after minutes that the connection of the first is lost.

        Args:
            upload_id: The upload.
            offset: Position of the first byte in the file; it must be the number of bytes that have arrived.
            chunks: The bytes.

        Raises:
            ServiceError: Wrong offset, too many bytes, too slow, no such upload, or another request has taken over.
        """
        upload = self.get(upload_id)
        if offset != upload.received_bytes:
            raise ServiceError(
                409, "wrong-offset", f"{upload.received_bytes} bytes have arrived", remedy="continue from there"
            )
        request = upload.request = object()
        try:
            async with asyncio.timeout(CHUNK_TIMEOUT_S):
                with upload.path.open("ab") as file:
                    async for chunk in chunks:
                        self.get(upload_id)  # it may have expired or been deleted
                        if upload.request is not request:
                            raise ServiceError(409, "superseded", "another request is sending this upload")
                        if upload.received_bytes + len(chunk) > upload.size_bytes:
                            raise ServiceError(413, "too-large", f"the upload has more than {upload.size_bytes} bytes")
                        file.write(chunk)
                        file.flush()  # before another request takes over
                        upload.received_bytes += len(chunk)
        except TimeoutError:
            raise ServiceError(408, "too-slow", "the upload is too slow", remedy="send smaller chunks") from None
        except OSError as error:
            self.delete(upload_id)
            raise cannot_store(error) from None
        finally:
            if upload.request is request:
                upload.request = None
        return upload

    def take(self, upload_id: str) -> Upload:
        """Hand a complete upload over to its job.

        Raises:
            ServiceError: It is incomplete, or there is none of this id.
        """
        upload = self.get(upload_id)
        if upload.request is not None or upload.received_bytes < upload.size_bytes:
            missing = upload.size_bytes - upload.received_bytes
            raise ServiceError(409, "incomplete", f"{missing} bytes of the video have not arrived", remedy="send them")
        return self._uploads.pop(upload_id)

    def delete(self, upload_id: str) -> None:
        """Delete an upload.

        Raises:
            ServiceError: There is none of this id.
        """
        path = self.get(upload_id).path
        with contextlib.suppress(OSError):
            os.truncate(path, 0)  # a request that still has the file open must not keep its space
        path.unlink(missing_ok=True)
        del self._uploads[upload_id]

    def remove_expired(self) -> None:
        """Delete the uploads that did not become jobs in time."""
        oldest_s = time.monotonic() - 60 * self._limits.upload_minutes
        for upload in [upload for upload in self._uploads.values() if upload.created_s < oldest_s]:
            self.delete(upload.id)


def _reserved_bytes(uploads: Iterable[Upload]) -> int:
    return sum(max(upload.size_bytes, SMALLEST_SHARE_BYTES) for upload in uploads)
