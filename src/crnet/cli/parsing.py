"""From the words of a command line to a command with its arguments, or to one line that says what is wrong."""

from __future__ import annotations

import contextlib
import inspect
import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.options import GLOBAL_FLAGS, Command
from crnet.cli.usage_errors import EMPTY_PATH, usage_error
from crnet.errors import UsageError
from crnet.utils.suggestions import did_you_mean

if TYPE_CHECKING:
    from tyro.constructors import ConstructorRegistry

COMPLETION_FLAGS = ("--tyro-print-completion", "--tyro-write-completion")
HELP_WIDTH = 80
SHELLS = ("bash", "zsh", "fish")
OVERVIEW = """usage: crnet COMMAND ...      (crnet COMMAND --help explains a command)

Predict apparent personality from short videos of a person talking to a camera:
the Big Five as strangers perceive them, and a job-interview score. The scores
are impressions, not facts: do not use them to make decisions about
people.

commands:
{commands}

options, with any command:
  -h, --help     explain the command
  -v, --verbose  log details
  -q, --quiet    log only warnings and show no progress
  --debug        show the traceback of an error
  --version      print the version and exit
"""


def overview(group: str = "") -> str:
    """Return the text of `crnet --help`, or that of a group of commands such as `crnet text --help`."""
    names = [name for name in COMMANDS if name.startswith(group)]
    rows = "\n".join(f"  {name:<11} {COMMANDS[name]}" for name in names)
    if not group:
        return OVERVIEW.format(commands=rows)
    return (
        f"usage: crnet {group} COMMAND ...      (crnet {group} COMMAND --help explains a command)\n\ncommands:\n{rows}"
    )


def command_groups() -> set[str]:
    """Return the first words of the commands with two, such as text."""
    return {name.split()[0] for name in COMMANDS if " " in name}


def split_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """Split a command line into the command's name and its words; global flags may appear anywhere.

    Raises:
        UsageError: There is no such command.
    """
    end = words.index("--") if "--" in words else len(words)
    flags = [word for word in words[:end] if word in GLOBAL_FLAGS]
    others = [*(word for word in words[:end] if word not in GLOBAL_FLAGS), *words[end:]]
    for count in (2, 1):
        if (name := " ".join(others[:count])) in COMMANDS:
            return name, [*flags, *others[count:]]
    first = others[0] if others else ""
    if first in command_groups() and len(others) == 1:
        names = (name for name in COMMANDS if name.startswith(first))
        raise UsageError(f"crnet {first} needs a command", remedy=f"one of {', '.join(names)}")
    name = " ".join(others[: 2 if first in command_groups() else 1])
    raise UsageError(f"unknown command {name!r}", remedy=did_you_mean(name, COMMANDS) or "see crnet --help")


def parse(name: str, words: Sequence[str]) -> Command | None:
    """Parse the words after a command's name.

    Returns:
        The command, ready to be called; None if its help has been printed.

    Raises:
        UsageError: The words do not fit the command; the message is one line.
    """
    import tyro

    command = command_class(name)
    defaults = command.defaults(words)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                command,
                prog=f"crnet {name}",
                description=_wrapped(inspect.cleandoc(command.__doc__ or "")),
                args=words,
                default=tyro.MISSING_NONPROP if defaults is None else defaults,
                config=(tyro.conf.PositionalMetavarFromFieldName,),
                registry=_path_rule(),
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise usage_error(name, command, defaults, words, complaint.getvalue()) from None


def _path_rule() -> ConstructorRegistry:
    """Return tyro's rule for paths, but without the empty one, which would mean the current folder."""
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def path(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Path] | None:
        if info.type is not Path:
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar="PATH",
            instance_from_str=lambda words: _path(words[0]),
            is_instance=lambda value: isinstance(value, Path),
            str_from_instance=lambda value: [str(value)],
        )

    return registry


def _path(word: str) -> Path:
    if not word:
        raise ValueError(EMPTY_PATH)
    return Path(word)


def print_completion(words: Sequence[str]) -> int:
    """Print or write tyro's completion script for a shell; return the exit code.

    Raises:
        UsageError: The shell is missing or unknown.
    """
    if len(words) < 2 or words[1] not in SHELLS:
        raise UsageError(f"{words[0]} needs a shell", remedy=f"one of {', '.join(SHELLS)}")
    from tyro.extras import SubcommandApp

    app, groups = SubcommandApp(), dict[str, SubcommandApp]()
    for name in COMMANDS:
        *group, last = name.split()
        parent = groups.setdefault(group[0], SubcommandApp()) if group else app
        parent.command(name=last)(command_class(name))
    for group_name, commands in groups.items():
        app.command(commands, name=group_name)
    try:
        app.cli(prog="crnet", args=words)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def _wrapped(text: str) -> str:
    """Break the paragraphs of a docstring for a terminal; tyro keeps line breaks only before indented lines."""
    first, *others = (" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    wrapper = textwrap.TextWrapper(HELP_WIDTH, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join([first, *map(wrapper.fill, others)])
