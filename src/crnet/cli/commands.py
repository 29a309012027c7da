"""The commands by what is typed. Heavy imports stand inside the functions, so that `crnet --help` answers at once."""

from __future__ import annotations

from collections.abc import Callable

from crnet.cli.demo import demo
from crnet.cli.embed import embed
from crnet.cli.evaluate import evaluate
from crnet.cli.explain import explain
from crnet.cli.predict import predict
from crnet.cli.prepare import prepare
from crnet.cli.reproduce import reproduce
from crnet.cli.serve import serve
from crnet.cli.simulate import simulate
from crnet.cli.text import text_fetch, text_train
from crnet.cli.train import train

__all__ = ["COMMANDS", "train"]

COMMANDS: dict[str, Callable[..., int]] = {
    command.__name__.replace("_", " "): command
    for command in (
        demo, simulate, prepare, embed, train, evaluate, predict, explain, serve, reproduce, text_fetch, text_train,
    )
}  # fmt: skip
"""A name may have two words, such as "text train"."""
