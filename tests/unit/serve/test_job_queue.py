"""Tests of the job queue: order, limits, cancellation, cleanup."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serve_fakes import FakeWorkerClient

from crnet.serve.job_queue import WAITING, JobQueue, ScoringRequest, ScoringResult, score_with_progress
from crnet.serve.limits import Limits
from crnet.serve.storage import JOBS, UPLOADS, Storage
from crnet.serve.worker_client import ScoringError


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    storage = Storage(Limits())
    yield storage
    storage.close()


def new_request(storage: Storage, name: str, content: bytes = b"video", *, keep: bool = False) -> ScoringRequest:
    path = storage.new_upload(name)
    path.write_bytes(content)
    return ScoringRequest(str(path), name, "words", explain=False, keep_upload=keep)


def new_queue(storage: Storage, workers: int = 1, *, max_waiting: int = 20, seconds: float = 0.05) -> JobQueue:
    clients = [FakeWorkerClient(seconds) for _ in range(workers)]
    return JobQueue(clients, storage, Limits(max_waiting=max_waiting))  # type: ignore[arg-type]


async def all_messages(job_queue: JobQueue, request: ScoringRequest) -> list[dict[str, Any] | ScoringResult]:
    return [message async for message in score_with_progress(job_queue, request)]


def score_at_once(job_queue: JobQueue, storage: Storage, count: int) -> list[list[dict[str, Any] | ScoringResult]]:
    async def run() -> list[list[dict[str, Any] | ScoringResult]]:
        requests = [new_request(storage, f"{n}.mp4") for n in range(count)]
        return list(await asyncio.gather(*(all_messages(job_queue, request) for request in requests)))

    return asyncio.run(run())


def test_progress_precedes_the_result_and_the_video_is_deleted(storage: Storage) -> None:
    messages = asyncio.run(all_messages(new_queue(storage), new_request(storage, "/home/me/talk.mp4")))
    result = messages[-1]
    assert isinstance(result, ScoringResult)
    assert result.name == "talk.mp4"
    assert result.files == ("prediction.json", "report.html")
    assert storage.result(result.token, "report.html") is not None
    assert [m["task"] for m in messages[:-1] if isinstance(m, dict)] == ["scoring"]
    assert not list((storage.folder / UPLOADS).iterdir())
    assert not list((storage.folder / JOBS).iterdir())


def test_jobs_run_in_order_and_report_how_many_videos_are_ahead(storage: Storage) -> None:
    job_queue = new_queue(storage)
    first, second, third = score_at_once(job_queue, storage, 3)
    assert [m["done"] for m in first if isinstance(m, dict) and m["task"] == WAITING] == []
    assert [m["done"] for m in second if isinstance(m, dict) and m["task"] == WAITING] == [1]
    assert [m["done"] for m in third if isinstance(m, dict) and m["task"] == WAITING][:1] == [2]
    worker: Any = job_queue._workers[0]
    assert [job.name for job in worker.jobs] == ["0.mp4", "1.mp4", "2.mp4"]


@pytest.mark.parametrize("allowed", [False, True])
def test_the_server_decides_whether_videos_without_a_face_are_scored(storage: Storage, allowed: bool) -> None:
    job_queue = JobQueue([FakeWorkerClient()], storage, Limits(), allow_no_face=allowed)  # type: ignore[list-item]
    asyncio.run(all_messages(job_queue, new_request(storage, "a.mp4")))
    worker: Any = job_queue._workers[0]
    assert [job.allow_no_face for job in worker.jobs] == [allowed]


def test_each_worker_scores_one_video_at_the_same_time(storage: Storage) -> None:
    for messages in score_at_once(new_queue(storage, workers=2), storage, 2):
        assert WAITING not in [m["task"] for m in messages if isinstance(m, dict)]


def test_a_full_queue_rejects_requests(storage: Storage) -> None:
    job_queue = new_queue(storage, max_waiting=1)

    async def three() -> list[Any]:
        scoring = (all_messages(job_queue, new_request(storage, f"{n}.mp4")) for n in range(3))
        return list(await asyncio.gather(*scoring, return_exceptions=True))

    first, second, third = asyncio.run(three())
    assert isinstance(first[-1], ScoringResult)
    assert isinstance(second[-1], ScoringResult)
    assert isinstance(third, ScoringError)
    assert "the queue is full" in str(third)
    assert not list((storage.folder / UPLOADS).iterdir())


def test_a_bad_video_fails_with_a_reason_and_is_deleted(storage: Storage) -> None:
    job_queue = new_queue(storage)
    with pytest.raises(ScoringError, match="not a video"):
        asyncio.run(all_messages(job_queue, new_request(storage, "talk.mp4", b"bad")))
    assert not list((storage.folder / UPLOADS).iterdir())
    assert isinstance(asyncio.run(all_messages(job_queue, new_request(storage, "talk.mp4")))[-1], ScoringResult)


def test_a_visitor_who_leaves_frees_the_place_in_the_queue(storage: Storage) -> None:
    job_queue = new_queue(storage, seconds=30)
    worker: Any = job_queue._workers[0]

    async def leave() -> list[Any]:
        running = score_with_progress(job_queue, new_request(storage, "running.mp4"))
        assert (await anext(running))["task"] == "scoring"  # type: ignore[index]
        waiting = score_with_progress(job_queue, new_request(storage, "waiting.mp4"))
        assert (await anext(waiting))["task"] == WAITING  # type: ignore[index]
        await waiting.aclose()  # type: ignore[attr-defined]
        await running.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.3)
        worker.seconds = 0
        return await all_messages(job_queue, new_request(storage, "next.mp4"))

    messages = asyncio.run(leave())
    assert isinstance(messages[-1], ScoringResult)
    assert [job.name for job in worker.jobs] == ["running.mp4", "next.mp4"]
    assert worker.cancelled == 1
    assert not list((storage.folder / JOBS).iterdir())
    assert not list((storage.folder / UPLOADS).iterdir())


def test_a_kept_video_can_be_scored_again(storage: Storage) -> None:
    job_queue, request = new_queue(storage), new_request(storage, "talk.mp4", keep=True)
    for _ in range(2):
        assert isinstance(asyncio.run(all_messages(job_queue, request))[-1], ScoringResult)
