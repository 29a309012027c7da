from __future__ import annotations

import hashlib
import http.server
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from crnet.errors import FormatError, UsageError
from crnet.text.skip_thoughts import fetch
from crnet.text.skip_thoughts.encoder import SkipThoughts
from crnet.text.skip_thoughts.kiros_files import KIROS_FILES
from skip_thoughts_files import write_kiros_files


class Server(http.server.ThreadingHTTPServer):
    folder: Path
    requests: list[tuple[str, str | None]]
    ranges = True
    breaks_after: int | None = None
    redirects_to = ""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        requested_range = self.headers.get("Range")
        server.requests.append((self.path, requested_range))
        path = server.folder / self.path.rsplit("/", 1)[1]
        if not path.is_file():
            self.send_error(404)
            return
        if requested_range and server.ranges and int(requested_range[6:-1]) >= path.stat().st_size:
            self.send_error(416)
            return
        if server.redirects_to:
            self.send_response(302)
            self.send_header("Location", server.redirects_to)
            self.end_headers()
            return
        start = int(re.fullmatch(r"bytes=(\d+)-", requested_range)[1]) if requested_range and server.ranges else 0  # type: ignore[index]
        content = path.read_bytes()[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: server.breaks_after])

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    served = Server(("127.0.0.1", 0), Handler)
    served.folder, served.requests = write_kiros_files(tmp_path / "server", objects=True), []
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield served
    served.shutdown()
    thread.join()
    served.server_close()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/models/"


def test_download_convert_check_load(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert fetch.missing_files(folder) == list(KIROS_FILES)
    fetch.download(folder, fetch.missing_files(folder), address(server))
    assert [path for path, _ in server.requests] == [f"/models/{name}" for name in KIROS_FILES]
    assert fetch.convert_tables(folder) == ["utable.plain.npy", "btable.plain.npy"]
    assert fetch.convert_tables(folder) == []
    first, second = fetch.check(folder), fetch.check(folder)
    assert [file.checked_before for file in first] == [False] * 9
    assert [file.checked_before for file in second] == [True] * 9
    assert {file.name: file.sha256 for file in first} == {file.name: file.sha256 for file in second}
    assert SkipThoughts(folder).encode(["I know ."]).any()


def test_an_interrupted_download_resumes(server: Server, tmp_path: Path) -> None:
    server.breaks_after = 300
    with pytest.raises(FormatError, match=r"uni_skip.npz: cannot be downloaded from"):
        fetch.download(tmp_path, ["uni_skip.npz"], address(server))
    assert (tmp_path / "uni_skip.npz.part").stat().st_size == 300 and fetch.missing_files(tmp_path)
    server.breaks_after = None
    fetch.download(tmp_path, ["uni_skip.npz"], address(server))
    assert server.requests[-1][1] == "bytes=300-"
    assert (tmp_path / "uni_skip.npz").read_bytes() == (server.folder / "uni_skip.npz").read_bytes()
    assert not (tmp_path / "uni_skip.npz.part").exists()


def test_a_server_without_ranges_sends_the_whole_file(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "bi_skip.npz.part").write_bytes(b"x" * 100)
    fetch.download(tmp_path, ["bi_skip.npz"], address(server))
    assert (tmp_path / "bi_skip.npz").read_bytes() == (server.folder / "bi_skip.npz").read_bytes()


def test_a_partial_download_longer_than_the_file_is_discarded(server: Server, tmp_path: Path) -> None:
    (tmp_path / "dictionary.txt.part").write_bytes(b"x" * 9999)
    fetch.download(tmp_path, ["dictionary.txt"], address(server))
    assert (tmp_path / "dictionary.txt").read_bytes() == (server.folder / "dictionary.txt").read_bytes()


def test_a_file_missing_on_the_server_is_an_error_with_a_remedy(server: Server, tmp_path: Path) -> None:
    (server.folder / "dictionary.txt").unlink()
    with pytest.raises(FormatError, match=r"dictionary.txt: cannot be downloaded.*Not Found.*may be offline"):
        fetch.download(tmp_path, ["dictionary.txt"], address(server))
    with pytest.raises(UsageError, match="is not a web address"):
        fetch.download(tmp_path, ["dictionary.txt"], "file:///etc")


@pytest.mark.parametrize("source", ["http://www.cs.toronto.edu/~rkiros/models/", "http://127.0.0.1.example.org/"])
def test_an_address_without_encryption_is_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(UsageError, match="is not encrypted"):
        fetch.download(tmp_path / "new", ["dictionary.txt"], source)
    assert not (tmp_path / "new").exists()
    assert fetch.SOURCE.startswith("https://")


@pytest.mark.parametrize("target", ["http://example.org/dictionary.txt", "ftp://127.0.0.1/x", "file:///etc/passwd"])
def test_a_redirection_to_an_address_without_encryption_is_refused(server: Server, tmp_path: Path, target: str) -> None:
    server.redirects_to = target
    with pytest.raises(FormatError, match=r"dictionary.txt: cannot be downloaded"):
        fetch.download(tmp_path, ["dictionary.txt"], address(server))
    assert fetch.missing_files(tmp_path)


def test_a_download_is_compared_with_the_recorded_hash(server: Server, tmp_path: Path) -> None:
    right = hashlib.sha256((server.folder / "dictionary.txt").read_bytes()).hexdigest()
    (tmp_path / "sha256.json").write_text(json.dumps({"dictionary.txt": {"sha256": "0" * 64}}))
    with pytest.raises(FormatError, match=f"dictionary.txt: the server sends another file: its SHA-256 is {right}"):
        fetch.download(tmp_path, ["dictionary.txt"], address(server))
    assert [path.name for path in tmp_path.glob("dictionary*")] == []
    (tmp_path / "sha256.json").write_text(json.dumps({"dictionary.txt": {"sha256": right}}))
    fetch.download(tmp_path, ["dictionary.txt"], address(server))
    assert (tmp_path / "dictionary.txt").is_file()


def test_a_changed_file_is_detected_and_its_cached_hash_ignored(tmp_path: Path) -> None:
    folder = write_kiros_files(tmp_path)
    fetch.check(folder)
    name = SkipThoughts(folder).name
    table = np.load(folder / "utable.npy")
    table[3, 3] += 1
    np.save(folder / "utable.npy", table)
    assert SkipThoughts(folder).name != name
    with pytest.raises(FormatError, match=r"utable.npy: has changed since it was first checked"):
        fetch.check(folder)
    (folder / "sha256.json").unlink()
    assert not any(file.checked_before for file in fetch.check(folder))


@pytest.mark.parametrize("content", ["[]", "{", '{"utable.npy": 5}', '{"utable.npy": {"sha256": 3}}'])
def test_a_damaged_list_of_hashes_is_ignored(tmp_path: Path, content: str) -> None:
    folder = write_kiros_files(tmp_path)
    name = SkipThoughts(folder).name
    (folder / "sha256.json").write_text(content)
    assert SkipThoughts(folder).name == name
    fetch.check(folder)
    assert set(json.loads((folder / "sha256.json").read_text())) == set(KIROS_FILES)


def test_mismatched_files_are_not_recorded(tmp_path: Path) -> None:
    folder = write_kiros_files(tmp_path)
    (folder / "dictionary.txt").write_text("UNK\n")
    with pytest.raises(FormatError, match="but the dictionary has 1 words"):
        fetch.check(folder)
    assert not (folder / "sha256.json").exists()
