"""Orders, and how the process that carries them out tells of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crnet.errors import MediaError
from crnet.serve import worker
from crnet.serve.limits import Limits
from crnet.serve.worker import BUG, OUT_OF_MEMORY, Order, Throttle, carry_out
from crnet.types import Prediction

ORDER = Order("talk.mp4", "hello", True, Limits(upload_mb=3), threads=2)


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    ORDER.write(tmp_path)
    assert Order.read(tmp_path) == ORDER


def test_steps_are_told_not_more_often_than_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    monkeypatch.setattr("crnet.serve.worker.time.monotonic", lambda: now_s)
    told: list[tuple[str, int]] = []
    progress = Throttle(lambda message: told.append((message["task"], message["done"])))
    for done in range(101):
        now_s = 0.01 * done
        progress("mapping", done, 100)
    assert told[0] == ("mapping", 0)
    assert told[-1] == ("mapping", 100)  # the end is always told
    assert 9 <= len(told) <= 12


def test_the_steps_of_an_explanation_are_tasks_of_their_own() -> None:
    told: list[dict[str, Any]] = []
    progress = Throttle(told.append)
    progress("explaining", 0, 8, "reading the video")
    progress("explaining", 8, 8, "done")
    assert [(message["task"], message["done"], message["total"]) for message in told] == [
        ("reading the video", 0, 1),
        ("done", 1, 1),
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MediaError("not a video", path="/srv/secret/video", remedy="check it"), "not a video (check it)"),
        (MediaError("not a video", path="/srv/secret/video"), "not a video"),
        (MemoryError(), OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), OUT_OF_MEMORY),
        (OSError(12, "Cannot allocate memory"), OUT_OF_MEMORY),
        (ValueError("at /srv/secret/video"), BUG),
    ],
)
def test_a_stranger_reads_one_sentence_without_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(worker, "limit_this_process", lambda *_: None)
    monkeypatch.setattr(worker, "score", fail)
    ORDER.write(tmp_path)
    told: list[dict[str, Any]] = []
    assert not carry_out(None, tmp_path, told.append)  # type: ignore[arg-type]
    (message,) = told
    assert message["error"].startswith(said)
    assert "secret" not in message["error"]


@pytest.mark.parametrize("text", ["/etc/passwd.txt", "notes.txt", "what.srt"])
def test_words_that_look_like_a_file_are_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.chdir(tmp_path)
    path = worker._transcript_file(text)
    assert isinstance(path, Path)
    assert path.read_text() == text


@pytest.mark.parametrize(("words", "given"), [("", None), (" ", None), ("hello", Path("transcript.txt"))])
def test_a_video_without_words_may_be_listened_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, given: Path | None
) -> None:
    seen: list[object] = []

    class Listening:
        def predict(self, video: Path, transcript: object) -> Prediction:
            seen.append(transcript)  # None: as with `crnet predict`, the recogniser is asked
            return Prediction(str(video), 1.0, None, error="not looked at")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("crnet.media.video.probe", lambda path: SimpleNamespace(duration_s=1.0))
    (tmp_path / worker.VIDEO_FILE).write_bytes(b"video")
    order = replace(ORDER, transcript=words, explain=False)
    worker.score(Listening(), tmp_path, order, Throttle(lambda _: None))  # type: ignore[arg-type]
    assert seen == [given]


def test_subtitles_are_read_as_subtitles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert worker._transcript_file("  \n ") is None
    assert str(worker._transcript_file("1\n00:00:00,000 --> 00:00:02,000\nHello\n")) == "transcript.srt"
    assert str(worker._transcript_file("Hello")) == "transcript.txt"
