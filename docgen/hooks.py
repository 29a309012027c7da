"""Hooks of MkDocs: add generated pages and copied files, list pages in the navigation, and mark commands not run."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docgen.api_pages import api_pages
from docgen.code_blocks import mark_blocks
from docgen.command_pages import command_pages
from docgen.rest_page import OPENAPI_PATH, PATH, openapi_document, rest_page
from docgen.root_pages import linked_pages, published_files, root_pages, site_links

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
    for path, file in published_files().items():
        files.append(File.generated(config, path, abs_src_path=str(file)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Adapt links that leave docs/, and mark commands that are not run."""
    path = page.file.src_uri
    if path not in GENERATED:
        markdown = site_links(markdown, posixpath.join("docs", posixpath.dirname(path)).rstrip("/"))
    return mark_blocks(_with_plain_pipes(markdown), path)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link the pages that the text names."""
    return linked_pages(html, page.file.src_uri)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Correct what the theme writes."""
    return _corrected(output)


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    """Say on the page for wrong addresses what to do."""
    if template_name != "404.html":
        return output
    heading = "<h1>404 - Not found</h1>"
    start = urlsplit(config.site_url or "").path or "/"
    advice = f'<p>There is no such page. Search for it, or begin at <a href="{start}">the first page</a>.</p>'
    if heading not in output:
        raise PluginError(f"the theme's 404.html has no {heading}: adapt docgen/hooks.py")
    return _corrected(output.replace(heading, heading + advice))


def _corrected(output: str) -> str:
    """Name the search dialog for screen readers, and keep the theme from asking GitHub about the repository."""
    output = output.replace('role="dialog"', 'role="dialog" aria-label="Search"')
    return output.replace('data-md-component="source"', "")


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
