"""Tests of uploads: chunks, resumption, size, time and quota."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from serve_client import Client, StartService

from crnet.serve import uploads
from crnet.serve.limits import BYTES_PER_MB, Limits
from crnet.serve.problems import ServiceError
from crnet.serve.storage import Storage
from crnet.serve.uploads import Uploads


def new_upload(http: Client, size: int) -> str:
    return str(http.post("/v1/uploads", json={"name": "talk.mp4", "size": size}).json()["id"])


def send(http: Client, upload: str, content: bytes, offset: int = 0) -> Any:
    return http.patch(f"/v1/uploads/{upload}", content=content, headers={"Upload-Offset": str(offset)})


def test_an_upload_in_chunks_is_resumed_where_it_broke(http: Client) -> None:
    upload = new_upload(http, 10)
    assert send(http, upload, b"01234").json()["offset"] == 5
    repeated = send(http, upload, b"34567", 3)
    assert (repeated.status_code, repeated.json()["detail"]) == (409, "5 bytes have arrived (continue from there)")
    incomplete = http.post("/v1/jobs", json={"upload": upload})
    assert (incomplete.status_code, incomplete.json()["code"]) == (409, "incomplete")
    assert http.get(f"/v1/uploads/{upload}").json() == {"id": upload, "size": 10, "offset": 5}
    assert send(http, upload, b"56789", 5).json()["offset"] == 10
    assert (http.service.uploads.get(upload).path).read_bytes() == b"0123456789"


@pytest.mark.parametrize("size", [BYTES_PER_MB + 1, 1 << 40])
def test_too_large_a_file_is_refused_before_it_is_sent(http: Client, size: int) -> None:
    refused = http.post("/v1/uploads", json={"name": "a.mp4", "size": size})
    assert refused.status_code == 413
    assert refused.json()["detail"] == "the file is larger than 1 MB (send a smaller file)"


def test_more_bytes_than_announced_are_refused(http: Client) -> None:
    upload = new_upload(http, 4)
    assert send(http, upload, b"12345").status_code == 413
    assert send(http, upload, bytes(2 * BYTES_PER_MB)).status_code == 413
    assert http.service.uploads.get(upload).received_bytes == 0


def test_unfinished_uploads_count_against_the_quota_before_their_bytes_arrive(http: Client) -> None:
    for client in "ab":  # each upload takes the share of 1 MB
        for _ in range(uploads.MAX_PENDING_OF_CLIENT):
            upload = http.service.uploads.create("a.mp4", 1, client)
    refused = http.post("/v1/uploads", json={"name": "a.mp4", "size": 1})
    assert (refused.status_code, refused.json()["code"]) == (503, "no-space")
    assert int(refused.headers["retry-after"]) > 0
    assert http.delete(f"/v1/uploads/{upload.id}").status_code == 204
    assert http.post("/v1/uploads", json={"name": "a.mp4", "size": 1}).status_code == 201


def test_one_client_leaves_space_for_others(http: Client) -> None:
    ids = [new_upload(http, 1) for _ in range(uploads.MAX_PENDING_OF_CLIENT)]
    refused = http.post("/v1/uploads", json={"name": "a.mp4", "size": 1})
    assert (refused.status_code, refused.json()["code"], refused.headers["retry-after"]) == (
        429,
        "too-many-uploads",
        "30",
    )
    assert http.service.uploads.create("a.mp4", 1, "another client").received_bytes == 0
    http.delete(f"/v1/uploads/{ids[0]}")
    assert http.post("/v1/uploads", json={"name": "a.mp4", "size": 1}).status_code == 201


def test_an_upload_that_becomes_no_job_in_time_is_deleted(start_service: StartService) -> None:
    http = start_service(Limits(upload_minutes=1))
    upload, late = http.upload(), new_upload(http, 9)
    http.service.uploads.get(late).created_s -= 61
    http.service.uploads.remove_expired()
    assert http.get(f"/v1/uploads/{late}").status_code == 404
    assert [path.name for path in http.service.job_queue.storage.uploads.iterdir()] == [upload]


async def chunks(*parts: bytes, pause_s: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
        await asyncio.sleep(pause_s)


def test_a_slow_request_ends_and_what_has_arrived_stays(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CHUNK_TIMEOUT_S", 0.05)
    held = Uploads(storage, Limits())
    upload = held.create("talk.mp4", 10)
    with pytest.raises(ServiceError, match="too slow") as caught:
        asyncio.run(held.append(upload.id, 0, chunks(b"123", b"456", pause_s=60)))
    assert caught.value.status == 408
    assert (upload.received_bytes, upload.path.read_bytes()) == (3, b"123")


def test_a_client_that_comes_back_takes_over_from_its_lost_connection(storage: Storage) -> None:
    """The server may not know yet that the connection is lost; what still arrives on it must not damage the file."""
    held = Uploads(storage, Limits())
    upload, late = held.create("talk.mp4", 9), asyncio.Event()

    async def lost() -> AsyncIterator[bytes]:
        yield b"123"
        await late.wait()
        yield b"456"

    async def both() -> None:
        first = asyncio.create_task(held.append(upload.id, 0, lost()))
        while upload.received_bytes < 3:
            await asyncio.sleep(0)
        with pytest.raises(ServiceError, match="3 bytes have arrived"):
            await held.append(upload.id, 0, chunks(b"123"))
        await held.append(upload.id, 3, chunks(b"abc", b"def"))
        late.set()
        with pytest.raises(ServiceError, match="another request"):
            await first

    asyncio.run(both())
    assert held.take(upload.id).path.read_bytes() == b"123abcdef"


def test_a_request_cannot_write_to_a_deleted_upload(storage: Storage) -> None:
    held = Uploads(storage, Limits())
    upload = held.create("talk.mp4", 10)

    async def deleted() -> AsyncIterator[bytes]:
        yield b"123"
        held.delete(upload.id)
        yield b"456"

    with pytest.raises(ServiceError, match="does not exist"):
        asyncio.run(held.append(upload.id, 0, deleted()))
    assert not list(storage.uploads.iterdir())


def test_a_deleted_upload_frees_its_space_while_a_request_has_it_open(storage: Storage) -> None:
    held = Uploads(storage, Limits())
    upload = held.create("talk.mp4", 10)
    with upload.path.open("ab") as file:
        file.write(b"123")
        file.flush()
        held.delete(upload.id)
        assert os.fstat(file.fileno()).st_size == 0


def test_a_full_disk_is_an_honest_answer(storage: Storage, caplog: pytest.LogCaptureFixture) -> None:
    held = Uploads(storage, Limits())
    upload = held.create("talk.mp4", 10)
    upload.path.unlink()
    upload.path.symlink_to("/dev/full")
    with pytest.raises(ServiceError, match="no space") as caught:
        asyncio.run(held.append(upload.id, 0, chunks(b"123")))
    assert caught.value.status == 503
    assert caplog.messages == ["cannot store a video: No space left on device"]  # for the operator


def test_an_upload_whose_folder_is_gone_is_reported_to_the_operator(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    storage.uploads.rmdir()
    with pytest.raises(ServiceError, match="no space"):
        Uploads(storage, Limits()).create("talk.mp4", 10)
    assert caplog.messages == ["cannot store a video: No such file or directory"]


def test_a_job_that_finds_no_space_leaves_no_file(http: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    upload, storage = http.upload(), http.service.job_queue.storage

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr("pathlib.Path.rename", fail)
        refused = http.post("/v1/jobs", json={"upload": upload})
    assert (refused.status_code, refused.json()["code"]) == (503, "no-space")
    assert not list(storage.uploads.iterdir()) and not list((storage.folder / "jobs").iterdir())
    assert http.get(f"/v1/uploads/{upload}").status_code == 404
