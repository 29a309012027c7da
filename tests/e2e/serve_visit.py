"""A visit to the page in headless Chromium, for the tests of the page. Any request to another host fails a test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import av
import pytest

if TYPE_CHECKING:
    from conftest import Served

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
from playwright.sync_api import Browser, Locator, Page, expect  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
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
PHONE, DESKTOP = (390, 844), (1280, 900)


def write_camera_picture(video: Path, path: Path) -> Path:
    """Write a video as the uncompressed frames (YUV4MPEG2, 4:2:0) that Chromium's fake camera shows in a loop."""
    width, height = 320, 240
    with av.open(str(video)) as container, path.open("wb") as file:
        file.write(f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420\n".encode())
        for frame in container.decode(video=0):
            file.write(b"FRAME\n" + frame.reformat(width, height, "yuv420p").to_ndarray().tobytes())
    return path


@contextmanager
def open_browser(video: Path, folder: Path) -> Iterator[Browser]:
    """Start Chromium, with a fake camera that shows a video."""
    camera = write_camera_picture(video, folder / "person.y4m")
    with playwright.sync_playwright() as started:
        switches = [*SWITCHES, f"--use-file-for-fake-video-capture={camera}"]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield browser
        browser.close()


class Visit:
    """A visit to the page, with every foreign request and every error of the console."""

    def __init__(
        self,
        browser: Browser,
        served: Served,
        path: str = "/",
        *,
        size: tuple[int, int] = DESKTOP,
        scheme: str = "light",
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
        )
        self.page: Page = self.context.new_page()
        self.foreign_requests: list[str] = []
        self.errors: list[str] = []
        self.page.set_default_timeout(TIMEOUT_MS)
        expect.set_options(timeout=TIMEOUT_MS)
        self._url = served.url
        self.page.on("request", lambda request: self._record_request(request.url))
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(served.url + path)
        self.page.get_by_role("heading", level=1).wait_for()

    def _record_request(self, url: str) -> None:
        if not url.startswith((self._url, "data:", "blob:")):
            self.foreign_requests.append(url)

    def panel(self, key: str = "job") -> Locator:
        return self.page.locator(f"[data-panel={key}]")

    def send(self, video: Path, key: str = "job", *, explain: bool = False, transcript: str = "") -> None:
        """Choose a video on the page and let it be scored."""
        panel = self.panel(key)
        expect(panel.get_by_role("button", name="Score this video")).to_be_enabled()  # the script runs
        panel.locator("input[type=file]").set_input_files(video)
        panel.get_by_label("Explain the scores").set_checked(explain)
        panel.get_by_label("Transcript").fill(transcript)
        panel.get_by_role("button", name="Score this video").click()

    def screenshot(self, name: str) -> None:
        if SCREENSHOTS is not None:
            self.page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)

    def end(self) -> None:
        assert self.foreign_requests == []
        assert self.errors == []
        self.context.close()


def assert_accessible(page: Page) -> None:
    """Fail if axe-core finds anything, contrast below 4.5:1 included."""
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def fits(page: Page) -> bool:
    page.wait_for_load_state()  # with its style sheet
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))
