"""Prepare a store that the reader's earlier version wrote: only clips that are read differently are done again."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
import pytest
from fake_clips import FakeSettings, fake_clip

from crnet.cli.main import main
from crnet.data.manifest import read_manifest
from crnet.data.prepare import PrepareReport, prepare
from crnet.data.store import read_clip
from crnet.errors import ConfigError
from crnet.media.earlier_reader import is_read_alike
from crnet.media.reader import read_video
from crnet.media.settings import EARLIER_VERSION, READER_VERSION, MediaSettings
from crnet.types import TARGETS, Clip

SMALL = MediaSettings(segments=4, pixels=16)


@dataclass(frozen=True)
class OldSettings(FakeSettings):
    """Settings as an earlier version of the reader records them."""

    reader: int = EARLIER_VERSION

    def to_dict(self) -> dict[str, object]:
        document = super().to_dict()
        del document["reader"]
        return document

    def fingerprint(self, version: int = READER_VERSION) -> str:
        return f"{FakeSettings()!r} {self.reader}"


def dataset(folder: Path) -> Path:
    folder.mkdir()
    lines = ["clip,split," + ",".join(TARGETS)]
    for name in ("alike.mp4", "other.mp4"):
        (folder / name).write_bytes(name.encode())
        lines.append(f"{name},train," + ",".join(["0.5"] * 6))
    (folder / "clips.csv").write_text("\n".join(lines))
    return folder


def run(source: Path, store: Path, settings: FakeSettings) -> PrepareReport:
    return prepare(source, store, settings=settings, workers=0, extract=fake_clip)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def names_decide(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "source" in request.fixturenames:
        monkeypatch.setattr(
            "crnet.media.earlier_reader.is_read_alike", lambda path, clip, settings: path.name == "alike.mp4"
        )


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return dataset(tmp_path / "source")


def test_only_clips_that_are_read_differently_are_prepared_again(source: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert run(source, store, OldSettings()).done == 2
    report = run(source, store, FakeSettings())
    assert (report.done, report.skipped, report.changed) == (1, 1, ("other.mp4",))
    assert run(source, store, FakeSettings()) == PrepareReport(0, 2, ())
    fresh = tmp_path / "fresh"
    run(source, fresh, FakeSettings())
    assert (store / "prepare.json").read_bytes() == (fresh / "prepare.json").read_bytes()
    for row in read_manifest(store).rows("train"):
        clip, expected = read_clip(store / row.file), read_clip(fresh / row.file)
        assert clip.settings == (FakeSettings().fingerprint() if row.clip_id == "alike.mp4" else expected.settings)
        assert (clip.audio == expected.audio).all() and (clip.scene_jpeg == expected.scene_jpeg).all()


def test_a_store_of_an_older_version_is_refused(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path / "store", OldSettings(reader=EARLIER_VERSION - 1))
    with pytest.raises(ConfigError, match="another configuration"):
        run(source, tmp_path / "store", FakeSettings())


def video(path: Path, *, sound_delay: int = 0) -> Path:
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=25)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", 16_000, layout="mono")
        for _ in range(20):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")))
        container.mux(picture.encode(None))
        samples = np.random.default_rng(0).normal(0, 0.1, (1, 12_288)).astype(np.float32)
        for start in range(0, 12_288, 1024):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + 1024]), "fltp", "mono")
            frame.sample_rate, frame.pts = 16_000, start + sound_delay
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def seen_by_the_earlier_reader(path: Path) -> Clip:
    """Return the clip as if a face were in every frame, so that there is nothing to warn about."""
    clip = read_video(path, SMALL)
    return replace(clip, warnings=(), face_box=np.ones_like(clip.face_box))


def test_a_usual_clip_is_read_alike(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4")
    clip = seen_by_the_earlier_reader(path)
    assert is_read_alike(path, clip, SMALL)
    assert not is_read_alike(path, replace(clip, warnings=("no face",)), SMALL)
    assert not is_read_alike(path, replace(clip, duration_s=clip.duration_s + 0.1), SMALL)
    assert not is_read_alike(path, replace(clip, face_box=np.full_like(clip.face_box, np.nan)), SMALL)


def test_a_clip_whose_sound_moves_is_not_read_alike(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mp4", sound_delay=4096)
    clip = seen_by_the_earlier_reader(path)
    # The earlier reader let the sound begin with the picture.
    assert is_read_alike(path, clip, SMALL)
    assert not is_read_alike(path, replace(clip, audio=clip.audio[4096:]), SMALL)


def test_the_command_says_which_clips_changed(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = PrepareReport(2, 3, (), changed=tuple(f"{letter}.mp4" for letter in "abcdefghijkl"))
    monkeypatch.setattr("crnet.data.prepare.prepare", lambda *_, **__: report)
    assert main(["prepare", str(source), str(tmp_path / "store")]) == 0
    assert "prepared again: a.mp4, b.mp4" in capsys.readouterr().out
    assert main(["prepare", str(source), str(tmp_path / "store"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["changed"] == list(report.changed)
