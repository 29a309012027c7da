"""Speech recognition in `prepare`: which clips use it, and what the clip files record."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_clips import FakeSettings, fake_clip
from numpy.typing import NDArray

from crnet.data.embed import embed
from crnet.data.extract import ExtractContext, ExtractedClip, ExtractJob, extract_clip, extract_to_store
from crnet.data.manifest import read_manifest
from crnet.data.prepare import PrepareReport, prepare
from crnet.data.sources.dataset import LabelledClip, Video
from crnet.data.store import read_clip
from crnet.errors import ConfigError
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import Clip

HEARD = "the words are from speech recognition (fake 1) and may be wrong"
HEARD_NOTHING = "no transcript was given, and speech recognition (fake 1) found no words"


class FakeRecogniser:
    def __init__(self, name: str = "fake 1") -> None:
        self.name = name
        self.calls = 0

    def transcribe(self, audio: NDArray[np.int16]) -> str:
        assert audio.dtype == np.int16 and audio.size
        self.calls += 1
        return "I heard this" if audio[0] else ""


@pytest.fixture(autouse=True)
def fake_media(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace decoding: the content of the file says what the sound contains."""

    def read_video(path: Path, settings: FakeSettings, *, allow_still: bool) -> Clip:
        clip = fake_clip(path, clip_id="", transcript="", encoder=HashedNgrams(), settings=settings)
        content = path.read_text()
        audio = np.zeros(0 if content == "no track" else 9, np.int16)
        audio[:1] = content == "speech"
        return replace(clip, audio=audio, has_audio=content != "no track")

    monkeypatch.setattr("crnet.media.reader.read_video", read_video)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    for name, content in {"a": "speech", "b": "speech", "c": "silence", "d": "no track", "e": "speech"}.items():
        (folder / f"{name}.mp4").write_text(content)
    (folder / "a.txt").write_text("written down")
    (folder / "e.txt").write_text("[laughs]")  # no speech
    return folder


def run(source: Path, store: Path, recogniser: FakeRecogniser | None) -> PrepareReport:
    return prepare(source, store, workers=0, settings=FakeSettings(), recogniser=recogniser)  # type: ignore[arg-type]


def test_only_clips_without_a_transcript_are_recognised(source: Path, tmp_path: Path) -> None:
    recogniser = FakeRecogniser()
    assert run(source, tmp_path / "store", recogniser).done == 5 and recogniser.calls == 2
    rows = {row.clip_id: row for row in read_manifest(tmp_path / "store").clips}
    # The first warning is the reader's.
    assert {name: (row.transcript, row.warnings[1:]) for name, row in rows.items()} == {
        "a.mp4": ("written down", ()),
        "b.mp4": ("I heard this", (HEARD,)),
        "c.mp4": ("", (HEARD_NOTHING,)),
        "d.mp4": ("", ()),
        "e.mp4": ("", ()),
    }
    for name, row in rows.items():
        clip = read_clip(tmp_path / "store" / row.file)
        np.testing.assert_array_equal(clip.text, HashedNgrams().encode([row.transcript])[0])
        assert clip.has_transcript == bool(row.transcript) and clip.warnings == row.warnings
        assert clip.recognised == ("I heard this" if name == "b.mp4" else "")


def test_resuming_keeps_recognised_words(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "store", FakeRecogniser())
    before, again = read_manifest(tmp_path / "store"), FakeRecogniser()
    assert run(source, tmp_path / "store", again) == PrepareReport(0, 5, ()) and again.calls == 0
    assert read_manifest(tmp_path / "store") == before
    with pytest.raises(ConfigError, match="speech recognition was 'fake 1' and is now 'fake 2'"):
        run(source, tmp_path / "store", FakeRecogniser("fake 2"))
    with pytest.raises(ConfigError, match="speech recognition was 'fake 1' and is now None"):
        run(source, tmp_path / "store", None)


def test_another_encoder_encodes_recognised_words(source: Path, tmp_path: Path) -> None:
    class Length:
        name = "length#0123456789abcdef"

        def encode(self, texts: list[str]) -> NDArray[np.float32]:
            return np.array([[len(text)] * 4800 for text in texts], np.float32)

    run(source, tmp_path / "store", FakeRecogniser())
    embed(tmp_path / "store", Length())  # type: ignore[arg-type]
    rows = read_manifest(tmp_path / "store").clips
    assert [read_clip(tmp_path / "store" / row.file).text[0] for row in rows] == [12, 12, 0, 0, 0]
    assert read_clip(tmp_path / "store" / rows[1].file).recognised == "I heard this"


def test_without_a_recogniser_no_words_are_recognised(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "store", None)
    assert [row.transcript for row in read_manifest(tmp_path / "store").clips] == ["written down", "", "", "", ""]


@pytest.mark.parametrize(("transcribed", "calls"), [(True, 0), (False, 1)])
def test_a_clip_with_an_empty_transcript_is_not_recognised(
    source: Path, tmp_path: Path, transcribed: bool, calls: int
) -> None:
    recogniser = FakeRecogniser()
    context = ExtractContext(tmp_path / "store", HashedNgrams(), FakeSettings(), "", "", extract_clip, recogniser)  # type: ignore[arg-type]
    clip = LabelledClip("b.mp4", transcribed=transcribed)
    extracted = extract_to_store(context, ExtractJob(clip, Video("b.mp4", source / "b.mp4"), 0))
    assert isinstance(extracted, ExtractedClip) and recogniser.calls == calls


def test_a_model_that_cannot_be_loaded_ends_the_run(source: Path, tmp_path: Path) -> None:
    class Broken(FakeRecogniser):
        def transcribe(self, audio: NDArray[np.int16]) -> str:
            raise ConfigError("no speech model")

    with pytest.raises(ConfigError, match="no speech model"):
        run(source, tmp_path / "store", Broken())


def test_the_log_counts_clips_without_transcript(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prepare(source, tmp_path / "store", workers=0, settings=FakeSettings())
    assert "4 of 5 clips have no transcript" in caplog.text  # all but a.txt
