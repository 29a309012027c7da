"""A visitor's browser on the page: Chromium, headless. Any request to another host fails the test."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install Debian's package chromium"),
]
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--use-fake-device-for-media-stream",  # a camera that shows a green pie, for the test that records
    "--use-fake-ui-for-media-stream",
]
SCREENSHOTS = os.environ.get("CRNET_SCREENSHOTS")
"""A folder to leave pictures of the page in, for a person to look at."""
PATIENCE_MS = 120_000  # for a loaded machine to score and explain a clip
GRADIO_SAYS = ("Method not implemented.",)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield opened
        opened.close()


class Visit:
    """A page in a browser, with what must not happen on it."""

    def __init__(self, browser: Browser, served: Served, *, width: int = 1280, scheme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            accept_downloads=True,
        )
        self.page: Page = self.context.new_page()
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self.page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        self._url = served.url
        self.page.on("request", lambda request: self._note(request.url))
        self.page.on("console", lambda m: self._complain(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(served.url)
        self.page.get_by_role("button", name="Score this video").wait_for()

    def _note(self, url: str) -> None:
        if not url.startswith((self._url, "data:", "blob:")):
            self.elsewhere.append(url)

    def _complain(self, text: str) -> None:
        if text not in GRADIO_SAYS:
            self.complaints.append(text)

    def send(self, video: Path, *, number: int = 0) -> None:
        """Put a video into the page and wait until it is uploaded."""
        inputs = self.page.locator("input[type=file]")
        before = self.page.locator("video[src]").count()
        inputs.nth(number).set_input_files(video)
        expect(self.page.locator("video[src]")).to_have_count(before + 1)

    def score(self) -> None:
        self.page.get_by_role("button", name="Score this video").click()

    def shoot(self, name: str) -> None:
        if SCREENSHOTS is not None:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    def end(self) -> None:
        assert self.elsewhere == []
        assert self.complaints == []
        self.context.close()


def test_a_clip_is_sent_watched_scored_explained_and_downloaded(
    browser: Browser, served: Served, demo: DemoResult, tmp_path: Path
) -> None:
    visit = Visit(browser, served)
    page = visit.page
    expect(page.get_by_text("Do not use them to decide about people.")).to_be_visible()
    expect(page.get_by_text("its scores of real people are meaningless")).to_be_visible()
    visit.shoot("desktop-light-start")
    visit.send(demo.video)
    page.get_by_label("What is said").first.fill("Hello, I am glad to be here.")
    visit.score()
    status, result = page.locator("#status"), page.locator("#result")
    expect(status).to_contain_text("reading the video")
    assert status.get_attribute("aria-live") == "polite"
    visit.shoot("desktop-light-progress")
    expect(status).to_contain_text("Done in")
    for target in TARGETS:
        row = result.locator(".crnet-scores tr", has_text=target).first
        expect(row).to_contain_text("90%)")
    expect(result).to_contain_text("high score means")  # neuroticism's polarity
    film = result.locator("video")
    expect(film).to_have_js_property("error", None)
    picture = result.get_by_role("img", name="Grad-CAM for interview")
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
    page.wait_for_timeout(500)
    visit.shoot("desktop-light-result")
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
        result.get_by_role("link", name="Open the whole report").click()
    report = opened.value
    report.on("console", lambda message: visit.complaints.append(message.text))
    report.wait_for_load_state()
    report.reload()
    expect(report.locator("body")).to_contain_text("extraversion")
    # The upload is gone, and the page says so by being empty.
    expect(page.locator("video[src*='gradio_api']")).to_have_count(0)
    assert not list(served.folder.glob("crnet-serve-*/uploads/*/*"))
    assert not list(served.folder.glob("crnet-serve-*/jobs/*"))
    visit.end()


def test_a_text_file_and_an_oversized_one_get_their_message(browser: Browser, served: Served, tmp_path: Path) -> None:
    visit = Visit(browser, served)
    text, large = tmp_path / "holiday.mp4", tmp_path / "large.mp4"
    text.write_text("Dear diary")
    large.write_bytes(bytes(3 << 20))
    visit.page.locator("input[type=file]").first.set_input_files(large)
    expect(visit.page.get_by_text("File(s) exceed the maximum allowed size of 2.0 Mb").first).to_be_visible()
    visit.shoot("desktop-light-too-large")
    visit.page.reload()
    visit.send(text)
    visit.score()
    alert = visit.page.get_by_role("alert").filter(has_text="Not scored")
    expect(alert).to_contain_text("not a video")
    assert "Traceback" not in visit.page.content()
    visit.shoot("desktop-light-not-a-video")
    visit.end()


def test_without_a_video_it_says_what_is_missing(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    visit.score()
    expect(visit.page.get_by_role("alert")).to_contain_text("there is no video yet")
    visit.end()


def test_two_visitors_at_once_both_finish_and_one_sees_the_queue(
    browser: Browser, served: Served, demo: DemoResult
) -> None:
    visits = [Visit(browser, served), Visit(browser, served)]
    for visit in visits:
        visit.send(demo.video)
    visits[1].page.get_by_label("Explain the scores").first.uncheck()
    for visit in visits:
        visit.score()
    expect(visits[1].page.locator("#status")).to_contain_text("1 video is before yours")
    visits[1].shoot("desktop-light-queue")
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
    expect(page.locator("#result")).to_contain_text("no face was found")
    expect(page.locator("#result .crnet-warn li").first).to_contain_text("trained on synthetic people")
    visit.end()


def test_stop_ends_the_work_at_once(browser: Browser, served: Served, demo: DemoResult) -> None:
    visit = Visit(browser, served)
    visit.send(demo.video)
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


def test_a_kept_video_is_scored_again_with_other_words(browser: Browser, served: Served, demo: DemoResult) -> None:
    visit = Visit(browser, served)
    visit.send(demo.video)
    visit.page.get_by_label("Explain the scores").first.uncheck()
    visit.page.get_by_label("Keep the video for another try").first.check()
    visit.score()
    expect(visit.page.locator("#result")).to_contain_text("no transcript")
    visit.page.get_by_label("What is said").first.fill("Now I say a few words about myself.")
    visit.score()
    expect(visit.page.locator("#result .crnet-scores")).to_be_visible()
    expect(visit.page.locator("#result")).not_to_contain_text("no transcript")
    visit.end()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light"), (390, "dark")])
def test_two_videos_stand_side_by_side_at_every_width_light_and_dark(
    browser: Browser, served: Served, demo: DemoResult, width: int, scheme: str
) -> None:
    visit = Visit(browser, served, width=width, scheme=scheme)
    name = f"{'desktop' if width > 1000 else 'phone'}-{scheme}"
    visit.shoot(f"{name}-start")
    page = visit.page
    page.get_by_role("tab", name="Compare two").click()
    page.get_by_role("button", name="Compare", exact=True).wait_for()
    other = next(video for video in sorted(demo.video.parent.glob("*.mp4")) if video != demo.video)
    visit.send(demo.video, number=1)
    visit.send(other, number=1)  # the first has become a player
    page.get_by_label("Explain the scores").nth(1).uncheck()
    page.get_by_role("button", name="Compare", exact=True).click()
    table = page.locator("#result-two table").first
    expect(table).to_contain_text("difference")
    expect(page.locator("#result-two section")).to_have_count(2)
    page.wait_for_timeout(300)
    visit.shoot(f"{name}-compare")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page scrolls sideways"
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth"), "a column is out of sight"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in background[4:-1].split(",")[:3]) / 3
    assert (lightness < 80) == (scheme == "dark"), background
    visit.end()


def test_the_page_tells_how_to_do_without_it(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    visit.page.get_by_role("tab", name="From code").click()
    expect(visit.page.get_by_text("from gradio_client import Client")).to_be_visible()
    expect(visit.page.get_by_text("curl -s -F")).to_be_visible()
    visit.shoot("desktop-light-code")
    visit.end()


def test_the_page_can_be_used_with_the_keyboard_alone(browser: Browser, served: Served) -> None:
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
    for control in ("One video", "Upload", "What is said", "Explain", "Keep", "Score this video", "Stop"):
        assert control in joined, joined
    visit.page.keyboard.press("Shift+Tab")
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("alert")).to_contain_text("there is no video yet")
    visit.end()


def test_the_report_of_a_run_fits_a_printed_page(browser: Browser, demo: DemoResult) -> None:
    a4_less_margins_px = 718
    context = browser.new_context(viewport={"width": a4_less_margins_px, "height": 1000}, offline=True)
    page = context.new_page()
    page.emulate_media(media="print")
    page.goto((demo.out / "report.html").resolve().as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= a4_less_margins_px
    context.close()
