"""Tests of jobs, of the worker's messages, and of its errors."""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crnet.errors import FormatError, MediaError, NotScoredError, StorageError
from crnet.explain.explain import STEPS, TASK
from crnet.report import overlay_video
from crnet.report.video_report import PICTURES_TASK, REPORT_TASK
from crnet.serve import progress, worker
from crnet.serve.limits import Limits
from crnet.serve.progress import ThrottledProgress
from crnet.serve.worker import BUG, NO_SPACE, NOT_SCORED_REMEDY, OUT_OF_MEMORY, ScoringJob, run_job
from crnet.types import Prediction

JOB = ScoringJob("talk.mp4", "hello", True, Limits(max_upload_mb=3), threads=2)


def test_a_job_survives_writing_and_reading(tmp_path: Path) -> None:
    JOB.write(tmp_path)
    assert ScoringJob.read(tmp_path) == JOB


def test_progress_is_sent_no_more_often_than_a_person_can_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("crnet.serve.progress.time.monotonic", lambda: now_s)
    sent: list[tuple[str, int]] = []
    report = ThrottledProgress(lambda message: sent.append((message["task"], message["done"])))
    for done in range(101):
        now_s = 0.01 * done
        report("mapping", done, 100)
    assert sent[0] == ("mapping", 0)
    assert sent[-1] == ("mapping", 100)  # the end is always sent
    assert 9 <= len(sent) <= 12


def test_each_step_of_an_explanation_is_a_task() -> None:
    sent: list[dict[str, Any]] = []
    report = ThrottledProgress(sent.append)
    report(TASK, 0, 8, "reading the video")
    report(TASK, 8, 8, "done")
    assert [(message["task"], message["done"], message["total"]) for message in sent] == [
        ("reading the video", 0, 1),
        ("done", 1, 1),
    ]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MediaError("not a video", path="/srv/secret/video", remedy="check it"), "not a video (check it)"),
        (MediaError("not a video", path="/srv/secret/video"), "not a video"),
        (NotScoredError("no face", path="/srv/secret/video", remedy="--allow"), f"no face ({NOT_SCORED_REMEDY})"),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), OUT_OF_MEMORY),
        (OSError(12, "Cannot allocate memory"), OUT_OF_MEMORY),
        (FormatError("OpenVINO cannot compile the graph 'face': Failed to allocate 99 bytes of memory"), OUT_OF_MEMORY),
        (StorageError("cannot write", path="/srv/secret/out", remedy="free some space"), NO_SPACE),
        (OSError(errno.ENOSPC, "No space left on device"), NO_SPACE),
        (ValueError("at /srv/secret/video"), BUG),
    ],
)
def test_a_visitor_gets_one_sentence_without_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "limit_resources", lambda *_: None)
    monkeypatch.setattr(worker, "score", fail)
    JOB.write(tmp_path)
    sent: list[dict[str, Any]] = []
    predictor = SimpleNamespace(networks=SimpleNamespace(threads=None))
    assert not run_job(predictor, tmp_path, sent.append)  # type: ignore[arg-type]
    (message,) = sent
    assert message["error"].startswith(sentence)
    assert "secret" not in message["error"]


@pytest.mark.parametrize("text", ["/etc/passwd.txt", "notes.txt", "what.srt"])
def test_a_transcript_that_looks_like_a_file_name_is_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = worker._transcript_file(text)
    assert isinstance(path, Path)
    assert path.read_text() == text


@pytest.mark.parametrize(("text", "transcript"), [("", None), (" ", None), ("hello", Path("transcript.txt"))])
def test_a_video_without_transcript_goes_to_speech_recognition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, transcript: Path | None
) -> None:
    transcripts: list[object] = []
    allowed: list[bool] = []
    sent: list[dict[str, Any]] = []

    class FakePredictor:
        networks = SimpleNamespace(threads=1)

        def predict(self, video: Path, transcript: object, *, allow_no_face: bool) -> Prediction:
            allowed.append(allow_no_face)
            transcripts.append(transcript)  # None: the recogniser transcribes, as in `crnet predict`
            return Prediction(str(video), 1.0, None, error="not scored")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "_write_scores", lambda *_: None)
    monkeypatch.setattr("crnet.media.video.probe", lambda path: SimpleNamespace(duration_s=1.0))
    (tmp_path / worker.VIDEO_FILE).write_bytes(b"video")
    job = replace(JOB, transcript=text, explain=False, allow_no_face=bool(text.strip()))
    worker.score(FakePredictor(), tmp_path, job, sent.append)  # type: ignore[arg-type]
    assert transcripts == [transcript]
    assert allowed == [job.allow_no_face]
    assert sent[-1] == progress.SCORES_READY


ADDRESSES_WITHOUT_MEMORY = """
import mmap
from crnet.serve.limits import Limits
from crnet.serve.worker import limit_resources

limit_resources(Limits(max_memory_mb=1), threads=1)
mmap.mmap(-1, 1 << 33)  # as the C library does for its threads
"""


def test_addresses_that_nobody_uses_do_not_count_as_memory() -> None:
    subprocess.run([sys.executable, "-c", ADDRESSES_WITHOUT_MEMORY], check=True)


def test_the_tasks_are_those_of_an_explanation() -> None:
    assert progress.SCORE_TASKS[1:] + progress.EXPLANATION_TASKS[:4] == STEPS
    assert progress.EXPLANATION_TASKS[4:] == (PICTURES_TASK, overlay_video.TASK, REPORT_TASK)


def test_a_video_that_is_a_little_too_long_is_not_called_as_long_as_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crnet.media.video.probe", lambda path: SimpleNamespace(duration_s=120.04))
    with pytest.raises(MediaError, match=r"is 120\.1 s long; this server accepts at most 120 s"):
        worker._check_duration(tmp_path, Limits(), ThrottledProgress(lambda message: None))


def test_subtitles_get_a_subtitle_suffix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert worker._transcript_file("  \n ") is None
    assert str(worker._transcript_file("1\n00:00:00,000 --> 00:00:02,000\nHello\n")) == "transcript.srt"
    assert str(worker._transcript_file("Hello")) == "transcript.txt"
