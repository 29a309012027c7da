from __future__ import annotations

import csv
import json
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_clips import FakeSettings, fake_clip
from release_files import write_release, zipped

from crnet.data.extract import ExtractContext, ExtractJob, extract_to_store
from crnet.data.failures import missing_clips
from crnet.data.manifest import read_manifest
from crnet.data.prepare import PrepareReport, prepare
from crnet.data.sources.dataset import Failure, LabelledClip, Video
from crnet.data.store import read_clip
from crnet.errors import ConfigError, LabelError, StorageError, UsageError
from crnet.media.limits import FileLimits
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.types import TARGETS, Clip

SETTINGS = FakeSettings()


def run(
    source: Path, store: Path, *, settings: FakeSettings = SETTINGS, workers: int = 0, **more: object
) -> PrepareReport:
    return prepare(source, store, settings=settings, workers=workers, extract=fake_clip, **more)  # type: ignore[arg-type]


def folder(root: Path, contents: dict[str, bytes]) -> Path:
    """Write videos with these contents, and a CSV with other scores for each clip; b"gone" means no video."""
    root.mkdir(exist_ok=True)
    rows = ["clip,split," + ",".join(TARGETS)]
    for number, (name, content) in enumerate(contents.items()):
        if content != b"gone":
            (root / name).write_bytes(content)
        rows.append(f"{name},{('train', 'val', 'test')[number % 3]}," + ",".join([f"{number / 100}"] * 6))
    (root / "clips.csv").write_text("\n".join(rows))
    return root


