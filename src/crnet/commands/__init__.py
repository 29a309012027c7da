"""What each command does: call the work, print what a person wants to know. `crnet.cli` parses.

Heavy imports stand inside the functions, so that `crnet --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Callable

from crnet.commands.bench import bench
from crnet.commands.data import prepare, simulate
from crnet.commands.paper import reproduce
from crnet.commands.system import demo, evaluate, train
from crnet.commands.video import explain, predict, serve
from crnet.commands.words import embed, text_fetch, text_train

__all__ = ["COMMANDS", "train"]

COMMANDS: dict[str, Callable[..., int]] = {
    command.__name__.replace("_", " "): command
    for command in (
        demo, simulate, prepare, embed, train, evaluate, predict, explain, serve, reproduce, bench,
        text_fetch, text_train,
    )
}  # fmt: skip
"""By what is typed; a name may have two words."""
