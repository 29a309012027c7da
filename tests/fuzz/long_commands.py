"""The commands that take long, with inputs so small that each runs in seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CONFIG = """
model: {width: 8, frames: 4}
transforms: {frames: 4, pixels: 24}
training: {tensorboard: false, stages: [{epochs: 1}, {epochs: 2}]}
fusion: {trees: 3}
"""
SIZE = ("--seconds", "1.5", "--fps", "8", "--height", "96", "--voice", "built-in")
TRAINED = ("--preset", "tiny", "--config", "inputs/config.yaml")
TEXT = "The cat sat on the mat. The dog ran to the door. A bird sang in the tree. We saw it all from here.\n\n"
LIMIT_S = 600.0
TEXT_SIZES = ("--uni", "8", "--bi", "8", "--word-dimensions", "8", "--words", "40", "--batch-size", "8")


@dataclass(frozen=True)
class LongCommand:
    """A command that writes to `out`.

    Attributes:
        name: Its name in the results.
        words: The command line, in a folder that holds `inputs`.
        kills: Number of kills out of 100.
        copied: The folder of `inputs` that `out` starts as, for a command that changes a folder.
        exit_code: What it returns at the end.
    """

    name: str
    words: tuple[str, ...]
    kills: int
    copied: str | None = None
    exit_code: int = 0


INPUTS = (
    LongCommand("people", ("simulate", "inputs/people", "--clips", "10", *SIZE, "--workers", "0"), 0),
    LongCommand("store", ("simulate", "inputs/store", "--to-store", "--clips", "20", *SIZE, "--workers", "0"), 0),
    LongCommand("run", ("train", "inputs/store", "inputs/run", *TRAINED), 0),
    LongCommand("encoder", ("text", "train", "inputs/book.txt", "inputs/encoder", "--epochs", "1", *TEXT_SIZES), 0),
)

COMMANDS = (
    LongCommand("simulate", ("simulate", "out", "--clips", "10", *SIZE, "--workers", "2"), 14),
    LongCommand("simulate --to-store", ("simulate", "out", "--to-store", "--clips", "20", *SIZE, "--workers", "2"), 12),
    LongCommand("prepare", ("prepare", "inputs/people", "out", "--frames-per-segment", "1", "--workers", "2"), 16),
    LongCommand("embed", ("embed", "out", "--encoder", "skip-thoughts:inputs/encoder"), 12, "store"),
    LongCommand("text train", ("text", "train", "inputs/book.txt", "out", "--epochs", "2", *TEXT_SIZES), 8),
    LongCommand("train", ("train", "inputs/store", "out", *TRAINED), 14),
    LongCommand("evaluate --protocol", ("evaluate", "out", "inputs/store", "--protocol", "video-disjoint"), 6, "run"),
    LongCommand(
        "reproduce",
        ("reproduce", "table6", "--store", "inputs/store", "--out", "out", *TRAINED, "--seeds", "1", "--workers", "1"),
        6,
    ),
    LongCommand("predict", ("predict", "inputs/run", "inputs/people", "--out", "out/scores.jsonl"), 6),
    LongCommand("explain", ("explain", "inputs/run", "inputs/video.mp4", "--out", "out"), 4),
    LongCommand("demo", ("demo", "out", "--clips", "30", "--workers", "2"), 2),
)


def start(words: tuple[str, ...], folder: Path, mark: str = "") -> subprocess.Popen[bytes]:
    """Start a command in a folder. All its processes carry the mark in their environment; its output is in log.txt."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CRNET_FUZZ_MARK": mark}
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "crnet", *words, "--quiet"],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def finish(command: LongCommand, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for the end of a command.

    Raises:
        RuntimeError: It failed, or took longer than the limit.
    """
    try:
        code = process.wait(LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        raise RuntimeError(f"{command.name}: not finished after {LIMIT_S:.0f} s") from None
    if code != command.exit_code:
        log = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{command.name}: exit code {code}: {log[-500:]}")


def run(command: LongCommand, folder: Path) -> None:
    """Run a command to its end; see `finish`."""
    finish(command, start(command.words, folder), folder)


def make_inputs(folder: Path) -> None:
    """Make the inputs of all commands below `folder/inputs`, unless an earlier call did."""
    inputs = folder / "inputs"
    if (inputs / "complete").exists():
        return
    inputs.mkdir(parents=True, exist_ok=True)
    (inputs / "config.yaml").write_text(CONFIG)
    (inputs / "book.txt").write_text(TEXT * 8)
    for command in INPUTS:
        run(command, folder)
    video = sorted((inputs / "people").rglob("*.mp4"))[0]
    (inputs / "video.mp4").write_bytes(video.read_bytes())
    (inputs / "complete").touch()
