"""What each command does: call the work, print what a person wants to know. `crnet.cli` parses.

Heavy imports stand inside the functions, so that `crnet --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable

from crnet.commands.data import prepare, simulate
from crnet.commands.system import demo, evaluate, train
from crnet.commands.video import explain, predict, serve

__all__ = ["COMMANDS", "train"]

COMMANDS: dict[str, Callable[..., int]] = {
    command.__name__: command for command in (demo, simulate, prepare, train, evaluate, predict, explain, serve)
}
