"""Files of a table: NAME.md, NAME.tex and NAME.csv."""

from __future__ import annotations

from pathlib import Path

from crnet.experiments.rendering.rendered_table import RenderedTable
from crnet.utils.files import write_text


def write_table(folder: Path, name: str, table: RenderedTable, csv: str) -> list[Path]:
    """Write a table as Markdown and LaTeX, and its numbers as CSV.

    Args:
        folder: The folder; created if missing.
        name: Name of the files, without the extension.
        table: The table.
        csv: Text of the CSV file.

    Returns:
        The files.

    Raises:
        StorageError: The files cannot be written.
    """
    texts = {"md": f"# {table.title}\n\n{table.to_markdown()}", "tex": table.to_latex(), "csv": csv}
    for extension, text in texts.items():
        write_text(folder / f"{name}.{extension}", text)
    return [folder / f"{name}.{extension}" for extension in texts]
