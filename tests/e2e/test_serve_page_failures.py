"""Tests of the page when requests get lost, when the server asks to wait, and when a visitor changes their mind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from serve_visit import CHROMIUM, PHONE, Browser, Visit, expect

from crnet.demo import DemoResult
from crnet.serve import render
from crnet.serve.schemas import MAX_TRANSCRIPT_CHARACTERS

if TYPE_CHECKING:
    from playwright.sync_api import Route

    from conftest import Served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install Debian's package chromium"),
]
UNREACHABLE = "The server cannot be reached. Check your connection and try again."


def test_requests_that_are_lost_or_told_to_wait_are_sent_again(
    browser: Browser,
    served: Served,
    demo: DemoResult,
) -> None:
    visit = Visit(browser, served, size=PHONE)
    panel, problems, held = visit.panel(), {"PATCH", "POST", "GET", "offset"}, []

    def interfere(route: Route) -> None:
        method = route.request.method
        if method == "PATCH" and problems == {"offset"}:
            problems.remove("offset")  # bytes of the lost request have arrived after the page asked for the offset
            route.fulfill(status=409, json={"code": "wrong-offset", "detail": "0 bytes have arrived"})
        elif method not in problems:
            route.continue_()
        elif method == "POST":
            problems.remove(method)
            busy = {"code": "too-many-requests", "detail": "more than 60 requests in a minute"}
            route.fulfill(status=429, headers={"Retry-After": "1"}, json=busy)
        else:
            problems.remove(method)
            held.append(route) if method == "PATCH" else route.abort()

    for path in ("**/v1/uploads", "**/v1/uploads/*", "**/fragments/**"):
        visit.page.route(path, interfere)
    visit.send(demo.video)
    expect(panel.get_by_role("progressbar", name="Explanation")).to_be_in_viewport()
    expect(panel.get_by_role("button", name="Cancel")).to_be_in_viewport()
    while not held:
        visit.page.wait_for_timeout(10)
    held[0].abort()
    expect(panel.locator("table.scores")).to_be_visible()
    assert problems == set()
    expect(panel.get_by_role("alert")).to_be_hidden()
    visit.errors.clear()  # Chromium reports the lost requests
    visit.end()


def test_a_cancelled_upload_does_not_disturb_the_next_one(
    browser: Browser,
    served: Served,
    demo: DemoResult,
) -> None:
    visit = Visit(browser, served)
    visit.page.clock.install()
    panel, chunks, deleted = visit.panel(), [], []

    def interfere(route: Route) -> None:
        method = route.request.method
        if method == "PATCH":
            chunks.append(route)
            if len(chunks) == 1:
                route.abort()  # the page waits, then tries again
            return
        if method == "DELETE":
            deleted.append(route.request.url)
        route.continue_()

    visit.page.route("**/v1/uploads/*", interfere)
    with visit.page.expect_event("requestfailed"):
        visit.send(demo.video)
    panel.get_by_role("button", name="Cancel").click()
    with visit.page.expect_request(lambda request: request.method == "PATCH"):
        panel.get_by_role("button", name="Score this video").click()
    visit.page.clock.run_for(60_000)  # longer than the cancelled upload would have waited
    expect(panel.get_by_role("button", name="Score this video")).to_be_disabled()
    assert len(deleted) == 1
    chunks[1].continue_()
    expect(panel.get_by_role("status")).to_contain_text("Done in")
    visit.errors.clear()
    visit.end()


def test_a_job_that_was_created_during_a_cancel_is_deleted(
    browser: Browser,
    served: Served,
    demo: DemoResult,
) -> None:
    visit = Visit(browser, served)
    held: list[Route] = []
    visit.page.route("**/v1/jobs", lambda route: held.append(route))
    with visit.page.expect_request("**/v1/jobs"):
        visit.send(demo.video, explain=True)
    visit.panel().get_by_role("button", name="Cancel").click()
    expect(visit.panel().get_by_role("status")).to_have_text("Cancelled.")
    with visit.page.expect_response(lambda response: response.request.method == "DELETE") as deleted:
        held[0].continue_()
    assert deleted.value.status == 204 and "/v1/jobs/" in deleted.value.url
    visit.end()


def test_a_cancel_or_delete_that_does_not_arrive_is_reported(
    browser: Browser,
    served: Served,
    demo: DemoResult,
) -> None:
    visit = Visit(browser, served)
    panel, alert = visit.panel(), visit.panel().get_by_role("alert")
    held: list[Route] = []
    visit.page.route("**/events", lambda route: held.append(route))  # the page learns nothing about the job
    visit.page.route("**/cancel", lambda route: route.abort())
    with visit.page.expect_request("**/events"):
        visit.send(demo.video)
    panel.get_by_role("button", name="Cancel").click()
    expect(alert).to_have_text(UNREACHABLE)
    job = visit.page.request.get(held[0].request.url.removesuffix("/events")).json() | {"state": "running"}
    event = f"event: job\ndata: {json.dumps(job | {'has_scores': False})}\n\n"
    held[0].fulfill(headers={"Content-Type": "text/event-stream"}, body=event)
    expect(panel.get_by_role("status")).to_have_text("The connection is lost. Trying again.")  # after the event
    expect(alert).to_have_text(UNREACHABLE)  # still
    visit.page.unroute("**/cancel")
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_role("button", name="Cancel")).to_be_hidden()
    expect(panel.get_by_role("button", name="Score this video")).to_be_focused()  # Tab goes on from there
    expect(alert).to_be_hidden()
    visit.page.unroute("**/events")
    visit.send(demo.video)
    expect(panel.get_by_role("status")).to_contain_text("Done in")
    visit.page.route("**/v1/jobs/*", lambda route: route.abort())
    panel.get_by_role("button", name="Delete this result now").click()
    expect(alert).to_have_text(UNREACHABLE)
    visit.page.unroute("**/v1/jobs/*")
    panel.get_by_role("button", name="Delete this result now").click()
    expect(panel.get_by_role("status")).to_have_text("The result has been deleted.")
    expect(panel.locator("input[type=file]")).to_be_focused()
    expect(alert).to_be_hidden()
    assert all("ERR_FAILED" in error for error in visit.errors)  # of the lost requests; no error of the script
    visit.errors.clear()
    visit.end()


def test_the_page_of_the_key_says_why_it_does_not_let_a_visitor_in(browser: Browser, served: Served) -> None:
    visit = Visit(browser, served, "/docs")
    page, alert = visit.page, visit.page.get_by_role("alert")
    shown: list[Route] = []

    def show(route: Route) -> None:
        shown.append(route)
        route.fulfill(content_type="text/html", body=render.page("login.html", current=""))

    def answer(route: Route) -> None:
        if not answers:
            route.abort()
        else:
            status, problem = answers.pop(0)
            route.fulfill(status=status, headers={"Retry-After": "1"}, json=problem)

    answers = [
        (429, {"code": "too-many-requests", "detail": "more than 5 requests in a minute"}),  # the page waits
        (401, {"code": "key-required", "detail": "this is not one of the server's keys"}),
    ]
    page.route("**/login", show)
    page.route("**/session", answer)
    page.goto(f"{served.url}/login")
    page.get_by_label("API key").fill("guess")
    page.keyboard.press("Enter")
    expect(alert).to_have_text("This is not one of the server's keys.")
    expect(page.get_by_label("API key")).to_be_focused()
    page.keyboard.press("Enter")
    expect(alert).to_have_text(UNREACHABLE)
    assert (len(shown), answers) == (1, [])
    answers.append((204, {}))
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert len(shown) == 2
    visit.errors.clear()  # Chromium reports the refused requests
    visit.end()


def test_what_cannot_be_sent_is_said_before_anything_is_sent(
    browser: Browser,
    served: Served,
    demo: DemoResult,
    tmp_path: Path,
) -> None:
    visit = Visit(browser, served)
    panel, alert = visit.panel(), visit.panel().get_by_role("alert")
    video = tmp_path / "moved.mp4"
    video.write_bytes(demo.video.read_bytes())
    panel.locator("input[type=file]").set_input_files(video)
    panel.get_by_label("Transcript").fill("a" * (MAX_TRANSCRIPT_CHARACTERS + 1))
    panel.get_by_role("button", name="Score this video").click()
    expect(alert).to_have_text("The transcript is longer than 400000 characters. Shorten it.")
    panel.get_by_label("Transcript").fill("")
    video.unlink()
    panel.get_by_role("button", name="Score this video").click()
    expect(alert).to_have_text("The file cannot be read: it has changed or moved. Choose it again.")
    expect(panel.get_by_role("button", name="Score this video")).to_be_enabled()
    visit.end()


def test_examples_can_be_copied_where_browsers_offer_no_clipboard(
    browser: Browser,
    served: Served,
) -> None:
    visit = Visit(browser, served, "/docs")
    visit.page.clock.install()
    visit.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")  # as over HTTP
    visit.page.get_by_role("button", name="Copy the example for curl").click()
    expect(visit.page.get_by_role("button", name="Selected: press Ctrl+C the example for curl")).to_be_visible()
    assert f"SERVER={served.url}" in visit.page.evaluate("getSelection().toString()")
    visit.page.clock.run_for(5_000)
    expect(visit.page.get_by_role("button", name="Copy the example for curl")).to_be_visible()  # again
    visit.end()
