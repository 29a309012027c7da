"""Pages and files of the site that live beside docs/, such as CONTRIBUTING.md, and links between files."""

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
PUBLISHED = ("examples", "tests/unit/plugins/crnet_diary", "LICENSE", "CITATION.cff")
"""Files and folders of the repository that the site has copies of, under the same paths."""
SITE_PATHS = {file: page for page, file in ROOT_PAGES.items()} | {"README.md": "index.md"}


def root_pages() -> dict[str, str]:
    """Return the Markdown of the root pages by path in the site."""
    return {page: site_links((REPOSITORY / file).read_text(encoding="utf-8"), "") for page, file in ROOT_PAGES.items()}


def published_files() -> dict[str, Path]:
    """Return the files of PUBLISHED by path: the site has copies, so that its readers need no repository."""
    paths = [path for name in PUBLISHED for path in [REPOSITORY / name, *sorted((REPOSITORY / name).rglob("*"))]]
    files = [path for path in paths if path.is_file() and "__pycache__" not in path.parts]
    return {path.relative_to(REPOSITORY).as_posix(): path for path in files}


def site_links(text: str, folder: str) -> str:
    """Turn relative links between files of the repository into links of the site.

    Links into docs/ become links between pages, with the page's title where the link shows a file name. A link to a
    file that is not on the site becomes its name as code.

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
        elif _is_published(in_repository):
            page = in_repository
        elif (REPOSITORY / in_repository).exists():
            is_named = label.startswith("`") or label == in_repository
            return f"`{label.strip('`')}`" if is_named else f"{label} (`{in_repository}` in the repository)"
        else:
            return match[0]  # MkDocs reports it
        start = folder.removeprefix("docs").strip("/")
        return f"[{_readable(label, in_repository)}]({posixpath.relpath(page, start or '.')}{hash_}{anchor})"

    return re.sub(r"(?<!\\)\[(?P<label>[^\]\n]*(?:\n[^\]\n]+)?)\]\((?P<target>[^)\s]+)\)", replace, text)


def linked_pages(html: str, page: str) -> str:
    """Turn names such as `docs/paper.md` in the text of a page into links; docstrings and help name pages so.

    Args:
        html: Content of the page.
        page: Its path in the site, such as "reference/api/models.md".
    """

    def replace(match: re.Match[str]) -> str:
        if not (REPOSITORY / match[0]).is_file():
            return match[0]
        address = posixpath.relpath(match["name"], posixpath.dirname(page) or ".")
        return f'<a href="{address}.html">{_title(match[0])}</a>'

    return re.sub(r"(?<![\w/])docs/(?P<name>[a-z/-]+)\.md(?![^<>]*>)(?!</(?:a|code)>)", replace, html)


def _is_published(path: str) -> bool:
    return any(path == name or path.startswith(f"{name}/") for name in PUBLISHED) and (REPOSITORY / path).is_file()


def _readable(label: str, in_repository: str) -> str:
    """Return what a link shows: the title of a page instead of the name of its file."""
    is_file_name = label.endswith(".md") and in_repository.endswith(label)
    return _title(in_repository) if is_file_name else label


def _title(in_repository: str) -> str:
    path = REPOSITORY / in_repository
    heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE) if path.is_file() else None
    return heading[1] if heading else posixpath.basename(in_repository)
