"""Takes a video in: one file, within its limit, under a name of ours; and tells the browser how far it is."""

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

FORM_FIELD = "files"
CHUNK_BYTES = 1 << 20
SILENCE_S = 10.0  # after which nobody waits for more of an upload
ONE_FILE = f"send one file in the form field '{FORM_FIELD}'"

_NAME = re.compile(rb'filename="([^"]*)"')


class Uploads:
    """The uploads that are under way.

    Args:
        storage: Where they go.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._steps: dict[str, asyncio.Queue[tuple[str, int] | None]] = {}

    async def receive(self, request: Request, upload_id: str | None) -> Path:
        """Write the one video of a request to a file.

        Args:
            request: A multipart form with the file.
            upload_id: The name under which the browser asks for progress.

        Raises:
            ScoringError: None, several, or too large a file.
        """
        steps = None if upload_id is None else self._steps.setdefault(upload_id, asyncio.Queue())
        try:
            async with Request(request.scope, _Counted(request, steps)).form(max_files=1, max_fields=8) as form:
                sent = form.get(FORM_FIELD)
                if not isinstance(sent, UploadFile):
                    raise ScoringError("no video in the request", remedy=ONE_FILE)
                if (sent.size or 0) > self._storage.limits.upload_bytes:
                    raise self.too_large()
                path = self._storage.new_upload(sent.filename or "")
                with path.open("xb") as file:
                    await asyncio.to_thread(shutil.copyfileobj, sent.file, file, CHUNK_BYTES)
                return path
        except ClientDisconnect as error:  # the guard has cut the body off, or the visitor has gone
            raise self.too_large() from error
        except (HTTPException, MultiPartException) as error:
            raise ScoringError("not an upload of one file", remedy=ONE_FILE) from error
        except OSError as error:
            raise ScoringError("the server has no room for this video", remedy="try again later") from error
        finally:
            if steps is not None and upload_id is not None:
                steps.put_nowait(None)
                self._steps.pop(upload_id, None)

    def too_large(self) -> ScoringError:
        """What to say of a file beyond the limit."""
        return ScoringError(f"the file is larger than {self._storage.limits.upload_mb} MB", remedy="send a smaller one")

    async def progress(self, upload_id: str) -> AsyncIterator[str]:
        """Server-sent events of an upload, as Gradio's upload bar reads them."""
        steps = self._steps.setdefault(upload_id, asyncio.Queue())
        try:
            while (step := await asyncio.wait_for(steps.get(), SILENCE_S)) is not None:
                name, received = step
                yield _event({"msg": "update", "orig_name": name, "chunk_size": received})
        except TimeoutError:
            pass
        finally:
            self._steps.pop(upload_id, None)
        yield _event({"msg": "done"})


def _event(document: dict[str, object]) -> str:
    return f"data: {json.dumps(document)}\n\n"


class _Counted:
    """A request's `receive` that tells how much has come."""

    def __init__(self, request: Request, steps: asyncio.Queue[tuple[str, int] | None] | None) -> None:
        self._request = request
        self._steps = steps
        self._name = ""

    async def __call__(self) -> Message:
        message = await self._request.receive()
        body = message.get("body", b"")
        if self._steps is not None and body:
            if not self._name and (found := _NAME.search(body)):
                self._name = found[1].decode(errors="replace")
            self._steps.put_nowait((self._name, len(body)))
        return message
