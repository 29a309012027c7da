"""Tests of the worker process: its limits, cancellation and recovery."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crnet.demo import DemoResult
from crnet.errors import FormatError
from crnet.serve.limits import Limits
from crnet.serve.progress import EXPLANATION_TASKS, SCORE_TASKS, SCORES_READY
from crnet.serve.worker import OUT_FOLDER, PREDICTION_JSON, VIDEO_FILE, ScoringJob
from crnet.serve.worker_client import ScoringError, WorkerClient

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def worker(calibrated: Path) -> Iterator[WorkerClient]:
    started = WorkerClient(calibrated)
    yield started
    started.close()


def job_folder(folder: Path, video: Path) -> Path:
    folder.mkdir()
    shutil.copy(video, folder / VIDEO_FILE)
    return folder


def new_job(limits: Limits | None = None, *, explain: bool = False) -> ScoringJob:
    return ScoringJob("talk.mp4", "hello", explain, limits or Limits(), threads=1)


def score(worker: WorkerClient, folder: Path, job: ScoringJob) -> dict[str, Any]:
    """Score the video of a job; return the prediction."""
    asyncio.run(worker.score(folder, job, lambda _: None))
    return dict(json.loads((folder / OUT_FOLDER / PREDICTION_JSON).read_text()))


def test_progress_comes_first_then_the_scores_then_the_explanation(
    worker: WorkerClient, demo: DemoResult, tmp_path: Path
) -> None:
    messages: list[dict[str, Any]] = []
    folder = job_folder(tmp_path / "job", demo.video)
    asyncio.run(worker.score(folder, new_job(explain=True), messages.append))
    ready = messages.index(SCORES_READY)
    before, after = ({message["task"] for message in part} for part in (messages[:ready], messages[ready + 1 :]))
    assert before == set(SCORE_TASKS)
    assert set(EXPLANATION_TASKS) <= after
    prediction = json.loads((folder / OUT_FOLDER / PREDICTION_JSON).read_text())
    explanation = json.loads((folder / OUT_FOLDER / "explanation.json").read_text())
    for target, target_score in prediction["scores"].items():
        assert sum(explanation["contributions"][target].values()) == pytest.approx(target_score, abs=1e-6)
    assert {"prediction.json", "prediction.csv", "report.html", "overlay.mp4"} <= {
        path.name for path in (folder / OUT_FOLDER).iterdir()
    }
    page = (folder / OUT_FOLDER / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert str(tmp_path) not in (folder / OUT_FOLDER / "explanation.json").read_text(encoding="utf-8")


def test_a_job_that_takes_too_long_is_killed_and_the_next_one_runs(
    worker: WorkerClient, demo: DemoResult, tmp_path: Path
) -> None:
    started_s = time.monotonic()
    with pytest.raises(ScoringError, match=r"took longer than 1 s \(send"):
        score(worker, job_folder(tmp_path / "slow", demo.video), new_job(Limits(max_time_s=1), explain=True))
    assert time.monotonic() - started_s < 30  # unlimited, it takes minutes
    assert score(worker, job_folder(tmp_path / "next", demo.video), new_job())["error"] is None


def test_a_job_that_needs_too_much_memory_fails_and_the_next_one_runs(
    worker: WorkerClient, demo: DemoResult, tmp_path: Path
) -> None:
    with pytest.raises(ScoringError, match="needs more memory than the server allows"):
        score(worker, job_folder(tmp_path / "large", demo.video), new_job(Limits(max_memory_mb=20)))
    assert score(worker, job_folder(tmp_path / "next", demo.video), new_job())["error"] is None


def test_a_cancelled_job_leaves_no_process(worker: WorkerClient, demo: DemoResult, tmp_path: Path) -> None:
    async def cancel() -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        folder = job_folder(tmp_path / "job", demo.video)
        task = asyncio.create_task(worker.score(folder, new_job(explain=True), messages.append))
        while not messages:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return messages

    messages = asyncio.run(cancel())
    assert SCORES_READY not in messages
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children")
    assert not children.exists() or children.read_text().strip() == ""


def test_a_killed_worker_is_restarted(worker: WorkerClient, demo: DemoResult, tmp_path: Path) -> None:
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert score(worker, job_folder(tmp_path / "next", demo.video), new_job())["error"] is None


WHISPER = """
from types import SimpleNamespace


class WhisperModel:
    def __init__(self, folder, **settings):
        open(folder + "/model.bin").close()

    def transcribe(self, audio, **settings):
        return [SimpleNamespace(text="I heard this")], None
"""


def test_a_video_without_transcript_goes_to_speech_recognition(
    calibrated: Path, demo: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faster_whisper.py").write_text(WHISPER)
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "model.bin").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.chdir(tmp_path)
    worker = WorkerClient(calibrated, asr="my-model")
    try:
        assert worker.system_info["recognises_speech"]
        recognised = score(worker, job_folder(tmp_path / "recognised", demo.video), replace(new_job(), transcript=""))
        given = score(worker, job_folder(tmp_path / "given", demo.video), new_job())
    finally:
        worker.close()
    warning = "the words are from speech recognition (faster-whisper my-model) and may be wrong"
    assert warning in recognised["warnings"] and warning not in given["warnings"]


def test_a_missing_encoder_is_named(calibrated: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        WorkerClient(calibrated, "skip-thoughts:nowhere")


def test_a_folder_without_a_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no trained system here") as caught:
        WorkerClient(tmp_path)
    assert caught.value.path == tmp_path
