"""Mistakes in a command line: one sentence that says what is wrong and what was probably meant."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, get_type_hints

from crnet.cli.commands import COMMANDS, command_class
from crnet.cli.options import GLOBAL_FLAGS, HELP_FLAGS, Command
from crnet.errors import UsageError
from crnet.utils.suggestions import did_you_mean
from crnet.utils.text_format import join_words

RENAMED_OPTIONS = {
    "--data": "--store",
    "--a-sentence-a-line": "--sentence-per-line",
    "--keep-min": "--keep-minutes",
    "--csv": "--out",
    "--at-once": "--workers",
}
MISSING_TITLE = "Required options"
WRONG_CHOICE = re.compile(r"^invalid choice (?P<value>.*) for argument '(?P<option>\S+)'.*one of \((?P<choices>.*)\)")
EMPTY_PATH = "the path is empty: is a variable of the shell unset?"
CLEARER_SENTENCES = {
    rf"^Error parsing \[?([^\s\]]+)\]?: (.*{re.escape(EMPTY_PATH)}|Could not find valid parse .*''.*)": (
        rf"\1: {EMPTY_PATH}"
    ),
    r"^Error parsing (\S+): .*invalid literal for int\(\) with base 10: (.*)": r"\1: \2 is not a whole number",
    r"^Error parsing (\S+): .*could not convert string to float: (.*)": r"\1: \2 is not a number",
    r"^Missing value for argument '(\S+)'\. Expected 1 values": r"\1 needs a value",
    r"^Unrecognized options: (\S+).*": r"unexpected argument \1",
}
"""tyro's sentences, and what we print instead."""


def usage_error(
    name: str, command: type[Command], defaults: Command | None, words: Sequence[str], complaint: str
) -> UsageError:
    """Return the error for words that tyro refused, in one sentence instead of its box.

    Args:
        name: The command's name.
        command: Its class.
        defaults: Its default values, which hold the nested configuration, or None.
        words: The words that were parsed.
        complaint: What tyro printed.
    """
    options = set(option_names(command, defaults))
    for word in words[: words.index("--") if "--" in words else len(words)]:
        option = word.partition("=")[0]
        if re.match(r"--?[a-zA-Z]", option) and option.replace("_", "-") not in options:
            return _unknown_option(name, option, options)
    required = [_display_name(command, field.name) for field in dataclasses.fields(command) if _is_required(field)]
    missing = [label for label in required if re.search(rf"[\s│]{label}\s", complaint)]
    if MISSING_TITLE in complaint and missing:
        return missing_arguments(name, command, missing)
    return UsageError(_main_sentence(complaint), remedy=f"see crnet {name} --help")


def missing_arguments(name: str, command: type[Command], missing: Sequence[str]) -> UsageError:
    """Return the error for missing arguments, named as in the help; a list of paths is missing with those before it."""
    fields = dataclasses.fields(command)
    lists = [_display_name(command, field.name) for field in fields if _is_list(command, field)]
    missing = list(dict.fromkeys([*missing, *lists]))
    required = [_display_name(command, field.name) for field in fields if _is_required(field)]
    verb = "is" if len(missing) == 1 else "are"
    usage = _usage(name, [*required, *lists])
    return UsageError(f"crnet {name}: {join_words(missing)} {verb} missing", remedy=f"usage: {usage}")


def _unknown_option(name: str, option: str, options: Collection[str]) -> UsageError:
    """Name the option that was probably meant, or the commands that have the option."""
    reason = f"crnet {name} has no option {option}"
    renamed = RENAMED_OPTIONS.get(option, "")
    suggestion = f"did you mean {renamed}?" if renamed in options else did_you_mean(option, options)
    others = [other for other in COMMANDS if other != name and option in option_names(command_class(other))]
    if others:
        reason += f"; {join_words(others)} {'has' if len(others) == 1 else 'have'} it"
    return UsageError(reason, remedy=suggestion or f"see crnet {name} --help")


def _main_sentence(complaint: str) -> str:
    """Return the sentence between the title of tyro's box, drawn with lines or without, and its next rule."""
    lines = [line.strip("│ ") for line in complaint.splitlines()][1:]
    is_rule = [bool(line) and not line.strip("─-") for line in lines]
    start = 1 if is_rule[:1] == [True] else 0
    end = is_rule.index(True, start) if True in is_rule[start:] else len(lines)
    sentence = " ".join(lines[start:end]).rstrip(".") or "cannot parse these arguments"
    if match := WRONG_CHOICE.search(sentence):
        choices = sorted(set(re.findall(r"'([^']+)'", match["choices"])) - {"None"})
        return f"{match['option']}: {match['value']} is not one of {', '.join(choices)}"
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
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _nested_option_names(f"{path}.{key}", item)
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


def _is_list(command: type[Command], field: dataclasses.Field[Any]) -> bool:
    """Return whether the argument is a list of values, of which the command needs at least one."""
    return field.default == () and _is_positional(command, field.name)


def _display_name(command: type[Command], field_name: str) -> str:
    if _is_positional(command, field_name):
        metavars = (getattr(item, "metavar", None) for item in _metadata(command, field_name))
        return next(filter(None, metavars), field_name.upper())
    return "--" + field_name.replace("_", "-")


def _usage(name: str, required: Sequence[str]) -> str:
    words = (f"{label} {label.strip('-').upper()}" if label.startswith("-") else label for label in required)
    return f"crnet {name} {' '.join(words)} ..."
