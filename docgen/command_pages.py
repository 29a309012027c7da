"""Reference pages of the commands, from the help that the program prints."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
from dataclasses import dataclass, field
from unittest.mock import patch

from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.main import main
from docgen.markdown_text import escaped

WIDTH = 120
FOLDER = "reference/commands"


@dataclass
class HelpGroup:
    """A box of a command's help.

    Attributes:
        title: Its title, such as "options".
        text: The sentence under the title; "" if there is none.
        entries: How each argument is written, and what it means.
    """

    title: str
    text: str = ""
    entries: list[tuple[str, str]] = field(default_factory=list)


def command_pages() -> dict[str, str]:
    """Return the Markdown of every command's page by path, in the order of `crnet --help`."""
    overview = {f"{FOLDER}/index.md": _index()}
    return overview | {f"{FOLDER}/{name.replace(' ', '-')}.md": command_page(name) for name in COMMANDS}


def command_page(name: str) -> str:
    """Return the page of one command."""
    usage, groups = read_help(printed_help(name))
    text = inspect.cleandoc(command_class(name).__doc__ or "")
    parts = [f"# crnet {name}", _prose(text), f"```text\n{usage}\n```"]
    for group in groups:
        title = group.title[0].upper() + group.title[1:]
        parts += [f"## {title}", group.text, *(_entry(*entry) for entry in group.entries)]
    return "\n\n".join(filter(None, parts)) + "\n"


def printed_help(name: str) -> str:
    """Return what `crnet NAME --help` prints on a wide terminal without colours."""
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # in UTF-8, tyro draws lines around its groups
    with patch.dict(os.environ, {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}), contextlib.redirect_stdout(printed):
        code = main([*name.split(), "--help"])
    if code:
        raise RuntimeError(f"crnet {name} --help ends with {code}")
    printed.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.read())


def read_help(text: str) -> tuple[str, list[HelpGroup]]:
    """Split a command's help into its usage line and its boxes.

    An argument begins in the first column of its box; its help follows after two spaces or on indented lines. Lines
    above the rule inside a box describe the group.
    """
    usage = re.match(r"usage: (.*?)\n\n", text, flags=re.DOTALL)
    if usage is None:
        raise ValueError("the help has no usage line")
    groups: list[HelpGroup] = []
    for line in text.splitlines():
        if title := re.match(r"╭─ (.*?) ─", line):
            groups.append(HelpGroup(title[1]))
        elif line.startswith("│") and groups and line.strip("│ "):
            _add_line(groups[-1], line.strip("│").rstrip()[1:])
    return " ".join(usage[1].split()), groups


def _add_line(group: HelpGroup, line: str) -> None:
    entries = group.entries
    if re.fullmatch("─+", line):
        group.text = " ".join(" ".join(entry).strip() for entry in entries)
        entries.clear()
    elif line.startswith(" ") and entries:
        written, meaning = entries[-1]
        entries[-1] = written, f"{meaning} {line.strip()}".strip()
    else:
        written, _, meaning = line.partition("  ")
        entries.append((written.strip(), meaning.strip()))


def _entry(written: str, meaning: str) -> str:
    """Return an argument as a heading that can be linked to, and its help."""
    names = [name for name in re.findall(r"--?[a-z][\w.-]*", written.partition(" {")[0]) if name.startswith("--")]
    anchor = (names[0] if names else written.split()[0]).strip("-").lower().replace(".", "-")
    return f"### `{written}` {{ #{anchor} }}\n\n{_prose(meaning)}"


def _prose(text: str) -> str:
    """Return help text as Markdown that shows its signs as they are."""
    parts = re.split(r"(`[^`]*`)", text)  # code stays as it is
    return "".join(part if part.startswith("`") else escaped(part) for part in parts)


def _index() -> str:
    rows = "\n".join(f"| [`crnet {name}`]({name.replace(' ', '-')}.md) | {text} |" for name, text in COMMANDS.items())
    return (
        "# Commands\n\nThese pages are generated from the help of each command. [The command line](../../cli.md)"
        f" describes what they have in common.\n\n| command | what it does |\n|---|---|\n{rows}\n"
    )
