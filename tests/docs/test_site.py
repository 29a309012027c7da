"""Tests of the built site: links, requests, errors, and accessibility in Chromium. `make docs-check` runs them.

CRNET_TEST_SITE names the built site; CRNET_SCREENSHOTS a folder for a picture of every page, for a person to look at.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("CRNET_TEST_SITE", "no site"))
pytestmark = pytest.mark.skipif(not SITE.is_dir(), reason="make docs-check builds the site and sets CRNET_TEST_SITE")
PAGES = sorted(SITE.rglob("*.html")) if SITE.is_dir() else []
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = os.environ.get("CRNET_SCREENSHOTS")
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "video": "src"}
NOT_LOADED = {"prev", "next", "canonical"}  # links in the head that load nothing


class PageParser(HTMLParser):
    """The ids, the links and the loaded files of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {value for name in ("id", "name") if (value := values.get(name))}
        if tag == "a" and values.get("href") is not None:
            self.links.append(values["href"] or "")
        elif tag in LOADING and (address := values.get(LOADING[tag])) and values.get("rel") not in NOT_LOADED:
            self.loaded.append(address)


@functools.cache
def parsed(page: Path) -> PageParser:
    parser = PageParser()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def target_of(page: Path, link: str) -> tuple[Path, str]:
    parts = urlsplit(link)
    path = (page.parent / unquote(parts.path)).resolve() if parts.path else page.resolve()
    return (path / "index.html" if path.is_dir() else path), unquote(parts.fragment)


def test_the_site_has_every_page_of_the_navigation() -> None:
    names = {page.relative_to(SITE).as_posix() for page in PAGES}
    assert {"index.html", "start/newcomer.html", "reference/rest.html", "reference/commands/train.html"} <= names
    assert len(names) > 60


def test_links_and_anchors_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        if page.name == "404.html":
            continue  # its addresses begin at the root of the server
        for link in parsed(page).links:
            if urlsplit(link).scheme:
                continue
            path, anchor = target_of(page, link)
            if not path.is_file():
                broken.append(f"{page.relative_to(SITE)}: {link}: no such file")
            elif anchor and path.suffix == ".html" and anchor not in parsed(path).ids and anchor != "__skip":
                broken.append(f"{page.relative_to(SITE)}: {link}: no such anchor")
    assert broken == []


def test_pages_load_nothing_from_elsewhere() -> None:
    outside = {address for page in PAGES for address in parsed(page).loaded if urlsplit(address).netloc}
    assert outside == set()
    styles = [path for path in SITE.rglob("*.css") if "url(http" in path.read_text(encoding="utf-8").replace('"', "")]
    assert styles == []


def test_the_search_knows_every_page() -> None:
    index = json.loads((SITE / "search" / "search_index.json").read_text(encoding="utf-8"))
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    pages = {page.relative_to(SITE).as_posix() for page in PAGES} - {"404.html"}
    assert pages - {"index.html"} <= found
    assert any("bell_loss" in entry["title"] for entry in index["docs"])


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    handler = functools.partial(QuietHandler, directory=str(SITE.resolve()))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is missing: install Debian's package chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pages_in_a_browser(address: str, size: str, scheme: str) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    faults: list[str] = []
    checks_access = (size, scheme) in (("desktop", "light"), ("phone", "dark"))  # axe takes seconds for a long page
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        width, height = SIZES[size]
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(120_000)
        page = context.new_page()
        page.on(
            "console", lambda message: faults.append(f"{page.url}: {message.text}") if message.type == "error" else 0
        )
        page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
        page.on(
            "request",
            lambda request: (
                faults.append(f"{page.url} asks for {request.url}")
                if not request.url.startswith((address, "data:", "blob:"))
                else 0
            ),
        )
        for file in PAGES:
            name = file.relative_to(SITE).as_posix()
            faults += look_at(page, f"{address}/{name}", axe.Axe() if checks_access else None, width)
            if SCREENSHOTS:
                picture = Path(SCREENSHOTS) / f"{name.replace('/', '-')}-{size}-{scheme}.png"
                page.screenshot(path=str(picture), full_page=False)
        browser.close()
    assert faults == []


def look_at(page: object, url: str, axe: object | None, width: int) -> list[str]:
    """Open a page, and return what is wrong with it; None for axe leaves accessibility out."""
    page.goto(url)  # type: ignore[attr-defined]
    page.wait_for_load_state("load")  # type: ignore[attr-defined]
    wide = page.evaluate("document.documentElement.scrollWidth")  # type: ignore[attr-defined]
    faults = [f"{url}: {wide} pixels wide in a window of {width}"] if wide > width else []
    if axe is None:
        return faults
    violations = axe.run(page).response["violations"]  # type: ignore[attr-defined]
    for violation in violations:
        if violation["impact"] in ("serious", "critical"):
            nodes = [" ".join(map(str, node["target"])) for node in violation["nodes"][:3]]
            faults.append(f"{url}: {violation['id']}: {nodes}")
    return faults
