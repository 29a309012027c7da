"""Names of files in object storage."""

from __future__ import annotations

import errno
import pickle
import sys
from pathlib import Path, PurePosixPath

import pytest

from crnet.cli.main import main
from crnet.errors import MissingDependencyError, StorageError, UsageError
from crnet.utils.files import read_json, write_json
from crnet.utils.path_checks import on_disk
from crnet.utils.storage import RemotePath, as_path
from crnet.utils.storage_errors import explained, may_pass
from crnet.utils.storage_lock import LOCK_FOLDER, folder_lock


def test_names_become_paths_of_their_kind() -> None:
    assert as_path("folder/a") == Path("folder/a") == as_path(Path("folder/a"))
    assert as_path("file:///folder/a") == Path("/folder/a")
    assert str(as_path("s3://bucket//folder/./a/")) == "s3://bucket/folder/a"
    assert as_path(Path("s3://bucket/a")) == RemotePath("s3://bucket/a")  # Path drops a slash
    assert as_path("C:/folder") == Path("C:/folder") and as_path("odd:name") == Path("odd:name")


@pytest.mark.parametrize("url", ["ftp://host/a", "s3://", "s3:///..", "s3://bucket/../other", "simplecache://s3://a"])
def test_a_url_that_names_no_folder_of_a_known_storage_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        as_path(url)


def test_a_remote_path_has_the_parts_of_a_path() -> None:
    path = RemotePath("s3://bucket/folder/a.tar.gz")
    assert (path.name, path.stem, path.suffix) == ("a.tar.gz", "a.tar", ".gz")
    assert str(path.parent) == "s3://bucket/folder" and str(path.parent.parent.parent) == "s3://bucket"
    assert path.with_name("b") == path.parent / "b" and str(path.with_suffix(".x")) == "s3://bucket/folder/a.tar.x"
    assert path.relative_to(path.parent.parent) == PurePosixPath("folder/a.tar.gz")
    assert pickle.loads(pickle.dumps(path)) == path and str(StorageError("x", path=path)).startswith(f"{path}: ")


def test_objects_are_written_listed_read_in_parts_and_deleted() -> None:
    folder = RemotePath("memory://storage/folder")
    write_json(folder / "a.json", [1])
    assert read_json(folder / "a.json", "a list") == [1]
    (folder / "b" / "c").put(b"0123456789")
    assert [path.name for path in folder.iterdir()] == ["a.json", "b"] and folder.is_dir() and not folder.is_file()
    assert [(str(path), path.listed_bytes) for path in (folder / "b").find()[0]] == [(f"{folder}/b/c", 10)]
    assert (folder / "b" / "c").read_ranges([(8, 10), (2, 2), (0, 3)]) == [b"89", b"", b"012"]
    with pytest.raises(OSError, match="ends before byte 11"):
        (folder / "b" / "c").read_ranges([(8, 11)])
    with pytest.raises(FileExistsError):
        (folder / "b" / "c").put(b"", exclusive=True)
    (folder / "b" / "c").unlink()
    (folder / "b" / "c").unlink(missing_ok=True)
    with pytest.raises(FileNotFoundError):
        (folder / "b" / "c").read_bytes()


class _HttpError(Exception):
    """As gcsfs raises it for a range behind the end of an object."""

    code = 416


def test_a_range_behind_the_end_of_an_object_is_damage_and_not_a_fault_of_the_storage() -> None:
    for error in (_HttpError(", 416"), OSError(errno.EINVAL, "The requested range is not satisfiable")):
        assert not may_pass(error)
        damage = explained(error, RemotePath("gs://bucket/clip"))
        assert isinstance(damage, OSError) and damage.strerror == "it ends early"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)  # an import of it fails
    with pytest.raises(MissingDependencyError, match=r'needs the package gcsfs \(pip install "crnet\[gcs\]"\)'):
        as_path("gs://bucket/store").exists()


def test_what_must_be_on_a_disk_cannot_be_in_object_storage(capsys: pytest.CaptureFixture[str]) -> None:
    assert on_disk("file:///srv/run", "a run") == Path("/srv/run")
    with pytest.raises(UsageError, match="s3://bucket/run: a run cannot be in object storage"):
        on_disk(Path("s3://bucket/run"), "a run")
    assert main(["train", "store", "s3://bucket/run"]) == 2
    assert "s3://bucket/run: RUN cannot be in object storage" in capsys.readouterr().err


def test_one_run_at_a_time_on_a_disk(tmp_path: Path) -> None:
    with folder_lock(tmp_path / "store"):
        with pytest.raises(StorageError, match="another run writes this store"), folder_lock(tmp_path / "store"):
            pass
        with folder_lock(tmp_path / "other"):
            pass
    with folder_lock(tmp_path / "store"):  # the lock ended, and left no file
        assert not list((tmp_path / "store").iterdir())
    (tmp_path / "file").touch()
    with folder_lock(tmp_path / "file"):  # the run itself says what is wrong
        pass


def test_a_run_that_lost_its_lock_ends(tmp_path: Path) -> None:
    folder = RemotePath("memory://locked/store")
    with folder_lock(folder) as check:
        check()
        with pytest.raises(StorageError, match="another run writes this store"), folder_lock(folder):
            pass
        (folder / LOCK_FOLDER / "2.json").put(b'{"owner": "another", "expires": 4e9}')
        with pytest.raises(StorageError, match="took over"):
            check()
    assert (folder / LOCK_FOLDER / "2.json").is_file()  # of the run that took over
    with folder_lock(tmp_path) as check:
        check()
