from __future__ import annotations

import base64
import importlib.util
import io
import os
import pickle
import shutil
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from release_files import Keys, encrypted, zipped

from crnet.data.sources import archives
from crnet.data.sources.archives import Archive
from crnet.errors import ArchiveError, MissingDependencyError

needs_decryption = pytest.mark.skipif(
    importlib.util.find_spec("stream_unzip") is None, reason="stream-unzip (extra `release`) is not installed"
)

# "inner.txt" with b"hello locked world\n" * 3, AES-256, stored; key "geheim". Made with pyzipper 0.3.
AES_ZIP = base64.b64decode("""
UEsDBBQAAQBjAMR5dl0AAAAAVQAAADkAAAAJAAsAaW5uZXIudHh0AZkHAAIAQUUDAADV2EEcOXumRh1NTne+9kqEzRU87ba7a02K
jb17LWXiNrA/f4huc2B1YiKiGIhLcApLD17h2HEAA5FFQprK2wOK7BGRDkvi2XG7L0GWs8TGq3a8h1IJUEsBAhQDFAABAGMAxHl2
XQAAAABVAAAAOQAAAAkACwAAAAAAAAAAAIABAAAAAGlubmVyLnR4dAGZBwACAEFFAwAAUEsFBgAAAAABAAEAQgAAAIcAAAAAAA==
""")


