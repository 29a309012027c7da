"""Tests of the job queue: order, cancellation, cleanup, stopping."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from serve_fakes import FakeWorkerClient

from crnet.errors import StorageError
from crnet.serve.job_queue import STOPPED, JobQueue
from crnet.serve.jobs import Job, JobRequest
from crnet.serve.limits import Limits
from crnet.serve.problems import ServiceError
from crnet.serve.progress import MessageHandler
from crnet.serve.storage import Storage
from crnet.serve.worker import BUG, NO_SPACE, ScoringJob

Submit = Callable[..., Job]


def run(
    storage: Storage, scenario: Callable[[JobQueue, Submit], Awaitable[None]], *workers: FakeWorkerClient, **limits: Any
) -> None:
    """Run a scenario with a queue and a function that puts a video in it."""

    async def main() -> None:
        queue = JobQueue(list(workers) or [FakeWorkerClient()], storage, Limits(**limits))  # type: ignore[arg-type]

        def submit(name: str = "talk.mp4", content: bytes = b"video", *, explain: bool = False) -> Job:
            video = storage.uploads / name
            video.write_bytes(content)
            return queue.submit(JobRequest(name, "words", explain), video)

        await scenario(queue, submit)

    asyncio.run(main())


async def ended(job: Job) -> Job:
    async for _ in job.updates():
        pass
    return job


def test_jobs_run_in_order(storage: Storage) -> None:
    worker = FakeWorkerClient()

    async def scenario(queue: JobQueue, submit: Submit) -> None:
        for job in [submit(f"{number}.mp4") for number in range(3)]:
            await ended(job)

    run(storage, scenario, worker)
    assert [job.name for job in worker.jobs] == ["0.mp4", "1.mp4", "2.mp4"]


def test_each_worker_scores_one_video_at_the_same_time(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        jobs = [submit(f"{number}.mp4") for number in range(3)]
        assert [job.state for job in jobs] == ["running", "running", "queued"]
        assert (queue.running, queue.waiting) == (2, 1)
        for job in jobs:
            await ended(job)
        assert (queue.running, queue.waiting) == (0, 0)

    run(storage, scenario, FakeWorkerClient(), FakeWorkerClient())


@pytest.mark.parametrize("allowed", [False, True])
def test_the_server_decides_whether_videos_without_a_face_are_scored(storage: Storage, allowed: bool) -> None:
    worker = FakeWorkerClient()

    async def scenario(_: JobQueue, __: Submit) -> None:
        queue = JobQueue([worker], storage, Limits(), allow_no_face=allowed)  # type: ignore[list-item]
        (storage.uploads / "a").touch()
        await ended(queue.submit(JobRequest("a", "", False), storage.uploads / "a"))

    run(storage, scenario)
    assert [job.allow_no_face for job in worker.jobs] == [allowed]


def test_an_unexpected_error_ends_its_job_only(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        broken = submit()
        (storage.job_folder(broken.id) / "video").unlink()
        assert ((await ended(broken)).state, broken.error) == ("failed", BUG)
        assert (await ended(submit())).state == "done"

    run(storage, scenario)


def test_a_full_disk_is_told_to_the_visitor(storage: Storage) -> None:
    class FullDisk(FakeWorkerClient):
        async def score(self, folder: Path, job: ScoringJob, on_progress: MessageHandler) -> None:
            raise StorageError("cannot write", path=folder, remedy="free some space")

    async def scenario(queue: JobQueue, submit: Submit) -> None:
        job = await ended(submit())
        assert (job.state, job.error) == ("failed", NO_SPACE)
        assert not storage.job_folder(job.id).exists()

    run(storage, scenario, FullDisk())


def test_the_transcript_is_forgotten_with_the_video(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        job = await ended(submit())
        assert job.request.transcript == ""

    run(storage, scenario)


def test_results_expire(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        old, new = await ended(submit()), await ended(submit())
        assert old.finished_s is not None
        old.finished_s -= 61
        queue.remove_expired()
        assert queue.get(new.id) is new
        with pytest.raises(ServiceError, match="expired"):
            queue.get(old.id)
        assert not storage.job_folder(old.id).exists()

    run(storage, scenario, keep_minutes=1)


def test_results_neither_vanish_nor_stay_when_the_clock_is_set(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        kept, old = await ended(submit()), await ended(submit())
        assert old.finished_s is not None and old.finished_s >= old.created_s
        old.finished_s -= 61
        for now_s in (0.0, 2e9):
            monkeypatch.setattr("time.time", lambda: now_s)  # noqa: B023
            queue.remove_expired()
        assert queue.get(kept.id) is kept
        with pytest.raises(ServiceError, match="expired"):
            queue.get(old.id)

    run(storage, scenario, keep_minutes=1)


def test_a_stop_waits_for_running_jobs_and_refuses_new_ones(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        running, waiting = submit("a"), submit("b")
        stop = asyncio.create_task(queue.stop(30))
        await asyncio.sleep(0)
        with pytest.raises(ServiceError, match="shutting down"):
            submit("c")
        await stop
        assert (running.state, waiting.state) == ("done", "cancelled")
        assert (running.error, waiting.error) == (None, STOPPED)

    run(storage, scenario, FakeWorkerClient(seconds=0.02))


def test_a_stop_cancels_what_takes_too_long(storage: Storage) -> None:
    worker = FakeWorkerClient(seconds=60)

    async def scenario(queue: JobQueue, submit: Submit) -> None:
        job = submit()
        await queue.stop(0.01)
        assert (job.state, job.has_scores, job.error) == ("cancelled", True, STOPPED)

    run(storage, scenario, worker)
    assert worker.cancelled == 1


def test_a_follower_sees_the_end_even_if_many_changes_were_merged(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        job, seen = Job("0", JobRequest("a", "", True)), []

        async def follow() -> None:
            async for _ in job.updates():
                seen.append(job.state)

        follower = asyncio.create_task(follow())
        await asyncio.sleep(0)
        job.change(state="running")
        for done in range(5):
            job.apply({"task": "heat maps", "done": done, "total": 5, "note": ""})
        job.finish("done")
        await asyncio.wait_for(follower, 5)
        assert seen == ["queued", "done"]

    run(storage, scenario)


def test_progress_counts_the_tasks_before_and_after_the_scores() -> None:
    job = Job("0", JobRequest("a", "", True))
    job.apply({"task": "reading the video", "done": 1, "total": 2, "note": "half"})
    assert (job.score_progress, job.task, job.note) == (
        pytest.approx(0.5),
        "reading the video",
        "half",
    )  # (1 + 1/2) / 3
    job.apply({"scores": "ready"})
    job.apply({"task": "words", "done": 0, "total": 1, "note": ""})
    job.apply({"task": "measuring the effect of each word", "done": 3, "total": 4, "note": ""})  # a step of the words
    assert (job.task, job.explanation_progress) == ("words", pytest.approx(1.75 / 7))
    job.apply({"task": "report", "done": 0, "total": 1, "note": ""})
    assert (job.score_progress, job.explanation_progress) == (1, pytest.approx(6 / 7))


def test_the_folder_of_a_failed_job_is_deleted(storage: Storage) -> None:
    async def scenario(queue: JobQueue, submit: Submit) -> None:
        job = await ended(submit(content=b"bad"))
        assert job.error == "not a video (try another)"
        assert not storage.job_folder(job.id).exists()

    run(storage, scenario)
    assert not Path(storage.folder / "jobs").is_file()
