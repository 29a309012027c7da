"""Speech recognition with a fake of faster-whisper's interface; no model runs here."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from crnet.errors import ConfigError, MissingDependencyError
from crnet.text.asr import FasterWhisper, recognition_warning

SOUND = (np.sin(np.arange(16_000) / 20) * 16_384).astype(np.int16)


class FakeModel:
    loaded: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012

    def __init__(self, model_size_or_path: str, **settings: Any) -> None:
        if model_size_or_path == "unknown":
            raise ValueError("Invalid model size 'unknown'")
        if model_size_or_path == "remote" and settings.get("local_files_only"):
            raise FileNotFoundError("not in the cache")
        FakeModel.loaded.append((model_size_or_path, settings))

    def transcribe(self, audio: np.ndarray, **settings: Any) -> tuple[Iterator[Any], Any]:
        assert audio.dtype == np.float32 and audio.ndim == 1 and np.abs(audio).max() <= 1
        assert settings["temperature"] == 0.0  # no sampling: the same words every time
        words = [" Hello there,", " [music] I am fine. "] if audio.any() else []
        return iter(SimpleNamespace(text=text) for text in words), SimpleNamespace(language="en")


@pytest.fixture
def faster_whisper(monkeypatch: pytest.MonkeyPatch) -> type[FakeModel]:
    module = ModuleType("faster_whisper")
    module.__spec__ = SimpleNamespace(name="faster_whisper")  # type: ignore[assignment]
    module.WhisperModel = FakeModel  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "faster_whisper", module)
    FakeModel.loaded = []
    return FakeModel


def test_recognised_speech_becomes_a_clean_transcript(faster_whisper: type[FakeModel]) -> None:
    recogniser = FasterWhisper("small.en")
    assert recogniser.name == "faster-whisper small.en" and not faster_whisper.loaded
    assert recogniser.transcribe(SOUND) == recogniser.transcribe(SOUND) == "Hello there, I am fine."
    assert recogniser.transcribe(np.zeros(900, np.int16)) == "" == recogniser.transcribe(np.zeros(0, np.int16))
    assert [model for model, _ in faster_whisper.loaded] == ["small.en"]  # loaded once


def test_a_folder_is_loaded_without_the_network(faster_whisper: type[FakeModel], tmp_path: Path) -> None:
    (tmp_path / "my-model").mkdir()
    recogniser = FasterWhisper(str(tmp_path / "my-model"))
    recogniser.transcribe(SOUND)
    assert recogniser.name == "faster-whisper my-model"
    assert faster_whisper.loaded[0][1]["local_files_only"] is True


def test_a_relative_folder_loads_from_another_working_directory(
    faster_whisper: type[FakeModel], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my-model").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    recogniser = FasterWhisper("my-model")
    monkeypatch.chdir(tmp_path / "elsewhere")
    recogniser.load()
    assert recogniser.transcribe(SOUND) == "Hello there, I am fine."
    assert [model for model, _ in faster_whisper.loaded] == [str(tmp_path / "my-model")]
    with pytest.raises(ConfigError, match="not a speech model"):
        FasterWhisper("unknown").load()


def test_a_download_is_announced(faster_whisper: type[FakeModel], caplog: pytest.LogCaptureFixture) -> None:
    FasterWhisper("remote").transcribe(SOUND)
    assert "downloading" in caplog.text and "local_files_only" not in faster_whisper.loaded[0][1]
    with pytest.raises(ConfigError, match=r"unknown: not a speech model.*Invalid model size"):
        FasterWhisper("unknown").transcribe(SOUND)


def test_every_process_loads_the_model_itself(faster_whisper: type[FakeModel]) -> None:
    recogniser = FasterWhisper("small.en")
    recogniser.transcribe(SOUND)
    assert pickle.loads(pickle.dumps(recogniser)).transcribe(SOUND) == "Hello there, I am fine."
    assert len(faster_whisper.loaded) == 2


def test_the_missing_package_is_an_error_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r'pip install "crnet\[asr\]"'):
        FasterWhisper("small.en")


def test_the_warning_names_the_model(faster_whisper: type[FakeModel]) -> None:
    recogniser = FasterWhisper("small.en")
    assert recognition_warning(recogniser, "hi") == (
        "the words are from speech recognition (faster-whisper small.en) and may be wrong"
    )
    assert "found no words" in recognition_warning(recogniser, "")
