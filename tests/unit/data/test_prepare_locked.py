"""Encrypted archives of the release without their key are skipped, and added once the key is known."""

from __future__ import annotations

import importlib.util
import json
import logging
from pathlib import Path

import pytest
from release_files import Keys, annotation, encrypted, transcription, write_release, zipped
from test_prepare import read_failures, read_files, run

from crnet.cli.main import main
from crnet.data.failures import missing_clips
from crnet.data.manifest import read_manifest
from crnet.data.prepare import PrepareReport
from crnet.errors import ArchiveError, UsageError

needs_decryption = pytest.mark.skipif(
    importlib.util.find_spec("stream_unzip") is None, reason="stream-unzip (extra `release`) is not installed"
)
FIRST = {"eF.000.mp4": b"video five", "eF.001.mp4": b"video six"}
SECOND = {"gH.000.mp4": b"video seven"}
TEST_LABELS = annotation(dict.fromkeys((*FIRST, *SECOND), (0.5,) * 6))


def write_test_split(root: Path) -> Path:
    """Write a release whose test videos are in two encrypted archives of nested zips, with labels in the open."""
    write_release(root)
    (root / "test-1e.zip").write_bytes(encrypted({"test80_01.zip": zipped(FIRST)}, "key1"))
    (root / "test-2e.zip").write_bytes(encrypted({"test80_26.zip": zipped(SECOND)}, "key2"))
    (root / "annotation_test.pkl").write_bytes(TEST_LABELS)
    return root


def clips_in(store: Path, split: str) -> list[str]:
    return sorted(row.clip_id for row in read_manifest(store).clips if row.split == split)


@needs_decryption
def test_the_rest_is_prepared_and_the_keys_add_the_locked_clips_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, store = write_test_split(tmp_path / "fi"), tmp_path / "store"
    report = run(source, store, keys=Keys())
    assert (report.done, report.skipped, report.failures) == (3, 0, ())
    assert [Path(archive.path).name for archive in report.locked] == ["test-1e.zip", "test-2e.zip"]
    assert read_failures(store) == [] and clips_in(store, "test") == []
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    for name, variable in (("test-1e.zip", "CRNET_FIV2_KEY_TEST_1E"), ("test-2e.zip", "CRNET_FIV2_KEY_TEST_2E")):
        assert any(str(source / name) in line and f"set {variable} or" in line for line in warnings)
    keys = Keys({"test-1e": "key1", "test-2e": "key2"})
    report = run(source, store, keys=keys)
    assert (report.done, report.skipped, report.failures, report.locked) == (3, 3, (), ())
    assert clips_in(store, "test") == [*FIRST, *SECOND]
    run(source, tmp_path / "at once", keys=keys)
    assert read_files(store) == read_files(tmp_path / "at once")


@needs_decryption
def test_an_evaluation_of_a_split_that_is_partly_locked_is_told_what_is_missing(tmp_path: Path) -> None:
    source, store = write_test_split(tmp_path / "fi"), tmp_path / "store"
    report = run(source, store, keys=Keys({"test-2e": "key2"}))
    assert (report.done, report.failures) == (4, ())
    assert (store / "locked.csv").read_text() == "clip,split\neF.000.mp4,test\neF.001.mp4,test\n"
    assert missing_clips(read_manifest(store), ["test"], store) == tuple(FIRST)
    assert missing_clips(read_manifest(store), ["train", "val"], store) == ()
    run(source, store, keys=Keys({"test-1e": "key1", "test-2e": "key2"}))
    assert missing_clips(read_manifest(store), ["test"], store) == ()
    assert not (store / "locked.csv").exists()


def test_a_missing_video_that_no_locked_archive_can_hold_is_still_a_failure(tmp_path: Path) -> None:
    source = write_test_split(tmp_path / "fi")
    (source / "TRAIN" / "aB-1.002.mp4").unlink()
    report = run(source, tmp_path / "store", keys=Keys())
    assert [(failure.clip, failure.reason) for failure in report.failures] == [("aB-1.002.mp4", "no such video")]


