"""Reception of uploads: one file within the size limit, saved under a random name, with progress for the browser."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from crnet.serve.storage import Storage
from crnet.serve.worker_client import ScoringError
from crnet.utils.files import CHUNK_BYTES

FORM_FIELD = "files"
PROGRESS_TIMEOUT_S = 10.0
ONE_FILE = f"send one file in the form field '{FORM_FIELD}'"

_NAME = re.compile(rb'filename="([^"]*)"')

Steps = asyncio.Queue[tuple[str, int] | None]
"""File name and bytes of each received chunk; None at the end."""


class Uploads:
    """Uploads in progress.

    Args:
        storage: Where the files go.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._steps: dict[str, Steps] = {}

    async def receive(self, request: Request, upload_id: str | None) -> Path:
        """Write the one video of a request to a file.

        Args:
            request: A multipart form with the file.
            upload_id: The id with which the browser requests progress.

        Raises:
            ScoringError: No file, several files, or too large a file.
        """
        steps = None if upload_id is None else self._steps.setdefault(upload_id, asyncio.Queue())
        try:
            async with Request(request.scope, _CountingReceive(request, steps)).form(max_files=1, max_fields=8) as form:
                sent = form.get(FORM_FIELD)
                if not isinstance(sent, UploadFile):
                    raise ScoringError("no video in the request", remedy=ONE_FILE)
                if (sent.size or 0) > self._storage.limits.max_upload_bytes:
                    raise self._too_large()
                path = self._storage.new_upload(sent.filename or "")
                with path.open("xb") as file:
                    await asyncio.to_thread(shutil.copyfileobj, sent.file, file, CHUNK_BYTES)
                return path
        except ClientDisconnect as error:  # the middleware has cut the body off, or the visitor has gone
            raise self._too_large() from error
        except (HTTPException, MultiPartException) as error:
            raise ScoringError("the request must contain exactly one file", remedy=ONE_FILE) from error
        except OSError as error:
            raise ScoringError("the server has no space for this video", remedy="try again later") from error
        finally:
            if steps is not None and upload_id is not None:
                steps.put_nowait(None)
                self._steps.pop(upload_id, None)

    def _too_large(self) -> ScoringError:
        max_mb = self._storage.limits.max_upload_mb
        return ScoringError(f"the file is larger than {max_mb} MB", remedy="send a smaller file")

    async def progress(self, upload_id: str) -> AsyncIterator[str]:
        """Yield the server-sent events of an upload, in the form that Gradio's upload bar reads."""
        steps = self._steps.setdefault(upload_id, asyncio.Queue())
        try:
            while (step := await asyncio.wait_for(steps.get(), PROGRESS_TIMEOUT_S)) is not None:
                name, received_bytes = step
                yield _event({"msg": "update", "orig_name": name, "chunk_size": received_bytes})
        except TimeoutError:
            pass
        finally:
            self._steps.pop(upload_id, None)
        yield _event({"msg": "done"})


def _event(document: dict[str, object]) -> str:
    return f"data: {json.dumps(document)}\n\n"


class _CountingReceive:
    """A `receive` that records how many bytes have arrived."""

    def __init__(self, request: Request, steps: Steps | None) -> None:
        self._request = request
        self._steps = steps
        self._name = ""

    async def __call__(self) -> Message:
        message = await self._request.receive()
        body = message.get("body", b"")
        if self._steps is not None and body:
            if not self._name and (match := _NAME.search(body)):
                self._name = match[1].decode(errors="replace")
            self._steps.put_nowait((self._name, len(body)))
        return message
