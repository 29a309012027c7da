"""The report of a run in Chromium: nothing is wider than the box that holds it."""

from __future__ import annotations

import pytest
from serve_visit import CHROMIUM, DESKTOP, PHONE, Browser

from crnet.demo import DemoResult

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install Debian's package chromium"),
]
TOO_NARROW = """() => [...document.querySelectorAll("html, .card, .tile, .warn, .sheet")]
    .filter(box => box.scrollWidth > box.clientWidth).map(box => box.innerText.slice(0, 60))"""


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_no_box_of_the_report_is_too_narrow_for_its_content(
    browser: Browser, demo: DemoResult, size: tuple[int, int]
) -> None:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    page.goto((demo.out / "report.html").as_uri())
    assert page.locator(".card td").count() > 0
    assert page.evaluate(TOO_NARROW) == []
    page.close()