def read_files(store: Path) -> dict[str, bytes]:
    return {p.relative_to(store).as_posix(): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


def read_failures(store: Path) -> list[dict[str, str]]:
    with (store / "failures.csv").open(newline="") as file:
        return list(csv.DictReader(file))


CONTENTS = {"a.mp4": b"1", "b.mp4": b"bad", "c.mp4": b"3", "d.mp4": b"odd", "e.mp4": b"gone", "f.mp4": b"6"}


@pytest.mark.parametrize("workers", [0, 2])
def test_bad_clips_are_listed_and_the_other_labels_stay_right(tmp_path: Path, workers: int) -> None:
    source = folder(tmp_path / "source", CONTENTS)
    report = run(source, tmp_path / "store", workers=workers)
    assert (report.done, report.skipped, len(report.failures)) == (3, 0, 3)
    manifest = read_manifest(tmp_path / "store")
    assert {row.clip_id: row.scores for row in manifest.clips} == {
        "a.mp4": (0.0,) * 6,
        "c.mp4": (0.02,) * 6,
        "f.mp4": (0.05,) * 6,
    }
    for row in manifest.clips:
        clip = read_clip(tmp_path / "store" / row.file)
        assert clip.clip_id == row.clip_id
        assert (row.frames, row.duration_s, row.warnings) == (12, 1.2, ("fake",))
        assert (row.faces_found, row.faces_looked_at) == (4, 4)
    assert (manifest.source, manifest.encoder) == ("folder", "hashed-ngrams-v1")
    assert manifest.settings["pixels"] == 8
    listed = read_failures(tmp_path / "store")
    assert [(row["clip"], row["path"], row["split"]) for row in listed] == [
        (name, str(source / name), split) for name, split in (("b.mp4", "val"), ("d.mp4", "train"), ("e.mp4", "val"))
    ]
    assert [row["reason"] for row in listed] == [
        "not a video",
        "unexpected ZeroDivisionError: a bug",
        "no such video",
    ]
    assert all(row["remedy"] for row in listed)


def test_when_a_worker_dies_only_its_clip_fails(tmp_path: Path) -> None:
    contents = {"a.mp4": b"1", "b.mp4": b"die", "c.mp4": b"3", "d.mp4": b"4"}
    report = run(folder(tmp_path / "source", contents), tmp_path / "store", workers=1)
    (failure,) = report.failures
    assert failure.clip == "b.mp4" and failure.reason == "reading it ended the worker process with exit code 9"
    assert [row.clip_id for row in read_manifest(tmp_path / "store").clips] == ["a.mp4", "d.mp4", "c.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the memory of a process")
def test_a_video_beyond_its_limits_fails_for_its_true_reason(tmp_path: Path) -> None:
    slow = folder(tmp_path / "slow", {"b.mp4": b"hang"})
    (failure,) = run(slow, tmp_path / "store0", workers=1, limits=FileLimits(max_time_s=2)).failures
    assert failure.reason == "reading it took longer than 2 s"

    contents = {"a.mp4": b"1", "c.mp4": b"crash", "d.mp4": b"flood", "e.mp4": b"5"}
    source = folder(tmp_path / "source", contents)
    report = run(source, tmp_path / "store", workers=1, limits=FileLimits(max_memory_mb=1500))
    assert {failure.clip: failure.reason for failure in report.failures} == {
        "c.mp4": "reading it crashed the worker process (segmentation fault)",
        "d.mp4": "reading it needs more than 1500 MB",
    }
    alone = folder(tmp_path / "alone", {name: contents[name] for name in ("a.mp4", "e.mp4")})
    run(alone, tmp_path / "store2", workers=1)
    clips = [{p.name: p.read_bytes() for p in (tmp_path / s).rglob("*.safetensors")} for s in ("store", "store2")]
    assert clips[0].keys() == clips[1].keys() and len(clips[0]) == 2
    for name in clips[0]:
        assert clips[0][name] == clips[1][name]


def test_running_the_same_command_again_changes_nothing(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", CONTENTS)
    run(source, tmp_path / "store")
    before = read_files(tmp_path / "store")
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.safetensors")}
    report = run(source, tmp_path / "store")
    assert (report.done, report.skipped, len(report.failures)) == (0, 3, 3)
    assert read_files(tmp_path / "store") == before
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*.safetensors")} == times
    run(source, tmp_path / "other")
    assert read_files(tmp_path / "other") == before


def test_only_changed_clips_are_extracted_again(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1", "b.mp4": b"bad", "c.mp4": b"3"})
    run(source, tmp_path / "store")
    (source / "b.mp4").write_bytes(b"repaired")
    (source / "c.mp4").write_bytes(b"4")  # the same size as before
    report = run(source, tmp_path / "store")
    assert (report.done, report.skipped, report.failures) == (2, 1, ())
    assert read_failures(tmp_path / "store") == []
    run(source, tmp_path / "fresh")
    assert read_files(tmp_path / "store") == read_files(tmp_path / "fresh")


def test_a_new_transcript_is_encoded(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1", "c.mp4": b"3"})
    run(source, tmp_path / "store")
    (source / "a.txt").write_text("added later")
    assert run(source, tmp_path / "store").done == 1
    (a, _) = read_manifest(tmp_path / "store").clips
    assert a.transcript == "added later" and read_clip(tmp_path / "store" / a.file).has_transcript


def flipped(content: bytes) -> bytes:
    """Change one byte of the last array, the JPEG files."""
    return content[:-20] + bytes([content[-20] ^ 1]) + content[-19:]


@pytest.mark.parametrize("damage", [lambda content: b"half", lambda content: content[:-1], flipped])
def test_a_damaged_clip_file_is_written_again(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1", "c.mp4": b"3"})
    run(source, tmp_path / "store")
    before = read_files(tmp_path / "store")
    path = next((tmp_path / "store").rglob("a.mp4*"))
    path.write_bytes(damage(path.read_bytes()))
    assert run(source, tmp_path / "store").done == 1
    assert read_files(tmp_path / "store") == before


def test_leftovers_of_a_killed_run_are_deleted(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1"})
    run(source, tmp_path / "store")
    before = read_files(tmp_path / "store")
    (tmp_path / "store" / "clips" / ".tmp-x.safetensors").write_bytes(b"half")
    (tmp_path / "store" / ".tmp-work").mkdir()
    (tmp_path / "store" / ".tmp-work" / "inner.zip").write_bytes(b"half")
    (tmp_path / "store" / "manifest.parquet").unlink()
    run(source, tmp_path / "store")
    assert read_files(tmp_path / "store") == before
    assert not (tmp_path / "store" / ".tmp-work").exists()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1"})
    run(source, tmp_path / "store")
    before = read_files(tmp_path / "store")
    with pytest.raises(ConfigError, match=r"media\.frames_per_segment was None and is now 2") as caught:
        run(source, tmp_path / "store", settings=FakeSettings(frames_per_segment=2))
    assert caught.value.path == tmp_path / "store" / "prepare.json" and caught.value.remedy
    assert read_files(tmp_path / "store") == before


def test_a_folder_with_other_files_is_not_touched(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1"})
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years")
    with pytest.raises(UsageError, match="not empty"):
        run(source, tmp_path / "home")
    with pytest.raises(UsageError, match="both"):
        run(source, source)
    with pytest.raises(UsageError, match="is a file"):
        run(source, tmp_path / "home" / "thesis.tex")
    assert read_files(tmp_path / "home") == {"thesis.tex": b"years"}


def test_bad_labels_do_not_change_a_finished_store(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1"})
    run(source, tmp_path / "store")
    (source / "clips.csv").write_text("clip\na.mp4\na.mp4\n")
    with pytest.raises(LabelError):
        run(source, tmp_path / "store")
    assert read_manifest(tmp_path / "store").clips


@pytest.mark.parametrize("workers", [0, 1])
def test_a_full_disk_ends_the_run_and_leaves_an_unfinished_store(tmp_path: Path, workers: int) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1", "b.mp4": b"full", "c.mp4": b"3"})
    with pytest.raises(StorageError, match="disk full"):
        run(source, tmp_path / "store", workers=workers)
    assert not (tmp_path / "store" / "manifest.parquet").exists()
    (source / "b.mp4").write_bytes(b"2")
    assert run(source, tmp_path / "store").skipped >= 1


@pytest.mark.parametrize("error", [StorageError("disk full", path="x"), KeyboardInterrupt()])
def test_no_temporary_file_stays_behind_when_a_run_fails(tmp_path: Path, error: BaseException) -> None:
    store = tmp_path / "store"

    def fail(*_: object, **__: object) -> Clip:
        # As a worker that is ended while another one fails.
        (store / "clips").mkdir(parents=True, exist_ok=True)
        (store / "clips" / ".tmp-abc.safetensors").write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        source = folder(tmp_path / "source", {"a.mp4": b"1"})
        prepare(source, store, workers=0, settings=SETTINGS, extract=fail)  # type: ignore[arg-type]
    assert not list(store.rglob(".tmp-*"))


def test_names_like_formulas_are_neutral_in_the_lists_and_still_found(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    scores = ",".join(["0.5"] * 6)
    (source / "t.csv").write_text(f"clip,split,{','.join(TARGETS)}\n=1+1.mp4,test,{scores}\nb.mp4,test,{scores}\n")
    (source / "b.mp4").write_bytes(b"1")
    run(source, tmp_path / "store")
    assert "'=1+1.mp4," in (tmp_path / "store" / "failures.csv").read_text()
    assert missing_clips(read_manifest(tmp_path / "store"), ["test"], tmp_path / "store") == ("=1+1.mp4",)


def test_a_store_inside_its_dataset_is_not_read_as_data(tmp_path: Path) -> None:
    source = folder(tmp_path, {"a.mp4": b"1"})
    (source / "clips.csv").unlink()
    run(source, source / "store")
    (source / "store" / ".tmp-work").mkdir()
    assert run(source, source / "store").skipped == 1


def test_synthetic_people_are_never_mistaken_for_real_ones(tmp_path: Path) -> None:
    source = folder(tmp_path / "source", {"a.mp4": b"1", "b.mp4": b"synthetic"})
    run(source, tmp_path / "store")
    assert read_manifest(tmp_path / "store").source == "simulated"


def test_the_release_zipped_and_unpacked_gives_the_same_store(tmp_path: Path) -> None:
    write_release(tmp_path / "unpacked")
    write_release(tmp_path / "zipped", nested=True, compression=8)
    for name in ("unpacked", "zipped"):
        report = run(tmp_path / name, tmp_path / f"store of {name}")
        assert (report.done, report.failures) == (3, ())
    assert read_files(tmp_path / "store of unpacked") == read_files(tmp_path / "store of zipped")
    manifest = read_manifest(tmp_path / "store of zipped")
    assert manifest.source == "first-impressions-v2"
    assert [row.clip_id for row in manifest.rows("val")] == ["c_D2.000.mp4"]
    assert run(tmp_path / "zipped", tmp_path / "store of zipped").skipped == 3


def test_a_split_of_the_release_without_any_video_is_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_release(tmp_path / "fi")
    (tmp_path / "fi" / "val" / "c_D2.000.mp4").unlink()
    (tmp_path / "fi" / "TRAIN" / "aB-1.002.mp4").unlink()
    with caplog.at_level(logging.WARNING):
        report = run(tmp_path / "fi", tmp_path / "store")
    assert [failure.clip for failure in report.failures] == ["aB-1.002.mp4"]
    assert "the val split has no videos" in caplog.text


def test_labels_without_any_video_are_a_usage_error(tmp_path: Path) -> None:
    write_release(tmp_path / "fi")
    for video in (tmp_path / "fi").rglob("*.mp4"):
        video.rename(video.with_name("other" + video.name))
    with pytest.raises(UsageError, match="has no video of its 3 labelled clips") as caught:
        run(tmp_path / "fi", tmp_path / "store")
    assert caught.value.path == tmp_path / "fi" and "failures.csv" in str(caught.value.remedy)
    assert {row["reason"] for row in read_failures(tmp_path / "store")} == {"has no annotation"}
    assert not (tmp_path / "store" / "manifest.parquet").exists()


@pytest.mark.parametrize(("name", "is_listed"), [("val-1.zip", True), ("videos.zip", True), ("train-1.zip", False)])
def test_a_split_that_a_bad_archive_may_contain_is_not_skipped(tmp_path: Path, name: str, is_listed: bool) -> None:
    write_release(tmp_path / "fi")
    content = (tmp_path / "fi" / "val" / "c_D2.000.mp4").read_bytes()
    (tmp_path / "fi" / "val" / "c_D2.000.mp4").unlink()
    nested = zipped({"c_D2.000.mp4": content})
    for _ in range(5):
        nested = zipped({"in.zip": nested})
    (tmp_path / "fi" / name).write_bytes(nested)
    failures = {failure.clip: failure.reason for failure in run(tmp_path / "fi", tmp_path / "store").failures}
    assert "nested too deeply" in failures.pop("")
    assert failures == ({"c_D2.000.mp4": "no such video"} if is_listed else {})


def test_only_regular_files_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.mp4").write_bytes(b"1")
    os.mkfifo(source / "pipe.mp4")
    (source / "link to pipe.mp4").symlink_to("pipe.mp4")
    (source / "link to nothing.mp4").symlink_to("gone.mp4")
    (source / "device.mp4").symlink_to("/dev/zero")
    (source / "linked.mp4").symlink_to("a.mp4")
    run(source, tmp_path / "store")
    assert [row.clip_id for row in read_manifest(tmp_path / "store").clips] == ["a.mp4", "linked.mp4"]
    assert caplog.text.count("not a regular file") == 4
    # A row that names the pipe is a failure, and nothing waits for the pipe.
    (source / "clips.csv").write_text("clip\na.mp4\nlinked.mp4\npipe.mp4\n")
    assert [failure.clip for failure in run(source, tmp_path / "store").failures] == ["pipe.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such file names")
@pytest.mark.parametrize("workers", [0, 1])
def test_a_name_that_is_not_utf8_fails_only_its_clip(tmp_path: Path, workers: int) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "a.mp4").write_bytes(b"1")
    Path(os.fsdecode(os.fsencode(tmp_path / "source") + b"/b\xff.mp4")).write_bytes(b"2")
    (failure,) = run(tmp_path / "source", tmp_path / "store", workers=workers).failures
    assert (failure.reason, failure.remedy) == ("its name is not UTF-8", "rename it")
    assert [row.clip_id for row in read_manifest(tmp_path / "store").clips] == ["a.mp4"]
    assert [row["clip"] for row in read_failures(tmp_path / "store")] == ["b\\udcff.mp4"]


def test_a_broken_link_is_not_reported_as_missing_permissions(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to("gone")
    context = ExtractContext(tmp_path / "store", HashedNgrams(), SETTINGS, "", "", fake_clip)  # type: ignore[arg-type]
    failure = extract_to_store(context, ExtractJob(LabelledClip("a.mp4"), Video("a.mp4", tmp_path / "a.mp4"), 0))
    assert isinstance(failure, Failure) and "broken link" in failure.reason and "permissions" not in failure.remedy


def test_negative_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-3 workers"):
        run(folder(tmp_path / "source", {"a.mp4": b"1"}), tmp_path / "store", workers=-3)
    assert not (tmp_path / "store").exists()


def test_progress_counts_every_clip_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    calls: list[tuple[int, int, str]] = []
    source = folder(tmp_path / "source", CONTENTS)
    with caplog.at_level(logging.INFO):
        run(source, tmp_path / "store", progress=lambda task, done, total, note="": calls.append((done, total, note)))
    assert [done for done, _, _ in calls] == [0, 1, 2, 3, 4, 5, 6]
    assert {total for _, total, _ in calls} == {6}
    assert next(note for _, _, note in calls if note).endswith("b.mp4: not a video")
    assert "6 clips will take about" in caplog.text


def test_the_store_records_its_settings(tmp_path: Path) -> None:
    run(folder(tmp_path / "source", {"a.mp4": b"1"}), tmp_path / "store")
    settings = json.loads((tmp_path / "store" / "prepare.json").read_text())
    assert settings["media"]["segments"] == 4 and settings["encoder"] == "hashed-ngrams-v1"
    assert settings["fingerprint"] == read_manifest(tmp_path / "store").fingerprint
