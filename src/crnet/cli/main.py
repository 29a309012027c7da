"""The command line: parse, run one command, turn every error into one line and an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

import crnet
from crnet.cli.exit_codes import EXIT_DONE, EXIT_ERROR, EXIT_FAILURES, EXIT_INTERRUPTED
from crnet.cli.options import GLOBAL_FLAGS, HELP_FLAGS, Command
from crnet.cli.parsing import (
    COMPLETION_FLAGS,
    command_groups,
    overview,
    parse,
    print_completion,
    split_command,
)
from crnet.errors import CrnetError, printable
from crnet.utils.extras import install_command
from crnet.utils.files import write_error_remedy

# torchrun sets it. Its processes wait for each other in native code, where they would not notice a handler.
ENDED_BY_TORCHRUN = "TORCHELASTIC_RUN_ID"
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))  # Windows has one


def run() -> NoReturn:
    """Run the program `crnet`.

    SIGTERM, with which systemd, Slurm and preempted machines end programs, and SIGHUP, which a closed terminal or a
    lost connection sends, stop a command in order like Ctrl-C: it releases its lock, deletes its temporary files and
    says how to go on. Then the signal has its usual effect. A signal that the caller ignores, as nohup does, stays
    ignored.
    """
    ended: list[int] = []

    def stop(number: int, _: object) -> None:
        for each in ENDING:  # a login session sends both
            signal.signal(each, signal.SIG_IGN)
        if hasattr(signal, "SIGCHLD"):
            # torch's handler raises an error when a loader's process ends.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        ended.append(number)
        raise KeyboardInterrupt

    if ENDED_BY_TORCHRUN not in os.environ:
        for each in ENDING:
            if signal.getsignal(each) == signal.SIG_DFL:
                signal.signal(each, stop)
    try:
        code = main()
    finally:
        for number in ended:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
    sys.exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; see `crnet.cli.exit_codes`."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    command: Command | None = None
    try:
        if (code := _answer_without_command(words)) is not None:
            return code
        command = parse(*split_command(_with_help_flag(words)))
        if command is None:
            return EXIT_DONE
        _log_to_stderr(command)
        code = command()
        if sys.stdout is not None:
            sys.stdout.flush()  # a full disk or a closed pipe shows here, not at exit
        return code
    except CrnetError as error:
        return _fail(str(error), debug)
    except ModuleNotFoundError as error:
        module = error.name or str(error)
        remedy = install_command(module, command.extras if command else ())
        return _fail(f"the Python module {module} is not installed ({remedy})", debug)
    except KeyboardInterrupt:
        with suppress(OSError):  # the terminal was closed
            print("stopped" if command is None else command.stopped(), file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_FAILURES
    except OSError as error:
        _discard_stdout()
        where = "" if error.filename is None else f"{error.filename}: "
        is_missing = isinstance(error, FileNotFoundError)
        remedy = "check the name; --debug shows who asked for it" if is_missing else write_error_remedy(error)
        return _fail(f"{where}{error.strerror or error} ({remedy})", debug)
    except Exception as error:
        return _fail(f"unexpected {type(error).__name__}: {error} (this is a bug; --debug shows where)", debug)


def _answer_without_command(words: Sequence[str]) -> int | None:
    """Answer requests for the overview, the version and completion scripts; None if a command is needed."""
    if words and words[0] in COMPLETION_FLAGS:
        return print_completion(words)
    others = [word for word in words if word not in GLOBAL_FLAGS]
    is_help = [word for word in others if word in (*HELP_FLAGS, "help")]
    named = [word for word in others if word not in is_help]
    if others[:1] == ["--version"]:
        print(crnet.__version__)
    elif not named:
        print(overview())
        return EXIT_DONE if is_help else EXIT_ERROR
    elif is_help and len(others) == 2 and named[0] in command_groups():
        print(overview(named[0]))
    else:
        return None
    return EXIT_DONE


def _with_help_flag(words: Sequence[str]) -> list[str]:
    """Turn `help COMMAND` into `COMMAND --help`."""
    return [*words[1:], "--help"] if words[0] == "help" else list(words)


def _log_to_stderr(command: Command) -> None:
    """Show the log of this package as the command's flags say, and only warnings of others."""
    logging.addLevelName(logging.WARNING, "warning: ")
    for level in (logging.INFO, logging.DEBUG):
        logging.addLevelName(level, "")
    logging.basicConfig(format="%(levelname)s%(message)s", handlers=[_StderrHandler()])
    level = logging.DEBUG if command.verbose else logging.WARNING if command.quiet else logging.INFO
    logging.getLogger("crnet").setLevel(level)


class _StderrHandler(logging.Handler):
    """Prints records to the current stderr, which progress bars replace while they are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        print("\n".join(map(printable, self.format(record).split("\n"))), file=sys.stderr)


def _discard_stdout() -> None:
    """Point stdout at nothing: its reader is gone or it cannot be written, and Python flushes it again at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    line = " ".join(message.split())
    print(line if line.startswith("crnet ") else f"crnet: {line}", file=sys.stderr)
    return EXIT_ERROR


if __name__ == "__main__":
    run()
