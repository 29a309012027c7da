"""Pages of the site that live beside docs/, such as CONTRIBUTING.md."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
ROOT_PAGES = {
    "contributing.md": "CONTRIBUTING.md",
    "conduct.md": "CODE_OF_CONDUCT.md",
    "security.md": "SECURITY.md",
    "changelog.md": "CHANGELOG.md",
}
"""Files of the repository by their path in the site."""
SITE_PATHS = {file: page for page, file in ROOT_PAGES.items()} | {"README.md": "index.md"}


def root_pages() -> dict[str, str]:
    """Return the Markdown of the root pages by path in the site."""
    return {page: site_links((REPOSITORY / file).read_text(encoding="utf-8"), "") for page, file in ROOT_PAGES.items()}


def site_links(text: str, folder: str) -> str:
    """Turn relative links between files of the repository into links of the site.

    Links into docs/ become links between pages. A link to a file that is not on the site becomes its name as code.

    Args:
        text: Markdown of a page.
        folder: Where the page's file is in the repository, such as "docs/start"; "" is the top.
    """

    def replace(match: re.Match[str]) -> str:
        label, target = match["label"], match["target"]
        path, hash_, anchor = target.partition("#")
        if not path or "://" in target or target.startswith("mailto:"):
            return match[0]
        in_repository = posixpath.normpath(posixpath.join(folder, path))
        if in_repository.startswith("docs/"):
            page = in_repository.removeprefix("docs/")
        elif in_repository in SITE_PATHS:
            page = SITE_PATHS[in_repository]
        elif (REPOSITORY / in_repository).exists():
            is_named = label.startswith("`") or label == in_repository
            return f"`{label.strip('`')}`" if is_named else f"{label} (`{in_repository}` in the repository)"
        else:
            return match[0]  # MkDocs reports it
        start = folder.removeprefix("docs").strip("/")
        return f"[{label}]({posixpath.relpath(page, start or '.')}{hash_}{anchor})"

    return re.sub(r"(?<!\\)\[(?P<label>[^\]\n]*(?:\n[^\]\n]+)?)\]\((?P<target>[^)\s]+)\)", replace, text)
