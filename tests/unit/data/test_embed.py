from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_clips import FakeSettings, fake_clip
from numpy.typing import NDArray

from crnet.data.embed import EmbedReport, embed
from crnet.data.manifest import read_manifest, write_manifest
from crnet.data.prepare import prepare
from crnet.data.store import ClipFile, read_clip, write_clip
from crnet.errors import ConfigError, FormatError
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import SPLITS, TARGETS, TEXT_DIMENSIONS
from synthetic import write_store

OLD = "hashed-ngrams-v1"


class Letters:
    """Counts letters; a fake encoder with weights."""

    def __init__(self, folder: str = "/here", fingerprint: str = "0123456789abcdef") -> None:
        self.name = f"letters:{folder}#{fingerprint}"
        self.encoded = 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.encoded += len(texts)
        vectors = np.zeros((len(texts), TEXT_DIMENSIONS), np.float32)
        for vector, text in zip(vectors, texts, strict=True):
            np.add.at(vector, [ord(letter) for letter in text], 1)
        return vectors


TRANSCRIPTS = {"a.mp4": "hello there", "b.mp4": "", "c.mp4": "good bye", "d.mp4": "well then"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    rows = ["clip,split,transcript," + ",".join(TARGETS)]
    for number, (name, words) in enumerate(TRANSCRIPTS.items()):
        (folder / name).write_bytes(name.encode())
        rows.append(f"{name},{SPLITS[number % 3]},{words}," + ",".join(["0.5"] * 6))
    (folder / "clips.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture
def store(source: Path, tmp_path: Path) -> Path:
    prepare_store(source, tmp_path / "store")
    return tmp_path / "store"


def prepare_store(source: Path, store: Path, encoder: object = None) -> tuple[int, int]:
    report = prepare(source, store, workers=0, settings=FakeSettings(), encoder=encoder, extract=fake_clip)  # type: ignore[arg-type]
    return report.done, report.skipped


def read_vectors(store: Path) -> dict[str, NDArray[np.float32]]:
    return {row.clip_id: read_clip(store / row.file).text for row in read_manifest(store).clips}


def test_only_the_vectors_and_the_encoder_change(store: Path) -> None:
    before = {row.clip_id: read_clip(store / row.file) for row in read_manifest(store).clips}
    old, encoder = read_manifest(store), Letters()
    assert embed(store, encoder) == EmbedReport(done=4, skipped=0, without_words=1)
    new = read_manifest(store)
    assert new == replace(old, encoder=encoder.name, fingerprint=new.fingerprint) and new.fingerprint != old.fingerprint
    for row in new.clips:
        clip, earlier = read_clip(store / row.file), before[row.clip_id]
        np.testing.assert_array_equal(clip.text, Letters().encode([TRANSCRIPTS[row.clip_id]])[0])
        for name in ("scene_jpeg", "face_jpeg", "audio", "time_s", "face_box"):
            np.testing.assert_array_equal(getattr(clip, name), getattr(earlier, name))
        assert (clip.warnings, clip.duration_s, clip.has_transcript) == (
            earlier.warnings,
            1.2,
            bool(TRANSCRIPTS[row.clip_id]),
        )
    assert not (store / "embedding.parquet").exists()


def test_workers_write_the_same_store(source: Path, tmp_path: Path) -> None:
    for workers, name in ((0, "a"), (1, "b")):
        prepare_store(source, tmp_path / name)
        assert embed(tmp_path / name, Letters(), workers=workers).done == 4
    a, b = ({p.name: p.read_bytes() for p in (tmp_path / name).rglob("*") if p.is_file()} for name in ("a", "b"))
    assert a == b


def test_paths_may_be_text(source: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    assert prepare(str(source), store, workers=0, settings=FakeSettings(), extract=fake_clip).done == 4  # type: ignore[arg-type]
    assert embed(store, Letters()).done == 4
    write_manifest(store, read_manifest(store))
    clip = read_clip(f"{store}/{read_manifest(store).clips[0].file}")
    write_clip(f"{store}/copy.safetensors", clip)
    assert ClipFile(f"{store}/copy.safetensors").check() is None


def test_a_second_call_changes_nothing(store: Path) -> None:
    embed(store, Letters())
    content = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    encoder = Letters()
    assert embed(store, encoder) == EmbedReport(0, 4, 1) and encoder.encoded == 0
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == content


def test_moved_weights_are_the_same_encoder(store: Path) -> None:
    embed(store, Letters("/here"))
    fingerprint = read_manifest(store).fingerprint
    moved = Letters("/there")
    assert embed(store, moved).done == 0 and moved.encoded == 0
    assert (read_manifest(store).encoder, read_manifest(store).fingerprint) == (moved.name, fingerprint)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("after", range(6))
def test_a_killed_call_leaves_an_unfinished_store_and_resumes(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    from crnet.data import embed as module

    monkeypatch.setattr(module, "CLIPS_PER_BATCH", 1)
    steps = 0

    def counted(function: object) -> object:
        def call(*args: object, **kwargs: object) -> object:
            nonlocal steps
            if steps == after:
                raise _Killed
            steps += 1
            return function(*args, **kwargs)  # type: ignore[operator]

        return call

    with monkeypatch.context() as killing:
        for name in ("write_json", "write_clip", "write_manifest"):
            killing.setattr(module, name, counted(getattr(module, name)))
        with pytest.raises(_Killed):
            embed(store, Letters())
    with pytest.raises(FormatError, match=r"the store is unfinished.*crnet embed"):
        read_manifest(store)
    report = embed(store, Letters())
    assert (report.done, report.skipped) == (5 - max(after, 1), max(after, 1) - 1)
    expected = {name: Letters().encode([words])[0] for name, words in TRANSCRIPTS.items()}
    for name, vector in read_vectors(store).items():
        np.testing.assert_array_equal(vector, expected[name])
    assert read_manifest(store).encoder == Letters().name


class LettersOfAll(Letters):
    """A vector depends a little on the other texts, as that of a network does on the length of its batch."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return super().encode(texts) + np.float32(len(texts))


def test_a_call_killed_within_a_batch_resumes_with_the_same_vectors(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crnet.data import embed as module

    written: list[Path] = []

    def write_two(path: Path, *arguments: object) -> None:
        if len(written) == 2:
            raise _Killed
        written.append(path)
        write_clip(path, *arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as killing:
        killing.setattr(module, "write_clip", write_two)
        with pytest.raises(_Killed):
            embed(store, LettersOfAll())
    assert embed(store, LettersOfAll()).done == 2
    names, words = zip(*((row.clip_id, row.transcript) for row in read_manifest(store).clips), strict=True)
    expected = dict(zip(names, LettersOfAll().encode(words), strict=True))
    for name, vector in read_vectors(store).items():
        np.testing.assert_array_equal(vector, expected[name])


def test_a_call_interrupted_with_one_encoder_can_finish_with_another(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crnet.data import embed as module

    original = {name: vector.copy() for name, vector in read_vectors(store).items()}
    with monkeypatch.context() as killing:
        killing.setattr(module, "write_manifest", lambda *_: (_ for _ in ()).throw(_Killed))
        with pytest.raises(_Killed):
            embed(store, Letters())
    assert embed(store, HashedNgrams()).done == 4
    for name, vector in read_vectors(store).items():
        np.testing.assert_array_equal(vector, original[name])
    assert read_manifest(store).encoder == OLD


def test_prepare_with_the_old_encoder_does_not_reuse_the_clips(source: Path, store: Path) -> None:
    embed(store, Letters())
    with pytest.raises(ConfigError, match="encoder was 'letters#0123456789abcdef' and is now 'hashed-ngrams-v1'"):
        prepare_store(source, store)
    assert read_manifest(store).encoder == Letters().name  # the store is unchanged
    assert prepare_store(source, store, Letters()) == (4, 0)  # extracted again, with the right vectors
    np.testing.assert_array_equal(read_vectors(store)["a.mp4"], Letters().encode(["hello there"])[0])


def test_prepare_can_finish_an_interrupted_embed(source: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crnet.data import embed as module

    with monkeypatch.context() as killing:
        killing.setattr(module, "write_manifest", lambda *_: (_ for _ in ()).throw(_Killed))
        with pytest.raises(_Killed):
            embed(store, Letters())
    assert prepare_store(source, store, Letters()) == (4, 0)
    assert read_manifest(store).encoder == Letters().name and not (store / "embedding.parquet").exists()


def test_a_store_without_prepare_settings(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", clips=3, pixels=8)
    assert embed(folder, Letters()).done == 3
    assert not (folder / "prepare.json").exists()
    assert read_vectors(folder)["clip0001.mp4"][ord("1")] == 1


def test_the_prepare_settings_name_the_new_encoder(store: Path) -> None:
    embed(store, Letters())
    assert json.loads((store / "prepare.json").read_text())["encoder"] == "letters#0123456789abcdef"


def test_a_manifest_with_other_transcripts_is_refused(store: Path) -> None:
    manifest = read_manifest(store)
    emptied = replace(manifest, clips=tuple(replace(row, transcript="") for row in manifest.clips))
    write_manifest(store, emptied)
    with pytest.raises(FormatError, match="the manifest's transcript is not the one"):
        embed(store, Letters())


def test_a_folder_that_is_not_a_store(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not a clip store"):
        embed(tmp_path, Letters())
