"""Hooks of MkDocs: add the generated pages, list them in the navigation, and mark commands that are not run."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docgen.api_pages import api_pages
from docgen.code_blocks import mark_blocks
from docgen.command_pages import command_pages
from docgen.rest_page import OPENAPI_PATH, PATH, openapi_document, rest_page
from docgen.root_pages import root_pages, site_links

GENERATED: dict[str, str] = {}
"""The generated files by path, made once for each build."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Generate the pages, and replace each folder in the navigation by its pages."""
    api = openapi_document()
    GENERATED.update(command_pages() | api_pages() | root_pages())
    GENERATED.update({PATH: rest_page(api), OPENAPI_PATH: json.dumps(api, indent=1)})
    config.nav = [_with_pages(item) for item in config.nav or []]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated files."""
    for path, content in GENERATED.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adapt links that leave docs/, and mark commands that are not run."""
    path = page.file.src_uri
    if path not in GENERATED:
        markdown = site_links(markdown, posixpath.join("docs", posixpath.dirname(path)).rstrip("/"))
    return mark_blocks(_with_plain_pipes(markdown), path)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Name the theme's search dialog for screen readers."""
    return output.replace('role="dialog"', 'role="dialog" aria-label="Search"')


def _with_plain_pipes(markdown: str) -> str:
    r"""Write `a \| b` in tables as `a | b`: Python-Markdown shows the backslash, which GitHub needs."""
    rows = (
        re.sub(r"`[^`]*`", lambda code: code[0].replace(r"\|", "|"), line) if line.startswith("|") else line
        for line in markdown.splitlines()
    )
    return "\n".join(rows) + "\n"


def _with_pages(item: Any) -> Any:
    if isinstance(item, dict):
        return {title: _with_pages(value) for title, value in item.items()}
    if isinstance(item, list):
        return [_with_pages(value) for value in item]
    if isinstance(item, str) and item.endswith("/"):
        return [path for path in GENERATED if path.startswith(item) and path.endswith(".md")]
    return item
