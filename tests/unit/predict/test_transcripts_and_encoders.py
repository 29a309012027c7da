"""Prediction: the source of the words, and the text encoder that turns them into a vector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import load_bundle
from crnet.bundle.save import save_bundle
from crnet.cli.evaluation_tables import tables
from crnet.data.manifest import read_manifest, write_manifest
from crnet.errors import ConfigError, FormatError
from crnet.evaluation.evaluate import evaluate
from crnet.predict import NO_TRANSCRIPT, Predictor
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.text.skip_thoughts.encoder import SkipThoughts
from crnet.types import Clip
from skip_thoughts_files import write_kiros_files

RECOGNISED = "the words are from speech recognition (fake) and may be wrong"


class FakeRecogniser:
    name = "fake"

    def __init__(self, words: str = "I heard this") -> None:
        self.words = words
        self.calls = 0

    def transcribe(self, audio: NDArray[np.int16]) -> str:
        self.calls += 1
        return self.words


@pytest.fixture
def video(monkeypatch: pytest.MonkeyPatch, clip_maker: Callable[..., Clip], tmp_path: Path) -> Path:
    def read_video(path: Path, settings: object, *, allow_still: bool) -> Clip:
        return clip_maker(path.name)

    monkeypatch.setattr("crnet.media.reader.read_video", read_video)
    path = tmp_path / "talk.mp4"
    path.write_bytes(b"video")
    return path


def test_speech_is_recognised_only_without_a_transcript(bundle: Bundle, video: Path) -> None:
    recogniser = FakeRecogniser()
    predictor = Predictor(bundle, recogniser=recogniser)
    recognised = predictor.predict(video)
    assert recognised.warnings == (RECOGNISED,) and recogniser.calls == 1
    given = predictor.predict(video, "I heard this")
    assert given.warnings == () and given.scores == recognised.scores and recogniser.calls == 1
    assert predictor.predict(video, "").warnings == (NO_TRANSCRIPT,) and recogniser.calls == 1  # nothing is said
    video.with_suffix(".srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nfrom a file\n")
    assert predictor.predict(video).warnings == () and recogniser.calls == 1
    video.with_suffix(".srt").write_text("")
    assert predictor.predict(video).warnings == (NO_TRANSCRIPT,) and recogniser.calls == 1


def test_a_warning_tells_of_silence_and_of_no_recogniser(bundle: Bundle, video: Path) -> None:
    assert Predictor(bundle).predict(video).warnings == (NO_TRANSCRIPT,)
    silent = Predictor(bundle, recogniser=FakeRecogniser("")).predict(video)
    assert silent.warnings == (
        "no transcript was given, and speech recognition (fake) found no words",
        NO_TRANSCRIPT,
    )


@pytest.fixture
def bundle_with_encoder(bundle: Bundle, tmp_path: Path) -> Bundle:
    """A system whose text encoder has weights, saved and loaded again."""
    encoder = SkipThoughts(write_kiros_files(tmp_path / "encoder"))
    save_bundle(replace(bundle, encoder=encoder.name), tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


def test_a_system_knows_its_encoder_by_content(bundle_with_encoder: Bundle, tmp_path: Path) -> None:
    assert isinstance(Predictor(bundle_with_encoder).encoder, SkipThoughts)
    (tmp_path / "encoder").rename(tmp_path / "moved")
    with pytest.raises(FormatError, match=r"text encoder skip-thoughts#\w{16} is not at its recorded place.*--encoder"):
        Predictor(bundle_with_encoder)
    Predictor(bundle_with_encoder, encoder=f"skip-thoughts:{tmp_path / 'moved'}")
    table = np.load(tmp_path / "moved" / "btable.npy")
    np.save(tmp_path / "moved" / "btable.npy", table + 1)
    with pytest.raises(ConfigError, match=r"the text encoder is skip-thoughts#.*was trained with skip-thoughts#"):
        Predictor(bundle_with_encoder, encoder=f"skip-thoughts:{tmp_path / 'moved'}")
    with pytest.raises(ConfigError, match="the text encoder is hashed-ngrams-v1"):
        Predictor(bundle_with_encoder, encoder=HashedNgrams.name)
    (tmp_path / "moved").rename(tmp_path / "encoder")
    with pytest.raises(ConfigError, match="these weights are not the ones that were used"):
        Predictor(bundle_with_encoder)


def test_evaluation_knows_encoders_by_content(bundle_with_encoder: Bundle, store: Path) -> None:
    manifest = read_manifest(store)
    with pytest.raises(
        ConfigError, match="encoded by hashed-ngrams-v1, but the system was trained with skip-thoughts#"
    ):
        evaluate(bundle_with_encoder, store)
    fingerprint = bundle_with_encoder.encoder.rpartition("#")[2]
    write_manifest(store, replace(manifest, encoder=f"skip-thoughts:/elsewhere#{fingerprint}"))
    try:
        evaluation = evaluate(bundle_with_encoder, store, resamples=2)
    finally:
        write_manifest(store, manifest)
    assert evaluation.to_dict()["text_encoder"] == f"skip-thoughts#{fingerprint}"
    assert all(f"text encoder skip-thoughts#{fingerprint}" in str(table.title) for table in tables(evaluation))


def test_every_table_names_the_default_encoder(evaluation: object) -> None:
    assert evaluation.to_dict()["text_encoder"] == "hashed-ngrams-v1"  # type: ignore[attr-defined]
    assert all("text encoder hashed-ngrams-v1" in str(table.title) for table in tables(evaluation))  # type: ignore[arg-type]
