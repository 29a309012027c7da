"""The process that scores: its limits, and what becomes of it when it is hit."""

from __future__ import annotations

import asyncio
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
from crnet.serve.worker import OUT_FOLDER, VIDEO_FILE, Order
from crnet.serve.worker_client import Scorer, ScoringError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def scorer(calibrated: Path) -> Iterator[Scorer]:
    started = Scorer(calibrated)
    yield started
    started.close()


def job(folder: Path, video: Path) -> Path:
    folder.mkdir()
    shutil.copy(video, folder / VIDEO_FILE)
    return folder


def order(limits: Limits | None = None, *, explain: bool = False) -> Order:
    return Order("talk.mp4", "hello", explain, limits or Limits(), threads=1)


def score(scorer: Scorer, folder: Path, wanted: Order) -> dict[str, Any]:
    return asyncio.run(scorer.score(folder, wanted, lambda _: None))


def test_progress_then_the_result(scorer: Scorer, demo: DemoResult, tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    folder = job(tmp_path / "job", demo.video)
    result = asyncio.run(scorer.score(folder, order(explain=True), told.append))
    tasks = list(dict.fromkeys(message["task"] for message in told))
    assert tasks[:3] == ["checking the file", "reading the video", "scoring"]
    assert {"heat maps", "report"} <= set(tasks)
    prediction, explanation = result["prediction"], result["explanation"]
    for target, score_ in prediction["scores"].items():
        parts = explanation["base"][target] + sum(explanation["contributions"][target].values())
        assert parts == pytest.approx(score_, abs=1e-6)
    assert {"prediction.json", "prediction.csv", "report.html", "overlay.mp4"} <= {
        path.name for path in (folder / OUT_FOLDER).iterdir()
    }
    page = (folder / OUT_FOLDER / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page
    assert str(tmp_path) not in (folder / OUT_FOLDER / "explanation.json").read_text(encoding="utf-8")


def test_what_takes_too_long_is_killed_and_the_next_is_scored(scorer: Scorer, demo: DemoResult, tmp_path: Path) -> None:
    started_s = time.monotonic()
    with pytest.raises(ScoringError, match=r"took longer than 1 s \(send"):
        score(scorer, job(tmp_path / "slow", demo.video), order(Limits(time_s=1), explain=True))
    assert time.monotonic() - started_s < 30  # it would take minutes
    assert score(scorer, job(tmp_path / "next", demo.video), order())["prediction"]["error"] is None


def test_what_needs_too_much_memory_is_refused_and_the_next_is_scored(
    scorer: Scorer, demo: DemoResult, tmp_path: Path
) -> None:
    with pytest.raises(ScoringError, match="needs more memory than the server grants"):
        score(scorer, job(tmp_path / "large", demo.video), order(Limits(memory_mb=20)))
    assert score(scorer, job(tmp_path / "next", demo.video), order())["prediction"]["error"] is None


def test_a_cancelled_job_leaves_no_process(scorer: Scorer, demo: DemoResult, tmp_path: Path) -> None:
    async def cancel() -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        folder = job(tmp_path / "job", demo.video)
        task = asyncio.create_task(scorer.score(folder, order(explain=True), told.append))
        while not told:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return told

    told = asyncio.run(cancel())
    assert told[-1]["task"] != "report"
    children = Path(f"/proc/{scorer.pid}/task/{scorer.pid}/children")
    assert not children.exists() or children.read_text().strip() == ""


def test_a_killed_worker_is_started_again(scorer: Scorer, demo: DemoResult, tmp_path: Path) -> None:
    os.kill(scorer.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert score(scorer, job(tmp_path / "next", demo.video), order())["prediction"]["error"] is None


WHISPER = """
from types import SimpleNamespace


class WhisperModel:
    def __init__(self, folder, **settings):
        open(folder + "/model.bin").close()

    def transcribe(self, audio, **settings):
        return [SimpleNamespace(text="I heard this")], None
"""


def test_a_video_without_words_is_listened_to(
    calibrated: Path, demo: DemoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faster_whisper.py").write_text(WHISPER)
    (tmp_path / "my-model").mkdir()
    (tmp_path / "my-model" / "model.bin").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    listening = Scorer(calibrated, asr="my-model")
    try:
        assert listening.facts["listens"]
        heard = score(listening, job(tmp_path / "heard", demo.video), replace(order(), transcript=""))
        told = score(listening, job(tmp_path / "told", demo.video), order())
    finally:
        listening.close()
    warning = "the words are from speech recognition (faster-whisper my-model) and may be wrong"
    assert warning in heard["prediction"]["warnings"] and warning not in told["prediction"]["warnings"]


def test_an_encoder_that_is_not_there_is_named(calibrated: Path) -> None:
    with pytest.raises(FormatError, match="no such folder"):
        Scorer(calibrated, "skip-thoughts:nowhere")


def test_a_folder_without_a_system_is_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no trained system here") as caught:
        Scorer(tmp_path)
    assert caught.value.path == tmp_path