def test_only_the_videos_that_a_locked_archive_names_are_locked(tmp_path: Path) -> None:
    write_release(tmp_path / "fi")
    scores = dict.fromkeys(("iJ.000.mp4", "iJ.001.mp4", "iJ.002.mp4"), (0.5,) * 6)
    (tmp_path / "fi" / "annotation_test.pkl").write_bytes(annotation(scores))
    (tmp_path / "fi" / "iJ.000.mp4").write_bytes(b"here")
    (tmp_path / "fi" / "videos.zip").write_bytes(encrypted({"iJ.001.mp4": b"locked"}, "key"))
    report = run(tmp_path / "fi", tmp_path / "store", keys=Keys())
    assert [failure.clip for failure in report.failures] == ["iJ.002.mp4"]
    assert (tmp_path / "store" / "locked.csv").read_text() == "clip,split\niJ.001.mp4,test\n"


def test_videos_whose_annotation_is_locked_are_no_failures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = write_release_with_test_videos(tmp_path / "fi")
    (source / "test-annotation-e.zip").write_bytes(encrypted({"annotation_test.pkl": TEST_LABELS}, "key"))
    report = run(source, tmp_path / "store", keys=Keys())
    assert (report.done, report.failures) == (3, ())
    assert "CRNET_FIV2_KEY_TEST_ANNOTATION_E" in caplog.text
    assert "2 videos have no annotation and are skipped; annotation_test.pkl" in caplog.text
    assert clips_in(tmp_path / "store", "test") == []


def test_a_locked_transcription_or_a_copy_of_the_annotation_excuses_no_video_without_label(tmp_path: Path) -> None:
    source = write_release_with_test_videos(tmp_path / "fi")
    locked = {
        "transcription_test.pkl": transcription(dict.fromkeys(FIRST, "words")),
        "annotation_training.pkl": (source / "annotation_training.pkl").read_bytes(),
    }
    (source / "labels.zip").write_bytes(encrypted(locked, "key"))
    report = run(source, tmp_path / "store", keys=Keys())
    assert [(failure.clip, failure.reason) for failure in report.failures] == [
        (name, "has no annotation") for name in FIRST
    ]


@needs_decryption
def test_a_transcription_that_was_locked_is_added_later(tmp_path: Path) -> None:
    source, store = write_release_with_test_videos(tmp_path / "fi"), tmp_path / "store"
    (source / "annotation_test.pkl").write_bytes(annotation(dict.fromkeys(FIRST, (0.5,) * 6)))
    words = transcription(dict.fromkeys(FIRST, "words"))
    (source / "test-transcription_e.zip").write_bytes(encrypted({"transcription_test.pkl": words}, "key"))
    assert run(source, store, keys=Keys()).failures == ()
    assert run(source, store, keys=Keys({"test-transcription_e": "key"})).done == 2
    assert {row.transcript for row in read_manifest(store).rows("test")} == {"words"}


def write_release_with_test_videos(root: Path) -> Path:
    write_release(root)
    (root / "TEST").mkdir()
    for name, content in FIRST.items():
        (root / "TEST" / name).write_bytes(content)
    return root


def write_locked_inside_plain(root: Path) -> Path:
    """Write a release whose test archive is plain and holds an encrypted archive."""
    write_release(root)
    (root / "test-1e.zip").write_bytes(zipped({"test80_01.zip": encrypted(FIRST, "inner"), **SECOND}))
    (root / "annotation_test.pkl").write_bytes(TEST_LABELS)
    return root


