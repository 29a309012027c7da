"""The command line: find the command, let tyro parse, turn errors into one line. `crnet.cli.commands` does the rest."""

from __future__ import annotations

import atexit
import contextlib
import functools
import inspect
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NoReturn, get_type_hints

import crnet
from crnet.cli.commands import COMMANDS, train
from crnet.cli.exit_codes import EXIT_DONE, EXIT_ERROR, EXIT_FAILURES
from crnet.errors import CrnetError, UsageError

EXIT_INTERRUPTED = 130

USAGE = """usage: crnet COMMAND ...      (crnet COMMAND --help explains one)

Apparent personality from short videos of a person talking to a camera: the Big Five
as strangers judge them, and a job-interview score. Impressions, not facts: do not use
them to decide about people.

{commands}

options:
  --version   print the version
  --debug     with any command: show the traceback of an error
"""


def run() -> NoReturn:
    """The program: one command, and out at once.

    Python would spend 0.4 s on taking torch apart, a tenth of what scoring one video from a cold start takes.
    """
    code = main()
    atexit._run_exitfuncs()  # what others want done at the end, as always
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.flush()
    os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code: 0 done, 1 a batch with failures, 2 bad input or usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _answer(words, debug)
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a reader who has gone shows here, not at exit
        return code
    except (CrnetError, ModuleNotFoundError) as error:
        message = str(error) if isinstance(error, CrnetError) else _missing_package(error)
        return _fail(message, debug)
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return EXIT_FAILURES
    except OSError as error:
        _forget_stdout()
        where = "" if error.filename is None else f"{error.filename}: "
        return _fail(f"{where}{error.strerror or error} (free some space, or choose another place)", debug)
    except Exception as error:
        return _fail(f"unexpected {type(error).__name__}: {error} (a bug: --debug shows where)", debug)


def _answer(words: list[str], debug: bool) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage())
        return EXIT_DONE if words else EXIT_ERROR
    if words[0] == "--version":
        print(crnet.__version__)
        return EXIT_DONE
    _log_to_stderr(debug)
    two = " ".join(words[:2])  # such as "text train"
    return _run(two, words[2:]) if two in COMMANDS else _run(words[0], words[1:])


def _forget_stdout() -> None:
    """Whoever read our output has gone, or it cannot be written; Python must not complain at exit again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _log_to_stderr(debug: bool) -> None:
    """Show what our library says, and only the warnings of others."""
    logging.addLevelName(logging.WARNING, "warning: ")
    logging.addLevelName(logging.INFO, "")
    logging.basicConfig(format="%(levelname)s%(message)s")
    logging.getLogger("crnet").setLevel(logging.DEBUG if debug else logging.INFO)


def usage() -> str:
    """The text of `crnet --help`."""
    rows = (f"  {name:<11} {_summary(command)}" for name, command in COMMANDS.items())
    return USAGE.format(commands="commands:\n" + "\n".join(rows))


def _summary(command: Callable[..., object]) -> str:
    return (command.__doc__ or "").strip().splitlines()[0]


def _fail(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print("crnet: " + " ".join(message.split()), file=sys.stderr)
    return EXIT_ERROR


def _missing_package(error: ModuleNotFoundError) -> str:
    return f'the package {error.name} is not installed (pip install "crnet[all]" brings all that crnet can use)'


def _run(name: str, words: list[str]) -> int:
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}", remedy=f"one of {', '.join(COMMANDS)}")
    command = COMMANDS[name]
    if name == "train":
        command = _with_preset_fields(words)
    return int(_parse_and_call(name, command, words))


def _parse_and_call(name: str, command: Callable[..., Any], words: list[str]) -> int:
    """Let tyro parse; its boxed complaints become one line."""
    import tyro

    complaint = io.StringIO()
    help_wanted = "-h" in words or "--help" in words
    style = (tyro.conf.FlagCreatePairsOff,)
    try:
        with contextlib.nullcontext() if help_wanted else contextlib.redirect_stderr(complaint):
            call = tyro.cli(_deferred(command), prog=f"crnet {name}", args=words, config=style)
    except SystemExit as stop:
        if not stop.code:
            return EXIT_DONE
        raise UsageError(_one_line(complaint.getvalue()), remedy=f"see crnet {name} --help") from None
    return int(call())


def _deferred(command: Callable[..., int]) -> Callable[..., Callable[[], int]]:
    """The command with the same flags and help that, called, only remembers its arguments."""
    import tyro

    def remember(*args: Any, **kwargs: Any) -> Callable[[], int]:
        return functools.partial(command, *args, **kwargs)

    kinds = get_type_hints(command)
    parameters = []
    for parameter in inspect.signature(command).parameters.values():
        kind = kinds[parameter.name]
        if parameter.kind is parameter.POSITIONAL_ONLY:  # help calls it by its name instead of PATH
            kind = Annotated[kind, tyro.conf.arg(metavar=parameter.name.upper())]
        parameters.append(parameter.replace(annotation=kind))
    remember.__doc__ = command.__doc__
    remember.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    remember.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return remember


def _one_line(box: str) -> str:
    """What stands in tyro's box, which may be drawn with lines or without, between its title and the next rule."""
    lines = [line.strip("│ ") for line in box.splitlines()][1:]
    is_rule = [bool(line) and not line.strip("─-") for line in lines]
    start = 1 if is_rule[:1] == [True] else 0
    until = is_rule.index(True, start) if True in is_rule[start:] else len(lines)
    return " ".join(lines[start:until]) or "cannot make sense of these arguments"


def _with_preset_fields(words: Sequence[str]) -> Callable[..., int]:
    """`train` with a flag for every field of the configuration, whose defaults are those of the preset named."""
    from crnet.config import PRESET_NAMES, PRESETS, Preset

    given = [b for a, b in zip(words, [*words[1:], ""], strict=True) if a == "--preset"]
    given += [word.removeprefix("--preset=") for word in words if word.startswith("--preset=")]
    chosen: Preset = next((name for name in PRESET_NAMES if given and name == given[-1]), "paper")
    config = PRESETS[chosen]
    parts = ("transforms", "model", "training", "fusion")

    def command(*args: Any, **kwargs: Any) -> int:
        return train(*args, **kwargs)

    plain = inspect.signature(train)
    fields = [p for p in plain.parameters.values() if p.kind is not p.VAR_KEYWORD]
    kinds: dict[str, Any] = {**get_type_hints(train), "preset": Preset}
    fields = [p.replace(annotation=kinds[p.name], default=chosen if p.name == "preset" else p.default) for p in fields]
    fields += [
        inspect.Parameter(
            part, inspect.Parameter.KEYWORD_ONLY, annotation=type(getattr(config, part)), default=getattr(config, part)
        )
        for part in parts
    ]
    command.__signature__ = inspect.Signature(fields, return_annotation=int)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in fields}
    command.__doc__ = train.__doc__
    return command


if __name__ == "__main__":
    sys.exit(main())
