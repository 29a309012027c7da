"""From the words of a command line to a command with its arguments, or to one line that says what is wrong."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import re
import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Any, get_type_hints

from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.options import Command
from crnet.errors import UsageError
from crnet.utils.suggestions import did_you_mean

GLOBAL_FLAGS = ("-v", "--verbose", "-q", "--quiet", "--debug")
HELP_FLAGS = ("-h", "--help")
COMPLETION_FLAGS = ("--tyro-print-completion", "--tyro-write-completion")
RENAMED_OPTIONS = {"--data": "--store", "--a-sentence-a-line": "--sentence-per-line"}
HELP_WIDTH = 80
MISSING_TITLE = "Required options"
CLEARER_SENTENCES = {
    r"^Error parsing (\S+): .*invalid literal for int\(\) with base 10: (.*)": r"\1: \2 is not a whole number",
    r"^Error parsing (\S+): .*could not convert string to float: (.*)": r"\1: \2 is not a number",
    r"^invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*)\)": r"\2: \1 is not one of \3",
    r"^Missing value for argument '(\S+)'\. Expected 1 values": r"\1 needs a value",
    r"^Unrecognized options: (\S+).*": r"unexpected argument \1",
}
"""tyro's sentences, and what we print instead."""

OVERVIEW = """usage: crnet COMMAND ...      (crnet COMMAND --help explains a command)

Predict apparent personality from short videos of a person talking to a camera: the
Big Five as strangers perceive them, and a job-interview score. These are
impressions, not facts: do not use them to decide about people.

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
    """Split a command line into the command's name and its words; global flags may stand anywhere.

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
            )
    except SystemExit as stop:
        if not stop.code:
            return None
        raise _usage_error(name, command, defaults, words, complaint.getvalue()) from None


def print_completion(words: Sequence[str]) -> int:
    """Print or write tyro's completion script for a shell; return the exit code."""
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


def _usage_error(
    name: str, command: type[Command], defaults: Command | None, words: Sequence[str], complaint: str
) -> UsageError:
    """Say in one line what tyro's box says."""
    options = set(option_names(command, defaults))
    for word in words[: words.index("--") if "--" in words else len(words)]:
        option = word.partition("=")[0]
        if re.match(r"--?[a-zA-Z]", option) and option.replace("_", "-") not in options:
            return _unknown_option(name, option, options)
    required = [_display_name(command, field.name) for field in dataclasses.fields(command) if _is_required(field)]
    missing = [label for label in required if re.search(rf"[\s│]{label}\s", complaint)]
    if MISSING_TITLE in complaint and missing:
        listed = " and ".join(filter(None, (", ".join(missing[:-1]), missing[-1])))
        verb = "is" if len(missing) == 1 else "are"
        return UsageError(f"crnet {name}: {listed} {verb} missing", remedy=f"usage: {_usage(name, required)}")
    return UsageError(_main_sentence(complaint), remedy=f"see crnet {name} --help")


def _unknown_option(name: str, option: str, options: Collection[str]) -> UsageError:
    """Name the option that was probably meant, or the commands that have the option."""
    reason = f"crnet {name} has no option {option}"
    renamed = RENAMED_OPTIONS.get(option, "")
    suggestion = f"did you mean {renamed}?" if renamed in options else did_you_mean(option, options)
    others = [other for other in COMMANDS if other != name and option in option_names(command_class(other))]
    if others:
        reason += f"; {' and '.join(others)} {'has' if len(others) == 1 else 'have'} it"
    return UsageError(reason, remedy=suggestion or f"see crnet {name} --help")


def _main_sentence(complaint: str) -> str:
    """Return the sentence between the title of tyro's box, drawn with lines or without, and its next rule."""
    lines = [line.strip("│ ") for line in complaint.splitlines()][1:]
    is_rule = [bool(line) and not line.strip("─-") for line in lines]
    start = 1 if is_rule[:1] == [True] else 0
    end = is_rule.index(True, start) if True in is_rule[start:] else len(lines)
    sentence = " ".join(lines[start:end]).rstrip(".") or "cannot parse these arguments"
    for pattern, replacement in CLEARER_SENTENCES.items():
        sentence = re.sub(pattern, replacement, sentence)
    return sentence


def option_names(command: type[Command], defaults: Command | None = None) -> Iterator[str]:
    """Yield every option of a command, such as `--model.width`; `defaults` holds its nested configuration."""
    yield from HELP_FLAGS
    yield from GLOBAL_FLAGS
    for field in dataclasses.fields(command):
        if not _is_positional(command, field.name):
            yield from _nested_option_names(field.name, getattr(defaults, field.name, None))


def _nested_option_names(path: str, value: Any) -> Iterator[str]:
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _nested_option_names(f"{path}.{field.name}", getattr(value, field.name))
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        for number, item in enumerate(value):
            yield from _nested_option_names(f"{path}.{number}", item)
    else:
        parent, dot, last = path.replace("_", "-").rpartition(".")
        yield f"--{parent}{dot}{last}"
        if isinstance(value, bool) and dot:
            yield f"--{parent}{dot}no-{last}"


def _metadata(command: type[Command], field_name: str) -> tuple[object, ...]:
    return getattr(get_type_hints(command, include_extras=True)[field_name], "__metadata__", ())


def _is_positional(command: type[Command], field_name: str) -> bool:
    from tyro.conf import Positional

    return Positional in _metadata(command, field_name)


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _display_name(command: type[Command], field_name: str) -> str:
    if _is_positional(command, field_name):
        return field_name.upper()
    return "--" + field_name.replace("_", "-")


def _usage(name: str, required: Sequence[str]) -> str:
    words = (f"{label} {label.strip('-').upper()}" if label.startswith("-") else label for label in required)
    return f"crnet {name} {' '.join(words)} ..."