@needs_decryption
def test_a_locked_archive_inside_a_plain_one_is_skipped_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source, store = write_locked_inside_plain(tmp_path / "fi"), tmp_path / "store"
    report = run(source, store, keys=Keys())
    assert (report.done, report.failures) == (4, ())
    assert [archive.path for archive in report.locked] == [str(source / "test-1e.zip" / "test80_01.zip")]
    assert "set CRNET_FIV2_KEY_TEST80_01, CRNET_FIV2_KEY_TEST_1E or CRNET_FIV2_KEY to its key" in caplog.text
    assert missing_clips(read_manifest(store), ["test"], store) == tuple(FIRST)
    report = run(source, store, keys=Keys({"test-1e": "inner"}))
    assert (report.done, report.skipped, report.failures, report.locked) == (2, 4, (), ())


@needs_decryption
def test_a_wrong_key_of_an_inner_archive_is_a_failure_that_names_its_variable(tmp_path: Path) -> None:
    report = run(write_locked_inside_plain(tmp_path / "fi"), tmp_path / "store", keys=Keys({"test80_01": "wrong"}))
    assert report.done == 4
    failure = next(failure for failure in report.failures if not failure.clip)
    assert failure.path.endswith("test80_01.zip") and failure.reason == "the key for test80_01 is wrong"
    assert "CRNET_FIV2_KEY_TEST80_01" in failure.remedy
    assert {failure.clip for failure in report.failures} == {"", *FIRST}


@needs_decryption
def test_a_wrong_key_of_an_archive_on_disk_stops_before_the_store_is_touched(tmp_path: Path) -> None:
    source = write_test_split(tmp_path / "fi")
    with pytest.raises(ArchiveError, match=r"test-2e\.zip: the key for test-2e is wrong \(set CRNET_FIV2_KEY_TEST_2E"):
        run(source, tmp_path / "store", keys=Keys({"test-1e": "key1", "test-2e": "key1"}))
    assert not (tmp_path / "store").exists()


@needs_decryption
def test_the_error_of_a_wrong_key_names_the_variable_that_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CRNET_FIV2_KEY_TEST_1E", raising=False)
    monkeypatch.setenv("CRNET_FIV2_KEY", "key1")
    with pytest.raises(ArchiveError, match=r"2e\.zip: the key in CRNET_FIV2_KEY is wrong .*CRNET_FIV2_KEY_TEST_2E"):
        run(write_test_split(tmp_path / "fi"), tmp_path / "store")
    monkeypatch.setenv("CRNET_FIV2_KEY_TEST_2E", "wrong")
    with pytest.raises(ArchiveError, match=r"test-2e\.zip: the key in CRNET_FIV2_KEY_TEST_2E is wrong"):
        run(tmp_path / "fi", tmp_path / "store")


def test_the_command_succeeds_and_counts_the_locked_archives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def prepare(source: Path, store: Path, **_: object) -> PrepareReport:
        return run(source, store, keys=Keys())

    monkeypatch.setattr("crnet.data.prepare.prepare", prepare)
    source = write_test_split(tmp_path / "fi")
    assert main(["prepare", str(source), str(tmp_path / "store")]) == 0
    shown = capsys.readouterr()
    assert (
        "3 clips prepared, 0 already were, 0 failed" in shown.out
        and "without a key, which were skipped: 2" in shown.out
    )
    assert main(["prepare", str(source), str(tmp_path / "store"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["failures"] == []
    assert [archive["path"] for archive in document["locked"]] == [
        str(source / "test-1e.zip"),
        str(source / "test-2e.zip"),
    ]
    assert all("CRNET_FIV2_KEY_TEST_" in archive["remedy"] for archive in document["locked"])


def test_if_all_videos_are_locked_the_error_names_the_variable(tmp_path: Path) -> None:
    (tmp_path / "fi").mkdir()
    (tmp_path / "fi" / "annotation_test.pkl").write_bytes(TEST_LABELS)
    (tmp_path / "fi" / "test-1e.zip").write_bytes(encrypted({"test80_01.zip": zipped({**FIRST, **SECOND})}, "key1"))
    with pytest.raises(UsageError, match=r"no video of its 3 labelled clips \(set CRNET_FIV2_KEY_TEST_1E"):
        run(tmp_path / "fi", tmp_path / "store", keys=Keys())