def no_keys(names: Sequence[str]) -> None:
    raise AssertionError(f"requested the key of {names}")


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_members_are_read_completely(tmp_path: Path) -> None:
    contents = {
        "a/one.mp4": b"1" * 3_000_000,
        "two.mp4": b"",
        "__MACOSX/._one.mp4": b"clutter",
        "a/.DS_Store": b"clutter",
    }
    archive = Archive(write(tmp_path / "x.zip", zipped(contents)), no_keys)
    assert [member.name for member in archive.members] == ["a/one.mp4", "two.mp4"]
    member = pickle.loads(pickle.dumps(archive.members[0]))  # as for a worker
    assert b"".join(member.chunks()) == contents["a/one.mp4"]
    assert member.crc32 == zlib.crc32(contents["a/one.mp4"])
    assert member.display_path == f"{tmp_path}/x.zip/a/one.mp4"
    member.extract(tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == contents["a/one.mp4"]
    with pytest.raises(ArchiveError, match="the limit is 10"):
        member.read(10)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_archives_nested_three_levels_deep(tmp_path: Path, compression: int) -> None:
    innermost = zipped({"deep.mp4": os.urandom(5000)}, compression)
    outer = zipped({"padding": b"x" * 77, "in.zip": zipped({"deeper/in.zip": innermost}, compression)}, compression)
    archive = Archive(write(tmp_path / "outer.zip", outer), no_keys)
    inner = archive.inner(archive.members[1], tmp_path / "unpacked1.zip")
    innermost_archive = inner.inner(inner.members[0], tmp_path / "unpacked2.zip")
    (member,) = innermost_archive.members
    assert zlib.crc32(member.read(10_000)) == member.crc32
    assert member.display_path.endswith("outer.zip/in.zip/deeper/in.zip/deep.mp4")
    # A stored archive is read in place, without unpacking.
    assert (tmp_path / "unpacked1.zip").exists() == (compression == zipfile.ZIP_DEFLATED)


def with_link() -> bytes:
    link = zipfile.ZipInfo("link.mp4")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return zipped_infos([(link, b"/etc/passwd")])


def zipped_infos(infos: list[tuple[zipfile.ZipInfo, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for info, content in infos:
            archive.writestr(info, content, info.compress_type)
    return file.getvalue()


def bomb() -> bytes:
    return zipped({"bomb.mp4": bytes(50_000_000)}, zipfile.ZIP_DEFLATED)


def overlapping() -> bytes:
    """Make an archive with two directory entries for the same bytes, as zip bombs do."""
    content = zipped({"a.mp4": b"x" * 1000, "b.mp4": b"x" * 1000})
    start = content.rindex(b"PK\x01\x02")
    # The second entry points to the first member, whose bytes are the only ones.
    entry = bytearray(content[start : content.index(b"PK\x05\x06")])
    entry[42:46] = struct.pack("<I", 0)
    short = content[: content.index(b"PK\x03\x04", 10)]
    first = content[content.index(b"PK\x01\x02") : start]
    directory = first + bytes(entry)
    return short + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 2, 2, len(directory), len(short), 0)


DANGEROUS = {
    "leaves its folder": lambda: zipped({"../x.mp4": b"1"}),
    "leaves its folder deep inside": lambda: zipped({"a/b/../../../x.mp4": b"1"}),
    "absolute": lambda: zipped({"/etc/x.mp4": b"1"}),
    "drive": lambda: zipped({"C:/x.mp4": b"1"}),
    "backslash": lambda: zipped({"..\\x.mp4": b"1"}),
    "link": with_link,
    "bomb": bomb,
    "overlapping": overlapping,
    "same name twice": lambda: zipped_infos([(zipfile.ZipInfo("a.mp4"), b"1"), (zipfile.ZipInfo("a.mp4"), b"2")]),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", DANGEROUS)
def test_a_dangerous_archive_is_refused(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "x.zip", DANGEROUS[kind]())
    with pytest.raises(ArchiveError, match=r"refused|[Oo]verlap") as caught:
        archive = Archive(path, no_keys)
        for member in archive.members:
            member.read(1 << 20)
    assert caught.value.remedy and len(str(caught.value).splitlines()) == 1


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_MEMBERS", 2)
    with pytest.raises(ArchiveError, match="3 members"):
        Archive(write(tmp_path / "x.zip", zipped({"a": b"", "b": b"", "c": b""})), no_keys)


def flipped() -> bytes:
    content = bytearray(zipped({"a.mp4": b"x" * 1000}))
    content[500] ^= 1
    return bytes(content)


def lying_size() -> bytes:
    """Make an archive whose directory says 10 bytes for a member of 1,000."""
    content = zipped({"a.mp4": bytes(1000)}, zipfile.ZIP_DEFLATED)
    at = content.index(b"PK\x01\x02") + 24
    return content[:at] + struct.pack("<I", 10) + content[at + 4 :]


DAMAGED = {
    "empty": b"",
    "text": b"no archive",
    "truncated": zipped({"a.mp4": b"x" * 1000})[:-40],
    "one bit": flipped(),
    "size": lying_size(),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_archive_is_an_archive_error(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / "x.zip", DAMAGED[kind])
    with pytest.raises(ArchiveError) as caught:
        for member in Archive(path, no_keys).members:
            member.read(1 << 20)
    assert str(caught.value.path).startswith(str(path))


ENCRYPTED = encrypted({"a.mp4": b"secret " * 100, "b.mp4": b"more"}, "geheim")


def test_python_can_read_the_encrypted_archives_of_these_tests(tmp_path: Path) -> None:
    with zipfile.ZipFile(write(tmp_path / "x.zip", ENCRYPTED)) as archive:
        assert archive.read("a.mp4", pwd=b"geheim") == b"secret " * 100


@needs_decryption
@pytest.mark.parametrize(
    ("content", "expected"),
    [(ENCRYPTED, b"secret " * 100), (AES_ZIP, b"hello locked world\n" * 3)],
    ids=["ZipCrypto", "AES"],
)
def test_encrypted_archives_open_with_their_key_only(tmp_path: Path, content: bytes, expected: bytes) -> None:
    path = write(tmp_path / "test-1e.zip", content)
    keys = Keys({"test-1e": "geheim"})
    archive = Archive(path, keys)
    assert keys.requested == [("test-1e",)] and archive.locked == ()
    assert archive.members[0].read(10_000) == expected
    assert "geheim" not in repr(archive.members[0])
    with pytest.raises(ArchiveError, match="the key for test-1e is wrong") as caught:
        Archive(path, Keys({"test-1e": "falsch"}))
    assert caught.value.path == path and "CRNET_FIV2_KEY_TEST_1E" in str(caught.value.remedy)
    assert "falsch" not in str(caught.value)


@needs_decryption
def test_a_wrong_key_that_passes_the_check_of_one_byte_is_found_when_the_content_is_read(tmp_path: Path) -> None:
    # ZipCrypto checks a key by one byte, which 1 of 256 wrong keys gets right; of 2,000, some do.
    path = write(tmp_path / "test-1e.zip", encrypted({"a.mp4": b"secret " * 100}, "geheim"))
    messages = []
    for number in range(2000):
        try:
            Archive(path, Keys({"test-1e": str(number)})).members[0].read(10_000)
        except ArchiveError as error:
            messages.append(str(error))
    assert len(messages) == 2000
    late = [message for message in messages if "damaged, or the key for test-1e is wrong" in message]
    assert late and all("set CRNET_FIV2_KEY_TEST_1E to the key of test-1e.zip" in message for message in messages)


@needs_decryption
def test_a_key_may_be_any_bytes(tmp_path: Path) -> None:
    key = os.fsdecode(b"\xff\xe9")  # as an environment variable that is not UTF-8
    content = encrypted({"a.mp4": b"secret"}, key)
    assert Archive(write(tmp_path / "x.zip", content), Keys({"x": key})).members[0].read(10) == b"secret"


@needs_decryption
@pytest.mark.parametrize("maker", ["by hand", "zip", "zip -0"])
def test_every_member_of_an_encrypted_archive_with_data_descriptors_is_read(tmp_path: Path, maker: str) -> None:
    contents = {"a.mp4": b"secret " * 100, "b.mp4": b"last"}
    path = tmp_path / "x.zip"
    if maker == "by hand":
        path.write_bytes(encrypted(contents, "geheim", descriptors=True))
    elif shutil.which("zip") is None:
        pytest.skip("Info-ZIP's zip is not installed")
    else:
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
        subprocess.run([*maker.split(), "-q", "-P", "geheim", path.name, *contents], cwd=tmp_path, check=True)
    assert all(info.flag_bits & 9 == 9 for info in zipfile.ZipFile(path).infolist())
    assert {member.name: member.read(1000) for member in Archive(path, Keys({"x": "geheim"})).members} == contents


@needs_decryption
def test_archives_inside_an_encrypted_archive_open_with_the_same_key_or_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "test-1e.zip", encrypted({"test80_01.zip": ENCRYPTED}, "geheim"))
    archive = Archive(path, Keys({"test-1e": "geheim"}))
    inner = archive.inner(archive.members[0], tmp_path / "unpacked.zip")
    assert inner.members[1].read(10) == b"more"
    monkeypatch.setenv("CRNET_FIV2_KEY_TEST80_01", "falsch")
    with pytest.raises(ArchiveError, match=r"test80_01\.zip: the key in CRNET_FIV2_KEY_TEST80_01 is wrong"):
        archive.inner(archive.members[0], tmp_path / "unpacked.zip")


@needs_decryption
def test_an_archive_inside_a_plain_one_opens_with_its_own_key_or_that_of_the_outer_one(tmp_path: Path) -> None:
    path = write(tmp_path / "test-1e.zip", zipped({"test80_01.zip": ENCRYPTED}))
    for keys in (Keys({"test80_01": "geheim"}), Keys({"test-1e": "geheim"})):
        archive = Archive(path, keys)
        assert archive.inner(archive.members[0], tmp_path / "unpacked.zip").members[1].read(10) == b"more"
        assert keys.requested == [("test80_01", "test-1e")]


def test_members_without_a_key_are_listed_but_not_read(tmp_path: Path) -> None:
    keys = Keys()
    archive = Archive(write(tmp_path / "test-1e.zip", ENCRYPTED), keys)
    assert archive.members == () and keys.requested == [("test-1e",)]
    assert [member.name for member in archive.locked] == ["a.mp4", "b.mp4"]
    with pytest.raises(ArchiveError, match="encrypted and no key was given") as caught:
        archive.locked[0].read(10_000)
    assert "CRNET_FIV2_KEY_TEST_1E or CRNET_FIV2_KEY " in str(caught.value.remedy)


def test_the_plain_members_of_a_partly_encrypted_archive_are_read_without_a_key(tmp_path: Path) -> None:
    # The first member's encryption flag is cleared in both of its headers, so it is a plain member with other content.
    content = bytearray(encrypted({"a.mp4": b"plain", "b.mp4": b"secret"}, "geheim"))
    content[6] &= 0xFE
    content[content.index(b"PK\x01\x02") + 8] &= 0xFE
    archive = Archive(write(tmp_path / "x.zip", bytes(content)), Keys())
    assert [member.name for member in archive.members] == ["a.mp4"]
    assert [member.name for member in archive.locked] == ["b.mp4"]


def test_an_archive_in_which_only_clutter_is_encrypted_needs_no_key(tmp_path: Path) -> None:
    content = encrypted({"__MACOSX/._a.mp4": b"clutter"}, "geheim")
    archive = Archive(write(tmp_path / "x.zip", content), no_keys)
    assert archive.members == archive.locked == ()


def test_the_error_for_a_missing_package_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stream_unzip", None)
    with pytest.raises(MissingDependencyError, match=r"crnet\[release\]"):
        Archive(write(tmp_path / "x.zip", ENCRYPTED), lambda stem: "geheim")
