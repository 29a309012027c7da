"""The list of commands. `crnet --help` imports none of them; each one imports its libraries when it runs.

tyro's own subcommands serve the completion scripts alone: to print `crnet --help`, tyro imports every command, which
takes a second because `train` needs torch, and it lists whole docstrings instead of their first sentences.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from crnet.cli.options import Command

COMMANDS = {
    "demo": "Run the whole pipeline on synthetic people.",
    "simulate": "Make a dataset of synthetic people with known scores.",
    "prepare": "Turn a dataset into a clip store of frames, faces, sound and text.",
    "merge": "Merge clip stores prepared apart, or pack one into shards.",
    "embed": "Replace the text vectors of a clip store.",
    "train": "Train the streams and the fusion on a clip store.",
    "evaluate": "Evaluate a trained system, or any system's predictions.",
    "compare": "Compare systems on the same clips.",
    "audit": "Compare a system's scores between groups of people.",
    "card": "Write a model card: what is known about a run, and what is not.",
    "push": "Upload a run to the Hugging Face Hub.",
    "predict": "Score videos with a trained system.",
    "export": "Export a trained system as OpenVINO graphs, also in int8.",
    "explain": "Explain a video's scores, or compute a split's key-point ratio.",
    "serve": "Serve a REST API and a web page that score videos.",
    "reproduce": "Make the tables and figures of the paper from your own data.",
    "text fetch": "Download and check the published skip-thoughts files.",
    "text train": "Train a skip-thoughts encoder on plain text.",
}
"""Each command with the first sentence of its help. A name may have two words."""


def command_class(name: str) -> type[Command]:
    """Return the class of a command: "text train" is `TextTrain` in `crnet.cli.text`."""
    module = import_module(f"crnet.cli.{name.split()[0]}")
    return cast("type[Command]", getattr(module, name.title().replace(" ", "")))
