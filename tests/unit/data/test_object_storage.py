"""Sources and stores in object storage, against a real S3 server that fails on demand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from fake_clips import FakeSettings, fake_clip

from crnet.data.dataset import ClipDataset, load_batches
from crnet.data.manifest import read_manifest, write_manifest
from crnet.data.merge import merge
from crnet.data.prepare import PrepareReport, prepare
from crnet.data.store import ClipFile, clip_path, write_clip
from crnet.data.video_files import find_files
from crnet.errors import FormatError, StorageError, UsageError
from crnet.utils import storage
from crnet.utils.files import write_bytes
from crnet.utils.storage import as_path
from crnet.utils.storage_lock import LOCK_FOLDER, folder_lock
from s3_server import (
    ARCHIVED,
    BUCKET,
    DENIED,
    EXPIRED,
    FULL,
    INTERNAL,
    SLOW_DOWN,
    TIMEOUT,
    UNSUPPORTED,
    FaultyApp,
    s3_server,
)
from synthetic import make_clip, write_store
from tiny_training import TINY_TRANSFORMS, train_tiny

VIDEOS = {f"{i}.mp4": bytes([i]) * 3 for i in range(4)}
CSV = "clip,split,extraversion,neuroticism,agreeableness,conscientiousness,openness,interview\n" + "".join(
    f"{name},{split},.1,.2,.3,.4,.5,.6\n" for name, split in zip(VIDEOS, ("train", "train", "val", "test"), strict=True)
)
SOURCE = {**VIDEOS, "labels.csv": CSV.encode(), "1.srt": b"1\n00:00:00,0 --> 00:00:01,0\nsaid\n"}


@pytest.fixture(scope="module")
def server() -> Iterator[FaultyApp]:
    with s3_server() as app:
        yield app


@pytest.fixture
def s3(server: FaultyApp, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyApp]:
    """The server without faults and with an empty bucket; repeated requests do not wait."""
    monkeypatch.setattr(storage, "RETRY_WAITS_S", (0.0, 0.0, 0.0))
    yield server
    server.faults = lambda number, method, path: None
    files = fsspec.filesystem("s3")
    for name in files.find(BUCKET):
        files.rm_file(name)


def put_source(url: str) -> None:
    for name, content in SOURCE.items():
        (as_path(url) / name).put(content)


def prepare_fake(source: str, store: str) -> PrepareReport:
    return prepare(source, store, workers=0, settings=FakeSettings(), extract=fake_clip)  # type: ignore[arg-type]


def files_of(store: Path) -> dict[str, bytes]:
    found = store.find()[0] if isinstance(store, storage.RemotePath) else filter(Path.is_file, store.rglob("*"))
    return {path.relative_to(store).as_posix(): path.read_bytes() for path in found}


def upload(folder: Path, url: str) -> None:
    for path in filter(Path.is_file, folder.rglob("*")):
        (as_path(url) / path.relative_to(folder).as_posix()).put(path.read_bytes())


def every(count: int, *faults: object) -> object:
    """Return a function that lets every `count`-th request fail, with each of some faults in turn."""
    return lambda number, method, path: faults[number // count % len(faults)] if number % count == 0 else None


def test_prepare_through_faults_gives_the_bytes_of_a_run_on_disk(s3: FaultyApp, tmp_path: Path) -> None:
    put_source("s3://bucket/videos")
    upload_at = len(s3.requests)
    s3.faults = every(9, INTERNAL, SLOW_DOWN, TIMEOUT)  # type: ignore[assignment]
    report = prepare_fake("s3://bucket/videos", "s3://bucket/store")
    assert (report.done, report.failures) == (4, ()) and s3.failed > (len(s3.requests) - upload_at) // 10 > 3
    s3.faults = lambda number, method, path: None
    for name, content in SOURCE.items():
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / name).write_bytes(content)
    prepare_fake(str(tmp_path / "videos"), str(tmp_path / "store"))
    written = files_of(as_path("s3://bucket/store"))
    assert written == files_of(tmp_path / "store")  # no lock is left either
    assert read_manifest("s3://bucket/store").clips[1].clip_id == "1.mp4"
    again = prepare_fake("s3://bucket/videos", "s3://bucket/store")
    assert (again.done, again.skipped) == (0, 4)
    assert files_of(as_path("s3://bucket/store")) == written


def test_training_through_faults_gives_the_weights_of_a_store_on_disk(s3: FaultyApp, tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=5, pixels=24, duration_s=0.25)
    upload(store, "s3://bucket/store")
    s3.faults = every(10, INTERNAL, SLOW_DOWN)  # type: ignore[assignment]
    remote = train_tiny(as_path("s3://bucket/store"), tmp_path / "remote", epochs=(1, 1), batch_size=3)
    assert s3.failed > 5
    assert remote.read_bytes() == train_tiny(store, tmp_path / "local", epochs=(1, 1), batch_size=3).read_bytes()


def test_a_clip_is_read_in_parts(s3: FaultyApp, tmp_path: Path) -> None:
    clip = make_clip("a.mp4", pixels=112, duration_s=8.0)  # some MB, far more than the first request fetches
    write_clip(tmp_path / "clip", clip)
    write_clip("s3://bucket/clip", clip)
    size = (tmp_path / "clip").stat().st_size
    assert size > 10 * (64 << 10)
    before = len(s3.requests)
    file = ClipFile("s3://bucket/clip", "a.mp4")
    jpegs = file.jpegs("scene", [0, 1, 63])
    requests = s3.requests[before:]
    assert jpegs == [clip.jpeg("scene", frame) for frame in (0, 1, 63)]
    # Size; the first 64 kB; the segments; frames 0 and 1 together; frame 63.
    assert [method for method, _ in requests] == ["HEAD", "GET", "GET", "GET", "GET"]
    np.testing.assert_array_equal(file.read_audio(), clip.audio)
    assert file.audio_samples == len(clip.audio)


def test_each_part_of_a_manifest_is_fetched_once(s3: FaultyApp, tmp_path: Path) -> None:
    manifest = read_manifest(write_store(tmp_path / "store", clips=5, pixels=24, duration_s=0.25))
    write_manifest("s3://bucket/store", manifest, rows_per_part=2)
    before = len(s3.requests)
    assert list(read_manifest("s3://bucket/store").clips.table.name_ranks()) == [0, 1, 2, 3, 4]  # type: ignore[attr-defined]
    fetched = [path for method, path in s3.requests[before:] if method == "GET" and "/manifest/" in path]
    assert len(fetched) == len(set(fetched)) > 2


def test_a_name_may_hold_what_means_something_in_a_url(s3: FaultyApp) -> None:
    for name in ("a::b.mp4", "a#1.mp4", "a b?c.mp4", "a%20.mp4", "a*[1].mp4"):
        path = as_path("s3://bucket/odd") / name
        path.put(name.encode())  # type: ignore[attr-defined]
        assert path.read_bytes() == name.encode() and path.stat().st_size == len(name)
        assert as_path("s3://bucket/odd").find() == ([path], [])  # type: ignore[attr-defined]
        path.unlink()


def test_an_object_whose_name_cannot_be_a_path_costs_no_other(s3: FaultyApp, caplog: pytest.LogCaptureFixture) -> None:
    client = fsspec.filesystem("s3")
    for name in ("a.mp4", "b/c.mp4", "../up.mp4", "./here.mp4", "b//empty.mp4", "..", "b/"):
        client.call_s3("put_object", Bucket=BUCKET, Key=f"names/{name}", Body=b"1")
    folder = as_path("s3://bucket/names")
    assert [file.relative_to(folder).as_posix() for file in find_files(folder)] == ["a.mp4", "b/c.mp4"]
    (line,) = caplog.messages
    assert line.startswith("s3://bucket/names: 4 objects are skipped") and "bucket/names/../up.mp4" in line
    assert [path.name for path in folder.iterdir()] == ["a.mp4", "b"]
    assert [path.name for path in (folder / "b").iterdir()] == ["c.mp4"]


def test_a_cut_or_missing_object_is_no_clip(s3: FaultyApp, tmp_path: Path) -> None:
    write_clip(tmp_path / "clip", make_clip("a.mp4"))
    content = (tmp_path / "clip").read_bytes()
    path = as_path("s3://bucket/clip")
    path.put(content[:-1])  # type: ignore[attr-defined]
    for broken in (path, path.with_name("none")):
        with pytest.raises(FormatError) as caught:
            ClipFile(broken)
        assert caught.value.path == broken and caught.value.remedy


@pytest.mark.parametrize(
    ("fault", "reason", "remedy"),
    [
        (DENIED, "refuses access", "credentials"),
        (FULL, "is full", "free some space"),
        (INTERNAL, "cannot be used", "run the same command again"),
    ],
)
def test_the_error_of_a_storage_that_cannot_be_written_names_reason_and_remedy(
    s3: FaultyApp, tmp_path: Path, fault: object, reason: str, remedy: str
) -> None:
    source = tmp_path / "videos"
    source.mkdir()
    for name, content in VIDEOS.items():
        (source / name).write_bytes(content)
    s3.faults = lambda number, method, path: fault if method == "PUT" and "clips" in path else None
    with pytest.raises(StorageError, match=reason) as caught:
        prepare_fake(str(source), "s3://bucket/store")
    assert remedy in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("s3://bucket/store/clips/")
    with pytest.raises(FormatError, match=r"unfinished|not a clip store"):
        read_manifest("s3://bucket/store")
    s3.faults = lambda number, method, path: None
    assert prepare_fake(str(source), "s3://bucket/store").done == len(VIDEOS)


def test_one_object_that_is_refused_costs_no_other_but_lost_credentials_end_the_run(s3: FaultyApp) -> None:
    put_source("s3://bucket/videos")
    s3.faults = lambda number, method, path: ARCHIVED if (method, path[-5:]) == ("GET", "2.mp4") else None
    report = prepare_fake("s3://bucket/videos", "s3://bucket/store")
    (failure,) = report.failures
    assert (
        report.done == 3 and failure.clip == "2.mp4" and failure.reason.startswith("cannot be read: The operation is")
    )
    assert "restore it" in failure.remedy
    s3.faults = lambda number, method, path: EXPIRED if (method, path[-5:]) == ("GET", "2.mp4") else None
    with pytest.raises(StorageError, match=r"refuses access.*expired"):
        prepare_fake("s3://bucket/videos", "s3://bucket/store")


def test_a_shard_that_was_cut_short_is_named_and_merged_again(s3: FaultyApp, tmp_path: Path) -> None:
    merge(tmp_path / "out", [write_store(tmp_path / "store", clips=5, pixels=24, duration_s=0.25)], shards=1)
    whole = (tmp_path / "out/shards/train-000000.tar").read_bytes()
    upload(tmp_path / "out", "s3://bucket/out")
    for out in (tmp_path / "out", as_path("s3://bucket/out")):
        write_bytes(out / "shards/train-000000.tar", whole[:1000])
        with pytest.raises(FormatError, match=r"train-000000\.tar.*run the `crnet merge` that wrote the shard again"):
            for row in read_manifest(out).rows("train"):
                ClipFile(out / row.file)
        merge(out, [tmp_path / "store"], shards=1)
        assert (out / "shards/train-000000.tar").read_bytes() == whole


def test_a_missing_bucket_and_an_unreachable_server_are_named(s3: FaultyApp, monkeypatch: pytest.MonkeyPatch) -> None:
    put_source("s3://bucket/videos")
    with pytest.raises(StorageError, match=r"s3://nowhere/.*no bucket nowhere"):
        prepare_fake("s3://bucket/videos", "s3://nowhere/store")
    for url, reason in (("s3://nowhere/a", "no bucket nowhere"), ("s3://bucket/a", "nothing under this name")):
        with pytest.raises(UsageError, match=f"{url}: there is {reason}"):
            prepare_fake(url, "s3://bucket/store")
        with pytest.raises(FormatError, match=f"{url}: there is {reason}"):
            read_manifest(url)
    with pytest.raises(FormatError, match=r"videos/manifest.parquet: not a clip store"):
        read_manifest("s3://bucket/videos")
    monkeypatch.setattr(storage.RemotePath, "_filesystem", lambda path: fsspec.filesystem("s3", **CLOSED))
    with pytest.raises(StorageError, match=r"cannot be used.*check the network"):
        read_manifest("s3://bucket/store")


CLOSED = {
    "endpoint_url": "http://127.0.0.1:9",
    "config_kwargs": {"connect_timeout": 0.2, "retries": {"max_attempts": 0}},
}


def test_a_second_run_on_a_store_is_refused_until_the_lock_of_a_killed_run_expires(s3: FaultyApp) -> None:
    put_source("s3://bucket/videos")
    lock = as_path("s3://bucket/store") / LOCK_FOLDER / "3.json"
    lock.put(json.dumps({"owner": "another", "expires": 4e9}).encode())  # type: ignore[attr-defined]
    with pytest.raises(StorageError, match="another run writes this store"):
        prepare_fake("s3://bucket/videos", "s3://bucket/store")
    assert not (as_path("s3://bucket/store") / "prepare.json").exists()
    lock.put(json.dumps({"owner": "another", "expires": 0}).encode())  # type: ignore[attr-defined]
    assert prepare_fake("s3://bucket/videos", "s3://bucket/store").done == len(VIDEOS)
    assert not (as_path("s3://bucket/store") / LOCK_FOLDER).exists()


def test_storage_that_refuses_conditional_writes_can_be_written(s3: FaultyApp) -> None:
    put_source("s3://bucket/videos")
    refused: list[str] = []

    def refuse_once(number: int, method: str, path: str) -> object:
        if method == "PUT" and LOCK_FOLDER in path and not refused:
            refused.append(path)
            return UNSUPPORTED
        return None

    s3.faults = refuse_once
    assert prepare_fake("s3://bucket/videos", "s3://bucket/store").done == len(VIDEOS)
    assert refused and not (as_path("s3://bucket/store") / LOCK_FOLDER).exists()
    s3.faults = lambda number, method, path: UNSUPPORTED if method == "PUT" and path.endswith("prepare.json") else None
    with pytest.raises(StorageError, match=r"other/prepare\.json: the storage cannot do this: A header you provided"):
        prepare_fake("s3://bucket/videos", "s3://bucket/other")


def test_a_run_whose_lock_another_one_replaced_ends(s3: FaultyApp) -> None:
    store = as_path("s3://bucket/store")
    with pytest.raises(StorageError, match="another run writes this store"), folder_lock(store) as check_lock:
        check_lock()
        (store / LOCK_FOLDER / "1.json").put(json.dumps({"owner": "another", "expires": 4e9}).encode())  # type: ignore[attr-defined]
        check_lock()
    assert (store / LOCK_FOLDER / "1.json").exists()  # it is the other run's


def test_a_store_in_memory_feeds_the_loader(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", clips=5, pixels=24, duration_s=0.25)
    upload(store, "memory://test/store")
    shutil.rmtree(store)
    rows = read_manifest("memory://test/store").rows("train")
    dataset = ClipDataset("memory://test/store", rows, TINY_TRANSFORMS, ["scene", "audio-text"])
    (batch,) = load_batches(dataset, len(rows))
    assert batch.scene is not None and len(batch.scene) == 3
    assert (as_path("memory://test/store") / clip_path("clip0000.mp4")).is_file()
