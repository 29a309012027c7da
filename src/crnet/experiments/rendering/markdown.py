"""Pieces of Markdown for the sections' texts."""

from __future__ import annotations

from pathlib import Path


def unwrap(text: str) -> str:
    """Return Markdown with each paragraph on one line; tables keep their lines."""
    paragraphs = [paragraph.strip() for paragraph in text.split("\n\n")]
    return "\n\n".join(
        paragraph if paragraph.startswith("|") else " ".join(paragraph.split()) for paragraph in paragraphs if paragraph
    )


def image_link(path: Path, alt: str) -> str:
    """Return the Markdown that shows a picture from the folder of the page."""
    return f"![{alt}]({path.name})"
