"""Parts that a page gets after its template is rendered: the list of its sections."""

from __future__ import annotations

import re

FEWEST_SECTIONS = 4
"""A page with fewer sections needs no list of them."""


def with_contents(page: str) -> str:
    """Return a page with an anchor at every section (h2), and a list of links to them before the first one.

    Args:
        page: HTML; text from outside is escaped already.
    """
    anchors: dict[str, str] = {}

    def add_anchor(match: re.Match[str]) -> str:
        words = re.sub(r"<[^>]*>|&[^;\s]*;", " ", match["text"])
        name = "-".join(re.findall(r"[a-z0-9]+", words.lower())) or "section"
        while name in anchors:
            name += "-"
        anchors[name] = match["text"]
        return f'<h2 id="{name}">{match["text"]}</h2>'

    page = re.sub(r"<h2>(?P<text>.*?)</h2>", add_anchor, page, flags=re.DOTALL)
    if len(anchors) < FEWEST_SECTIONS:
        return page
    links = "\n".join(f'<li><a href="#{name}">{text}</a></li>' for name, text in anchors.items())
    contents = f'<nav class="contents" aria-label="Contents">\n<ul>\n{links}\n</ul>\n</nav>\n'
    first = page.index("<h2 id=")
    return page[:first] + contents + page[first:]
