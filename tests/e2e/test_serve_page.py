"""Tests of the page in headless Chromium. Any request to another host fails a test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from serve_visit import (
    CHROMIUM,
    DESKTOP,
    PHONE,
    SCREENSHOTS,
    TIMEOUT_MS,
    Browser,
    Visit,
    assert_accessible,
    expect,
    fits,
)

from crnet.demo import DemoResult
from crnet.types import TARGETS

if TYPE_CHECKING:
    from conftest import Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install Debian's package chromium"),
]


def test_a_clip_is_scored_then_explained_and_a_reload_returns_to_it(
    browser: Browser, served: Served, demo: DemoResult, tmp_path: Path
) -> None:
    visit = Visit(browser, served)
    page, panel = visit.page, visit.panel()
    visit.screenshot("desktop-light-start")
    visit.send(demo.video, explain=True, transcript="Hello, I am glad to be here.")
    message = panel.get_by_role("status")
    expect(panel.get_by_role("progressbar", name="Scores")).to_be_visible()
    visit.screenshot("desktop-light-progress")
    expect(panel.locator("table.scores")).to_be_visible()
    expect(message).to_have_text("The scores are ready. More will follow.")  # the scores came first
    expect(panel.get_by_role("progressbar", name="Explanation")).to_be_visible()
    visit.screenshot("desktop-light-early-scores")
    for target in TARGETS:
        expect(panel.locator("table.scores tr", has_text=target).first).to_contain_text(" to ")
    expect(message).to_contain_text("Done in")
    expect(panel.locator("video.preview")).to_be_visible()  # beside its result
    for _ in range(2):  # before and after a reload
        overlay = panel.locator("[data-explanation] video")
        expect(overlay).to_have_js_property("error", None)
        picture = panel.get_by_role("img", name="Grad-CAM for interview").first
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 200
        page.reload()
        expect(message).to_contain_text("Done in")
    page.get_by_role("link", name="API").click()
    page.get_by_role("link", name="One video").click()
    expect(message).to_contain_text("Done in")
    visit.screenshot("desktop-light-result")
    assert_accessible(page)
    files = {}
    for name in ("report (HTML)", "scores (JSON)", "scores (CSV)"):
        with page.expect_download() as download:
            panel.get_by_role("link", name=f"Download {name}").first.click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        files[path.name] = path.read_text(encoding="utf-8")
    assert set(files) == {"crnet-report.html", "crnet-prediction.json", "crnet-prediction.csv"}
    document = json.loads(files["crnet-prediction.json"])
    assert document["clip"] == demo.video.name
    assert document["intervals"]["openness"][0] < document["scores"]["openness"] < document["intervals"]["openness"][1]
    assert str(served.folder) not in "".join(files.values())
    with visit.context.expect_page() as opened:
        panel.get_by_role("link", name="Open the full report").click()
    expect(opened.value.locator("body")).to_contain_text("extraversion")
    opened.value.close()
    job = page.url.partition("#job=")[2]
    assert list(served.folder.glob(f"crnet-serve-*/jobs/{job}"))
    panel.get_by_role("button", name="Delete this result now").click()
    expect(message).to_have_text("The result has been deleted.")
    assert page.url == served.url + "/"
    assert not list(served.folder.glob(f"crnet-serve-*/jobs/{job}"))
    visit.end()
    assert_report_is_accessible(browser, tmp_path / "crnet-report.html")


def assert_report_is_accessible(browser: Browser, report: Path) -> None:
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(report.as_uri())
    assert_accessible(page)
    context.close()


def test_a_second_visitor_waits_and_a_cancelled_job_makes_room(
    browser: Browser, served: Served, demo: DemoResult
) -> None:
    first, second = Visit(browser, served), Visit(browser, served)
    first.send(demo.video, explain=True)
    expect(first.panel().get_by_role("progressbar", name="Scores")).to_be_visible()
    second.send(demo.video)
    expect(second.panel().get_by_role("status")).to_contain_text("1 video ahead of yours")
    second.screenshot("desktop-light-queue")
    first.panel().get_by_role("button", name="Cancel").click()
    expect(first.panel().get_by_role("status")).to_contain_text("Cancelled.")
    expect(second.panel().get_by_role("status")).to_contain_text("Done in")
    expect(first.panel().get_by_role("button", name="Score this video")).to_be_enabled()
    first.end()
    second.end()


def test_errors_are_sentences_and_a_new_video_clears_them(
    browser: Browser, served: Served, demo: DemoResult, tmp_path: Path
) -> None:
    visit = Visit(browser, served)
    panel, alert = visit.panel(), visit.panel().get_by_role("alert")
    panel.get_by_role("button", name="Score this video").click()
    expect(alert).to_have_text("No video yet. Choose or record one.")
    (tmp_path / "empty.mp4").touch()
    panel.locator("input[type=file]").set_input_files(tmp_path / "empty.mp4")
    expect(alert).to_have_text("The file is empty. Choose another one.")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    visit.send(tmp_path / "broken.mp4")
    expect(alert).to_contain_text("Not scored: not a video")
    expect(panel.locator("[data-hint]")).to_have_text("broken.mp4 (this browser cannot show it)")
    visit.screenshot("desktop-light-error")
    assert_accessible(visit.page)
    visit.send(demo.video)
    expect(alert).to_be_hidden()
    expect(panel.locator("table.scores")).to_be_visible()
    (tmp_path / "large.mp4").write_bytes(bytes(3 << 20))
    panel.locator("input[type=file]").set_input_files(tmp_path / "large.mp4")
    expect(alert).to_have_text("The file is larger than 2 MB. Send a smaller file.")
    expect(panel.locator("table.scores")).to_have_count(0)
    visit.page.goto(served.url + "/#job=" + "0" * 32)
    visit.page.reload()
    expect(alert).to_contain_text("does not exist or has expired")
    assert [error for error in visit.errors if "404" not in error] == []
    visit.errors.clear()  # Chromium reports the status 404 of the job that does not exist
    visit.end()


SLOW_CAMERA = """() => {
  window.tracks = [];
  const media = navigator.mediaDevices, open = media.getUserMedia.bind(media);
  media.getUserMedia = async (...wanted) => {
    const stream = await open(...wanted);
    tracks.push(...stream.getTracks());
    await new Promise((resolve) => setTimeout(resolve, 500));
    return stream;
  };
}"""


def test_a_video_is_recorded_and_scored(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    panel = visit.panel()
    visit.page.evaluate(SLOW_CAMERA)
    panel.get_by_role("button", name="Record").dblclick()  # while the browser still asks for permission
    stop = panel.get_by_role("button", name="Stop recording")
    stop.wait_for()
    expect(panel.get_by_role("button", name="Score this video")).to_be_disabled()
    visit.page.wait_for_timeout(3000)
    visit.screenshot("desktop-light-recording")
    stop.click()
    expect(panel.locator("video.preview[src^=blob]")).to_be_visible()
    assert visit.page.evaluate("tracks.map(track => track.readyState)") == ["ended"] * 4  # no camera stays on
    panel.get_by_label("Explain the scores").uncheck()
    panel.get_by_role("button", name="Score this video").click()
    expect(panel.get_by_role("status")).to_contain_text("Done in")
    expect(panel.locator("[data-scores] .warn")).to_contain_text("trained on synthetic people")
    visit.end()


@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")])
def test_two_videos_stand_side_by_side_at_every_width_light_and_dark(
    browser: Browser, served: Served, demo: DemoResult, size: tuple[int, int], scheme: str
) -> None:
    name = f"{'desktop' if size is DESKTOP else 'phone'}-{scheme}"
    visit = Visit(browser, served, size=size, scheme=scheme)
    page = visit.page
    button = visit.panel().get_by_role("button", name="Score this video").bounding_box()
    assert button is not None and button["y"] + button["height"] <= size[1], "the button is below the first screen"
    visit.screenshot(f"{name}-start")
    assert fits(page)
    assert_accessible(page)
    page.get_by_role("link", name="Two videos").click()
    other = next(video for video in sorted(demo.video.parent.glob("*.mp4")) if video != demo.video)
    visit.send(demo.video, "first")
    visit.send(other, "second")
    table = page.locator("[data-comparison] table")
    expect(table.locator("tbody tr")).to_have_count(5)  # the traits; nobody is ranked by the interview score
    expect(table.locator("tbody tr").first).to_be_in_viewport()
    expect(page.locator("table.scores")).to_have_count(2)
    visit.screenshot(f"{name}-compare")
    assert fits(page)
    assert_accessible(page)
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth"), "a column is hidden"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(int(part) for part in background[4:-1].split(",")[:3]) / 3
    assert (lightness < 80) == (scheme == "dark"), background
    page.get_by_role("link", name="API").click()
    page.get_by_role("heading", name="Examples").wait_for()
    visit.screenshot(f"{name}-api")
    assert fits(page)
    assert_accessible(page)
    visit.end()


def test_examples_are_copied(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served, "/docs")
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visit.page.get_by_role("button", name="Copy the example for curl").click()
    expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    assert f"SERVER={served.url}" in visit.page.evaluate("navigator.clipboard.readText()")
    visit.end()


def test_results_are_within_the_first_screen_of_a_phone(browser: Browser, served: Served, demo: DemoResult) -> None:
    visit = Visit(browser, served, size=PHONE)
    visit.send(demo.video, explain=True)
    expect(visit.panel().locator("table.scores")).to_be_visible()
    for row in visit.panel().locator("table.scores tbody tr").all():
        expect(row.locator(".score")).to_be_in_viewport()  # also while the explanation has its progress above them
    visit.screenshot("phone-light-result")
    assert fits(visit.page)
    if SCREENSHOTS is not None:
        visit.page.screenshot(path=Path(SCREENSHOTS) / "phone-light-result-screen.png")
    visit.page.request.delete(f"{served.url}/v1/jobs/{visit.page.url.partition('#job=')[2]}")  # no need to wait
    visit.errors.clear()  # the page may still ask for the job
    visit.end()


def test_the_page_works_with_the_keyboard_alone(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served)
    reached: list[str] = []
    for _ in range(14):
        visit.page.keyboard.press("Tab")
        reached.append(
            visit.page.evaluate(
                "(e => e.getAttribute('aria-label') || e.labels?.[0]?.innerText || e.innerText || e.type || '')"
                "(document.activeElement)"
            )
        )
        if "Score" in reached[-1]:
            break
    order = ("Skip", "One video", "Two videos", "API", "Choose a video", "Record", "Transcript", "Explain", "Score")
    places = [next(n for n, text in enumerate(reached) if control in text) for control in order]
    assert places == sorted(places), reached
    visit.page.keyboard.press("Enter")
    expect(visit.page.get_by_role("alert")).to_contain_text("No video yet")
    visit.end()


def test_the_report_of_a_run_fits_a_printed_page(browser: Browser, demo: DemoResult) -> None:
    a4_width_px = 718
    context = browser.new_context(viewport={"width": a4_width_px, "height": 1000}, offline=True)
    page = context.new_page()
    page.emulate_media(media="print")
    page.goto((demo.out / "report.html").resolve().as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= a4_width_px
    context.close()


def test_the_report_of_a_run_has_at_most_eight_pages_and_sorts_its_tables(browser: Browser, demo: DemoResult) -> None:
    context = browser.new_context(offline=True)
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto((demo.out / "report.html").resolve().as_uri())
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))) <= 8
    table = page.locator(".scroll > table").first
    table.locator("th button").last.click()  # error removed: the floor has none and comes last
    column = table.locator("tbody td:last-child").all_inner_texts()
    shares = [float(cell.replace("−", "-").rstrip("%")) for cell in column if cell]
    assert column[-1] == "" and shares == sorted(shares, reverse=True) and len(shares) == 5
    assert page.locator("thead th[aria-sort=descending]").count() == 1
    assert messages == []
    context.close()
