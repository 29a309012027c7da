"""Stores merged into one, and clips packed into shards."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from crnet.data.embed import embed
from crnet.data.failures import missing_clips
from crnet.data.manifest import read_manifest, write_manifest
from crnet.data.merge import merge
from crnet.data.store import ClipFile, clip_path, read_clip, write_clip
from crnet.errors import ConfigError, CrnetError, FormatError, StorageError, UsageError
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.utils.storage import as_path
from synthetic import write_store
from tiny_training import train_tiny


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("whole"), clips=10, pixels=24, duration_s=0.25)


@pytest.fixture
def halves(whole: Path, tmp_path: Path) -> list[Path]:
    """The clips of `whole` in two stores, dealt in turn."""
    manifest = read_manifest(whole)
    stores = [tmp_path / "even", tmp_path / "odd"]
    for half, store in enumerate(stores):
        rows = manifest.clips[half::2]
        for row in rows:
            write_clip(store / row.file, read_clip(whole / row.file))
        write_manifest(store, replace(manifest, clips=rows))
    return stores


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_merged_halves_are_the_whole(whole: Path, halves: list[Path], tmp_path: Path) -> None:
    report = merge(tmp_path / "out", halves)
    assert (report.clips, report.shards) == (10, 0)
    merged = files_below(tmp_path / "out")
    assert json.loads(merged.pop("merge.json"))["clips"] == 10
    assert merged == files_below(whole)


@pytest.mark.parametrize("out", ["out", "memory://merge/out"])
def test_training_reads_shards_in_place(whole: Path, halves: list[Path], tmp_path: Path, out: str) -> None:
    store = as_path(out if "://" in out else tmp_path / out)
    assert merge(store, halves, shards=3).shards == 4  # 6 train, 2 val and 2 test clips: 2, 1 and 1
    manifest, expected = read_manifest(store), read_manifest(whole)
    assert [replace(row, file="a") for row in manifest.clips] == [replace(row, file="a") for row in expected.clips]
    for row, other in zip(manifest.clips, expected.clips, strict=True):
        assert ClipFile(store / row.file, row.clip_id).check() is None
        assert row.file.startswith(f"shards/{row.split}-00000") and not (store / row.file).is_file()
        assert read_clip(store / row.file).source_sha256 == read_clip(whole / other.file).source_sha256
    trained = [train_tiny(each, tmp_path / str(i), epochs=(1, 1)) for i, each in enumerate((store, whole))]
    assert trained[0].read_bytes() == trained[1].read_bytes()


def test_a_shard_follows_the_naming_of_webdataset(whole: Path, tmp_path: Path) -> None:
    merge(tmp_path / "out", [whole], shards=3)
    with tarfile.open(tmp_path / "out" / "shards" / "train-000000.tar") as tar:
        names = tar.getnames()
        labels = json.load(tar.extractfile(names[1]))  # type: ignore[arg-type]
        clip = tar.extractfile(names[0]).read()  # type: ignore[union-attr]
    keys = [name.split(".", 1) for name in names]  # WebDataset ends the key at the first point
    assert [extension for _, extension in keys] == ["safetensors", "json"] * 3
    assert [key for key, _ in keys[::2]] == [key for key, _ in keys[1::2]] and len({key for key, _ in keys}) == 3
    row = read_manifest(whole).clips[0]
    assert labels["clip_id"] == row.clip_id and labels["scores"] == list(row.scores or ())
    assert clip == (whole / row.file).read_bytes()


@pytest.mark.parametrize("shards", [None, 3])
def test_an_interrupted_merge_resumes_with_the_same_bytes(
    halves: list[Path], tmp_path: Path, shards: int | None
) -> None:
    def stop(task: str, done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merge(tmp_path / "out", halves, shards, stop)
    with pytest.raises(FormatError, match="no manifest"):
        read_manifest(tmp_path / "out")
    first = min(path for path in (tmp_path / "out").rglob("*") if path.suffix in (".safetensors", ".tar"))
    written_ns = first.stat().st_mtime_ns
    merge(tmp_path / "out", halves, shards)
    merge(tmp_path / "straight", halves, shards)
    assert first.stat().st_mtime_ns == written_ns
    assert files_below(tmp_path / "out") == files_below(tmp_path / "straight")


def test_a_shard_may_hold_more_clips_than_a_process_may_open(whole: Path, tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 6, hard))  # a shard of the training split has 6 clips
    try:
        assert merge(tmp_path / "out", [whole], shards=1).clips == 10
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_failures_of_all_stores_are_kept(halves: list[Path], tmp_path: Path) -> None:
    header = "clip,path,reason,remedy,split\n"
    (halves[0] / "failures.csv").write_text(header + "lost.mp4,lost.mp4,no such video,restore it,test\n")
    (halves[1] / "failures.csv").write_text(header + "clip0000.mp4,clip0000.mp4,damaged,repair it,train\n")
    merge(tmp_path / "out", halves)
    manifest = read_manifest(tmp_path / "out")
    assert missing_clips(manifest, ("train", "val", "test"), tmp_path / "out") == ("lost.mp4",)


@pytest.mark.parametrize("name", ["failures.csv", "locked.csv"])
def test_a_clip_that_only_the_other_store_has_is_no_failure(halves: list[Path], tmp_path: Path, name: str) -> None:
    header, lost = "clip,path,reason,remedy,split\n", "'=lost.mp4,a,no such video,restore it,test\n"
    for here, there in (halves, halves[::-1]):
        others = [f"{row.clip_id},a,no such video,restore it,{row.split}\n" for row in read_manifest(there).clips]
        (here / name).write_text(header + "".join(others) + lost)
    merge(tmp_path / "out", halves)
    assert (tmp_path / "out" / name).read_text() == header + 2 * lost


def test_the_attainable_scores_of_one_simulated_dataset_are_kept(halves: list[Path], tmp_path: Path) -> None:
    for store, content in zip(halves, ("one", "two"), strict=True):
        (store / "ceiling.json").write_text(content)
    merge(tmp_path / "packed", halves[:1], shards=1)
    assert (tmp_path / "packed" / "ceiling.json").read_text() == "one"
    merge(tmp_path / "both", halves)
    assert not (tmp_path / "both" / "ceiling.json").exists()


def other_settings(store: Path) -> None:
    write_manifest(store, replace(read_manifest(store), fingerprint="another"))


def same_clip(store: Path) -> None:
    manifest = read_manifest(store)
    rows = (*manifest.clips, replace(manifest.clips[0], clip_id="clip0000.mp4"))
    write_manifest(store, replace(manifest, clips=rows))


@pytest.mark.parametrize(
    ("spoil", "error", "reason"),
    [
        (other_settings, ConfigError, "its fingerprint is 'another'"),
        (same_clip, UsageError, r"1 clips are in two stores: clip0000\.mp4 \(in .*even and .*odd\)"),
    ],
)
def test_stores_that_do_not_fit_together_are_refused(
    halves: list[Path], tmp_path: Path, spoil: Callable[[Path], None], error: type[CrnetError], reason: str
) -> None:
    spoil(halves[1])
    with pytest.raises(error, match=reason):
        merge(tmp_path / "out", halves)
    assert not (tmp_path / "out").exists()


def test_a_prepared_store_or_another_merge_is_not_overwritten(halves: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a new folder"):
        merge(halves[0], halves)
    with pytest.raises(UsageError, match="not empty"):
        merge(halves[0], halves[1:])
    merge(tmp_path / "out", halves)
    with pytest.raises(ConfigError, match="shards was None and is now 2"):
        merge(tmp_path / "out", halves, shards=2)


def test_a_damaged_clip_is_not_merged(halves: list[Path], tmp_path: Path) -> None:
    path = halves[0] / read_manifest(halves[0]).clips[0].file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for shards in (None, 2):
        with pytest.raises(FormatError, match="damaged") as caught:
            merge(tmp_path / f"out{shards}", halves, shards)
        assert caught.value.path == path


@pytest.mark.parametrize("position", ["#0+40", "#512+99999999999", "#99999999999+512", "#0+0", "#1+2+3"])
def test_a_position_that_holds_no_clip_is_refused(whole: Path, tmp_path: Path, position: str) -> None:
    merge(tmp_path / "out", [whole], shards=1)
    manifest = read_manifest(tmp_path / "out")
    row = manifest.clips[0]
    shard = row.file.partition("#")[0]
    with pytest.raises(FormatError) as caught:
        ClipFile(tmp_path / "out" / f"{shard}{position}", row.clip_id)
    assert PurePosixPath(caught.value.path.name).name.startswith("train-000000.tar") and caught.value.remedy
    with pytest.raises(FormatError, match=f"holds the clip {row.clip_id}, not"):
        ClipFile(tmp_path / "out" / row.file, manifest.clips[1].clip_id)


def test_shards_are_not_embedded(whole: Path, tmp_path: Path) -> None:
    merge(tmp_path / "out", [whole], shards=1)
    with pytest.raises(UsageError, match="packed into shards"):
        embed(tmp_path / "out", HashedNgrams())
    with pytest.raises((UsageError, StorageError), match="not empty"):
        from crnet.data.prepare import prepare

        (tmp_path / "videos").mkdir()
        (tmp_path / "videos" / "a.mp4").write_bytes(b"a")
        prepare(tmp_path / "videos", tmp_path / "out", workers=0)
    assert clip_path(read_manifest(whole).clips[0].clip_id)
