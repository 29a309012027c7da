"""Tests of the page in headless Chromium. Any request to another host fails a test."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest

from crnet.demo import DemoResult
from crnet.types import TARGETS

if TYPE_CHECKING:
    from conftest import Served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
from playwright.sync_api import Browser, Page, expect  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install Debian's package chromium"),
]
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a fake camera for the test that records
    "--use-fake-ui-for-media-stream",
]
SCREENSHOTS = os.environ.get("CRNET_SCREENSHOTS")
"""Folder for screenshots of the page, for a person to look at."""
TIMEOUT_MS = 120_000  # enough for a busy machine to score and explain a clip
GRADIO_MESSAGES = ("Method not implemented.",)


def write_camera_picture(video: Path, path: Path) -> Path:
    """Write a video as the uncompressed frames (YUV4MPEG2, 4:2:0) that Chromium's fake camera shows in a loop."""
    width, height = 320, 240
    with av.open(str(video)) as container, path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420\n".encode())
        for frame in container.decode(video=0):
            file.write(b"FRAME\n" + frame.reformat(width, height, "yuv420p").to_ndarray().tobytes())
    return path


@pytest.fixture(scope="module")
def browser(demo: DemoResult, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    camera = write_camera_picture(demo.video, tmp_path_factory.mktemp("camera") / "person.y4m")
    with playwright.sync_playwright() as started:
        switches = [*SWITCHES, f"--use-file-for-fake-video-capture={camera}"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


class Visit:
    """A visit to the page, with every foreign request and every error of the console."""

    def __init__(self, browser: Browser, served: Served, *, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            accept_downloads=True,
        )
        self.page: Page = self.context.new_page()
        self.foreign_requests: list[str] = []
        self.errors: list[str] = []
        self.page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        self._url = served.url
        self.page.on("request", lambda request: self._record_request(request.url))
        self.page.on("console", lambda m: self._record_error(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(served.url)
        self.page.get_by_role("button", name="Score this video").wait_for()

    def _record_request(self, url: str) -> None:
        if not url.startswith((self._url, "data:", "blob:")):
            self.foreign_requests.append(url)

    def _record_error(self, text: str) -> None:
        if text not in GRADIO_MESSAGES:
            self.errors.append(text)

    def upload(self, video: Path, *, number: int = 0) -> None:
        """Upload a video on the page and wait for it."""
        inputs = self.page.locator("input[type=file]")
        before = self.page.locator("video[src]").count()
        inputs.nth(number).set_input_files(video)
        expect(self.page.locator("video[src]")).to_have_count(before + 1)

    def score(self) -> None:
        self.page.get_by_role("button", name="Score this video").click()

    def screenshot(self, name: str) -> None:
        if SCREENSHOTS is not None:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    def end(self) -> None:
        assert self.foreign_requests == []
        assert self.errors == []
        self.context.close()


def test_a_clip_is_uploaded_scored_explained_and_its_files_downloaded(
    browser: Browser, served: Served, demo: DemoResult, tmp_path: Path
) -> None:
    visit = Visit(browser, served)
    page = visit.page
    expect(page.get_by_text("Do not use the scores to make decisions about people.")).to_be_visible()
    expect(page.get_by_text("its scores for real people are meaningless")).to_be_visible()
    visit.screenshot("desktop-light-start")
    visit.upload(demo.video)
    page.get_by_label("Transcript").first.fill("Hello, I am glad to be here.")
    visit.score()
    status, result = page.locator("#status"), page.locator("#result")
    expect(status).to_contain_text("reading the video")
    assert status.get_attribute("aria-live") == "polite"
    visit.screenshot("desktop-light-progress")
    expect(status).to_contain_text("Done in")
    for target in TARGETS:
        row = result.locator(".crnet-scores tr", has_text=target).first
        expect(row).to_contain_text("90%)")
    expect(result).to_contain_text("high score means")  # the scale of neuroticism
    overlay = result.locator("video")
    expect(overlay).to_have_js_property("error", None)
    picture = result.get_by_role("img", name="Grad-CAM for interview")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
    page.wait_for_timeout(500)
    visit.screenshot("desktop-light-result")
    files = {}
    for name in ("report (HTML)", "scores (JSON)", "scores (CSV)"):
        with page.expect_download() as download:
            result.get_by_role("link", name=f"Download {name}").click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        files[path.name] = path.read_text(encoding="utf-8")
    assert set(files) == {"crnet-report.html", "crnet-prediction.json", "crnet-prediction.csv"}
    document = json.loads(files["crnet-prediction.json"])
    assert document["clip"] == demo.video.name
    assert document["intervals"]["openness"][0] < document["scores"]["openness"] < document["intervals"]["openness"][1]
    assert "<html" in files["crnet-report.html"]
    assert str(served.folder) not in "".join(files.values())
    with visit.context.expect_page() as opened:
        result.get_by_role("link", name="Open the full report").click()
    report = opened.value
    report.on("console", lambda message: visit.errors.append(message.text))
    report.wait_for_load_state()
    report.reload()
    expect(report.locator("body")).to_contain_text("extraversion")
    # The upload has been deleted, and the page has cleared its player.
    expect(page.locator("video[src*='gradio_api']")).to_have_count(0)
    assert not list(served.folder.glob("crnet-serve-*/uploads/*/*"))
    assert not list(served.folder.glob("crnet-serve-*/jobs/*"))
    visit.end()


def test_a_text_file_and_an_oversized_file_are_reported(browser: Browser, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    text, large = tmp_path / "holiday.mp4", tmp_path / "large.mp4"
    text.write_text("Dear diary")
    large.write_bytes(bytes(3 << 20))
    visit.page.locator("input[type=file]").first.set_input_files(large)
    expect(visit.page.get_by_text("File(s) exceed the maximum allowed size of 2.0 Mb").first).to_be_visible()
    visit.screenshot("desktop-light-too-large")
    visit.page.reload()
    visit.upload(text)
    visit.score()
    alert = visit.page.get_by_role("alert").filter(has_text="Not scored")
    expect(alert).to_contain_text("not a video")
    assert "Traceback" not in visit.page.content()
    visit.screenshot("desktop-light-not-a-video")
    visit.end()


def test_a_missing_video_is_reported(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    visit.score()
    expect(visit.page.get_by_role("alert")).to_contain_text("no video yet")
    visit.end()


def test_two_visitors_both_finish_and_one_sees_the_queue(browser: Browser, served: Served, demo: DemoResult) -> None:
    visits = [Visit(browser, served), Visit(browser, served)]
    for visit in visits:
        visit.upload(demo.video)
    visits[1].page.get_by_label("Explain the scores").first.uncheck()
    for visit in visits:
        visit.score()
    expect(visits[1].page.locator("#status")).to_contain_text("1 video ahead of yours")
    visits[1].screenshot("desktop-light-queue")
    for visit in visits:
        expect(visit.page.locator("#status")).to_contain_text("Done in")
        visit.end()


def test_a_video_is_recorded_and_scored(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    page = visit.page
    page.get_by_role("button", name="Capture from camera").first.click()
    page.get_by_text("Click to Access Webcam").first.click()
    record = page.get_by_role("button", name="start recording")
    record.click()
    page.wait_for_timeout(4000)
    record.click()
    expect(page.locator("video[src]")).to_have_count(1)
    page.get_by_label("Explain the scores").first.uncheck()
    visit.score()
    expect(page.locator("#status")).to_contain_text("Done in")
    expect(page.locator("#result .crnet-warn li").first).to_contain_text("trained on synthetic people")
    visit.end()


def test_stop_ends_the_work(browser: Browser, served: Served, demo: DemoResult) -> None:
    visit = Visit(browser, served)
    visit.upload(demo.video)
    visit.score()
    expect(visit.page.locator("#status")).to_contain_text("reading the video")
    visit.page.get_by_role("button", name="Stop").first.click()
    expect(visit.page.locator("#status")).to_contain_text("Stopped")
    for _ in range(100):
        if not list(served.folder.glob("crnet-serve-*/jobs/*")):
            break
        visit.page.wait_for_timeout(100)
    assert not list(served.folder.glob("crnet-serve-*/jobs/*"))
    visit.end()


def test_a_kept_video_is_scored_again_with_a_transcript(browser: Browser, served: Served, demo: DemoResult) -> None:
    visit = Visit(browser, served)
    visit.upload(demo.video)
    visit.page.get_by_label("Explain the scores").first.uncheck()
    visit.page.get_by_label("Keep the video so I can score it again").first.check()
    visit.score()
    expect(visit.page.locator("#result")).to_contain_text("No transcript")
    visit.page.get_by_label("Transcript").first.fill("Now I say a few words about myself.")
    visit.score()
    expect(visit.page.locator("#result .crnet-scores")).to_be_visible()
    expect(visit.page.locator("#result")).not_to_contain_text("No transcript")
    visit.end()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light"), (390, "dark")])
def test_two_videos_are_compared_at_every_width_light_and_dark(
    browser: Browser, served: Served, demo: DemoResult, width: int, scheme: str
) -> None:
    visit = Visit(browser, served, width=width, scheme=scheme)
    name = f"{'desktop' if width > 1000 else 'phone'}-{scheme}"
    visit.screenshot(f"{name}-start")
    page = visit.page
    page.get_by_role("tab", name="Compare two").click()
    page.get_by_role("button", name="Compare", exact=True).wait_for()
    other = next(video for video in sorted(demo.video.parent.glob("*.mp4")) if video != demo.video)
    visit.upload(demo.video, number=1)
    visit.upload(other, number=1)  # the first input has become a player
    page.get_by_label("Explain the scores").nth(1).uncheck()
    page.get_by_role("button", name="Compare", exact=True).click()
    table = page.locator("#result-two table").first
    expect(table).to_contain_text("difference")
    expect(page.locator("#result-two section")).to_have_count(2)
    page.wait_for_timeout(300)
    visit.screenshot(f"{name}-compare")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth"), "a column is hidden"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in background[4:-1].split(",")[:3]) / 3
    assert (lightness < 80) == (scheme == "dark"), background
    visit.end()


def test_the_page_documents_the_api(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    visit.page.get_by_role("tab", name="API").click()
    expect(visit.page.get_by_text("from gradio_client import Client")).to_be_visible()
    expect(visit.page.get_by_text("curl -s -F")).to_be_visible()
    visit.screenshot("desktop-light-code")
    visit.end()


def test_the_page_works_with_the_keyboard_alone(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    reached: list[str] = []
    for _ in range(30):
        visit.page.keyboard.press("Tab")
        reached.append(
            visit.page.evaluate(
                "(e => e.getAttribute('aria-label') || e.innerText || e.labels?.[0]?.innerText || e.type || '')"
                "(document.activeElement)"
            )
        )
        if "Stop" in reached[-1]:
            break
    joined = " | ".join(reached)
    for control in ("One video", "Upload", "Transcript", "Explain", "Keep", "Score this video", "Stop"):
        assert control in joined, joined
    visit.page.keyboard.press("Shift+Tab")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("alert")).to_contain_text("no video yet")
    visit.end()


def test_the_report_of_a_run_fits_a_printed_page(browser: Browser, demo: DemoResult) -> None:
    a4_width_px = 718
    context = browser.new_context(viewport={"width": a4_width_px, "height": 1000}, offline=True)
    page = context.new_page()
    page.emulate_media(media="print")
    page.goto((demo.out / "report.html").resolve().as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= a4_width_px
    context.close()
