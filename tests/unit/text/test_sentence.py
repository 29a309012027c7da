"""The sentence-transformers encoder with a fake of the package's interface; docs/text.md says what a real model was."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from crnet.errors import ConfigError, MissingDependencyError
from crnet.text.encoder_interface import is_same_encoder
from crnet.text.encoders import encoder_by_name
from crnet.text.sentence import SentenceEncoder


class FakeTransformer:
    loaded: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012
    width, weight = 5, 1.0

    def __init__(self, name: str, **settings: Any) -> None:
        if name == "unknown/model" or (name == "remote/model" and settings.get("local_files_only")):
            raise OSError(f"{name} is not a local folder")
        FakeTransformer.loaded.append((name, settings))

    def eval(self) -> FakeTransformer:
        return self

    def state_dict(self) -> dict[str, Tensor]:
        return {"b": torch.zeros(2), "a": torch.full((3,), FakeTransformer.weight)}

    def encode(self, texts: list[str], **_: Any) -> NDArray[np.float32]:
        return np.array([[len(text), *[1] * (FakeTransformer.width - 1)] for text in texts], np.float32)


@pytest.fixture
def transformers(monkeypatch: pytest.MonkeyPatch) -> type[FakeTransformer]:
    module = ModuleType("sentence_transformers")
    module.SentenceTransformer = FakeTransformer  # type: ignore[attr-defined]
    module.__version__ = "6.2.0"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    FakeTransformer.loaded, FakeTransformer.width, FakeTransformer.weight = [], 5, 1.0
    return FakeTransformer


def test_vectors_are_zero_padded(transformers: type[FakeTransformer]) -> None:
    vectors = encoder_by_name("sentence:any/model").encode(["four", " ", "seventy"])
    assert vectors.shape == (3, 4800) and vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors[:, :6], [[4, 1, 1, 1, 1, 0], [0] * 6, [7, 1, 1, 1, 1, 0]])
    assert not vectors[:, 5:].any()


def test_the_name_identifies_the_weights(transformers: type[FakeTransformer], tmp_path: Path) -> None:
    hub, local = SentenceEncoder("any/model"), SentenceEncoder(str(tmp_path))
    assert hub.name.startswith("sentence:any/model#") and local.name.startswith(f"sentence:{tmp_path}#")
    assert is_same_encoder(hub.name, local.name) and encoder_by_name(local.name).name == local.name
    FakeTransformer.weight = 2.0
    with pytest.raises(ConfigError, match="these weights are not the ones that were used"):
        encoder_by_name(hub.name)


def test_model_code_never_runs_and_downloads_are_announced(
    transformers: type[FakeTransformer], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    SentenceEncoder(str(tmp_path))
    SentenceEncoder("any/model")
    assert not caplog.text
    SentenceEncoder("remote/model")
    assert "downloading" in caplog.text
    assert [settings.get("local_files_only") for _, settings in transformers.loaded] == [True, True, None]
    for _, settings in transformers.loaded:
        assert settings["trust_remote_code"] is False and settings["model_kwargs"] == {"use_safetensors": True}


def test_unusable_models_are_refused(transformers: type[FakeTransformer], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown/model: not a sentence-transformers model"):
        SentenceEncoder("unknown/model")
    FakeTransformer.width = 4801
    with pytest.raises(ConfigError, match="its vectors have 4801 numbers"):
        SentenceEncoder("any/model")
    monkeypatch.setattr(sys.modules["sentence_transformers"], "__version__", "5.9.9")
    with pytest.raises(MissingDependencyError, match=r"sentence-transformers 6 or newer, not 5.9.9"):
        SentenceEncoder("any/model")
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "crnet\[sentence\]"'):
        SentenceEncoder("any/model")


def test_another_process_loads_the_model_itself(transformers: type[FakeTransformer]) -> None:
    encoder = pickle.loads(pickle.dumps(SentenceEncoder("any/model")))
    assert encoder.encode(["four"])[0, 0] == 4
