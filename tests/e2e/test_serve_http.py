"""Tests of the HTTP API as programs use it, and of the server under bad input and load."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crnet.demo import DemoResult
from crnet.types import TARGETS
from grey_video import write_grey_video

if TYPE_CHECKING:
    from conftest import Served

httpx = pytest.importorskip("httpx", reason="the extra serve is not installed")
pytestmark = pytest.mark.slow

FILE = {"_type": "gradio.FileData"}
GOOD, BROKEN, AT_ONCE = 6, 4, 5
PREDICTION_KEYS = ["clip", "duration_s", "scores", "streams", "intervals", "faces", "warnings", "error"]


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[Any]:
    with httpx.Client(base_url=served.url, timeout=180) as client:
        yield client


def send(http: Any, content: bytes, name: str = "talk.mp4") -> Any:
    return http.post("/gradio_api/upload", files={"files": (name, content)})


def ask(http: Any, path: object, transcript: object = "", explain: object = False) -> tuple[str, Any]:
    """Score an upload; return the kind of the last event and its data."""
    data = [{"path": path, "orig_name": "talk.mp4", "meta": FILE}, transcript, explain]
    posted = http.post("/gradio_api/call/score", json={"data": data})
    if posted.status_code != 200:
        return "refused", posted.text
    event = posted.json()["event_id"]
    answer = http.get(f"/gradio_api/call/score/{event}").text
    kind, document = answer.strip().split("\n\n")[-1].split("\n")
    return kind.removeprefix("event: "), json.loads(document.removeprefix("data: "))


def score(http: Any, content: bytes, transcript: str = "") -> tuple[str, Any]:
    return ask(http, send(http, content).json()[0], transcript)


BAD = {
    "text": (lambda _: b"this is text", "not a video"),
    "empty": (lambda _: b"", "empty"),
    "headless": (lambda content: content[len(content) // 3 :], "not a video"),
    "noise": (lambda _: bytes(range(256)) * 400, "not a video"),
    "playlist": (lambda _: b"#EXTM3U\n#EXTINF:3,\n/etc/hostname\n", "not a video"),
}


def test_the_answer_is_the_document_of_predict_plus_files(http: Any, demo: DemoResult) -> None:
    kind, answers = score(http, demo.video.read_bytes(), "Hello there")
    assert kind == "complete", answers
    (answer,) = answers
    assert list(answer) == [*PREDICTION_KEYS, "files"]
    assert list(answer["scores"]) == list(TARGETS)
    assert answer["clip"] == "talk.mp4"
    stored = http.get(answer["files"]["prediction.json"])
    assert stored.headers["content-type"] == "application/json"
    assert stored.json() == {key: answer[key] for key in PREDICTION_KEYS}
    saved = http.get(answer["files"]["prediction.csv"], params={"download": "true"})
    assert "attachment" in saved.headers["content-disposition"]


def test_the_transcript_changes_the_audio_text_score(http: Any, demo: DemoResult) -> None:
    silent = score(http, demo.video.read_bytes(), "")[1][0]
    spoken = score(http, demo.video.read_bytes(), "1\n00:00:00,000 --> 00:00:02,000\nI love a party with friends\n")[1][
        0
    ]
    assert silent["streams"]["audio-text"] != spoken["streams"]["audio-text"]
    assert silent["streams"]["scene"] == spoken["streams"]["scene"]


def test_the_documented_python_client_works(served: Served, demo: DemoResult) -> None:
    from gradio_client import Client, handle_file

    client = Client(served.url, verbose=False)
    answer = client.predict(
        video=handle_file(str(demo.video)), transcript="Hi, I am ...", explain=False, api_name="/score"
    )
    assert set(answer["scores"]) == set(TARGETS)
    assert answer["clip"] == demo.video.name


def test_the_documented_curl_commands_work(served: Served, demo: DemoResult, tmp_path: Path) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("curl or bash is missing")
    page = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    script = page.split("```bash\nSERVER=")[1].split("```")[0]
    shutil.copy(demo.video, tmp_path / "talk.mp4")
    commands = f"set -eu\nSERVER={served.url}\n" + script.split("\n", 1)[1]
    done = subprocess.run(
        ["bash", "-c", commands], cwd=tmp_path, capture_output=True, text=True, timeout=180, check=False
    )
    assert "event: complete" in done.stdout, done.stdout + done.stderr
    assert '"interview"' in done.stdout


@pytest.mark.parametrize("kind_of_file", BAD)
def test_a_broken_file_gets_one_sentence(http: Any, demo: DemoResult, kind_of_file: str) -> None:
    make, reason = BAD[kind_of_file]
    kind, answer = score(http, make(demo.video.read_bytes()))
    assert kind == "error"
    assert reason in answer["error"]
    assert "/" not in answer["error"], "a path of the server"
    assert len(answer["error"].splitlines()) == 1


def test_too_large_a_file_is_refused_while_it_arrives(http: Any, served: Served) -> None:
    answer = send(http, bytes(3 << 20))
    assert answer.status_code == 413

    def pieces() -> Iterator[bytes]:  # without a length
        yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.mp4"\r\n\r\n'
        for _ in range(64):
            yield bytes(1 << 16)
        yield b"\r\n--x--\r\n"

    form = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = http.post("/gradio_api/upload", content=pieces(), headers=form)
    assert answer.status_code == 413
    assert answer.text == "the file is larger than 2 MB (send a smaller file)"
    assert not list(served.folder.glob("crnet-serve-*/uploads/*/*"))


def test_too_long_a_video_is_refused(http: Any, tmp_path: Path) -> None:
    kind, answer = score(http, write_grey_video(tmp_path / "long.mp4", seconds=25).read_bytes())
    assert kind == "error"
    assert answer["error"] == "the video is 25 s long; this server accepts at most 20 s (shorten it)"


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "http://127.0.0.1:1/video.mp4", "../../etc/passwd", "uploads/x/video.mp4", "", None, 7]
)
def test_only_uploads_are_ever_read(http: Any, path: object) -> None:
    assert ask(http, path) == ("refused", "the video is not on the server (send it to /gradio_api/upload first)")


def test_an_upload_is_scored_once(http: Any, served: Served, demo: DemoResult) -> None:
    path = send(http, demo.video.read_bytes()).json()[0]
    assert ask(http, path)[0] == "complete"
    assert not Path(path).exists()
    kind, answer = ask(http, path)
    assert (kind, answer["error"]) == ("error", "the video is no longer on the server (send it again)")


@pytest.mark.parametrize(
    "address",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/deep_link",
        "/monitoring",
        "/docs",
        "/openapi.json",
        "/results/../../etc/passwd",
        "/results/00000000000000000000000000000000/prediction.json",
    ],
)
def test_other_routes_are_blocked(http: Any, address: str) -> None:
    assert http.get(address).status_code == 404


def test_the_page_may_contact_no_other_host(http: Any) -> None:
    answer = http.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "fonts.googleapis" not in answer.text


def test_many_requests_with_broken_ones_need_bounded_memory(http: Any, served: Served, demo: DemoResult) -> None:
    """Small version of the benchmark serve_load."""
    video = demo.video.read_bytes()
    score(http, video)  # loads what is loaded only once
    before_kb = memory_kb(served.process.pid)
    jobs = [video if number < GOOD else b"broken" for number in range(GOOD + BROKEN)]
    with ThreadPoolExecutor(AT_ONCE) as visitors:
        kinds = list(visitors.map(lambda content: score(http, content)[0], jobs))
    assert kinds == ["complete"] * GOOD + ["error"] * BROKEN
    assert memory_kb(served.process.pid) < 1.3 * before_kb
    assert "Traceback" not in served.log.read_text()
    assert http.get("/healthz").text == "ok"


def memory_kb(pid: int) -> int:
    """Return the resident memory of a process and its children."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        pytest.skip("memory is read from /proc")
    own = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return own + sum(memory_kb(int(child)) for child in children)
