"""Kill a long command at a random moment, run it again, and compare the result with that of an undisturbed run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.fuzz.long_commands import COMMANDS, LongCommand, finish, make_inputs, run, start

GONE_AFTER_S = 10.0  # a worker that lives longer than this after its parent is an orphan
POLL_S = 0.02
WHILE_WRITING = 0.5  # share of the kills
EARLIEST = 0.1  # share of the command's time; before that, it imports libraries
HEADER_SIZE_BYTES = 8
TIMED_KEYS = frozenset({"seconds", "samples_per_s", "waiting_share", "scored_at"})  # differ from run to run


@dataclass(frozen=True)
class KillResult:
    """What happened to one killed command.

    Attributes:
        number: Number of the kill in its campaign.
        command: Name of the command.
        after_s: When it was killed.
        finished: Whether it ended before the kill.
        faults: Everything that is not as it should be.
    """

    number: int
    command: str
    after_s: float
    finished: bool
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """The result of an undisturbed run: its files, how long it took, and when it began to write."""

    files: dict[str, str]
    seconds: float
    starts_s: float


def undisturbed(command: LongCommand, folder: Path) -> Reference:
    """Run a command to its end."""
    make_inputs(folder)
    new_out(command, folder)
    start_s = time.perf_counter()
    process = start(command.words, folder)
    _wait_for_change(process, folder / "out")
    starts_s = time.perf_counter() - start_s
    finish(command, process, folder)
    return Reference(snapshot(folder / "out"), time.perf_counter() - start_s, starts_s)


def kill_once(
    command: LongCommand,
    folder: Path,
    reference: Reference,
    rng: np.random.Generator,
    run_again: Callable[[LongCommand, Path], None] = run,
    number: int = 0,
) -> KillResult:
    """Start a command, kill its first process at a random moment, run it again, and compare the results.

    Half of the moments are at any time, half after the command has begun to write.
    """
    new_out(command, folder)
    mark, start_s = uuid.uuid4().hex, time.perf_counter()
    process = start(command.words, folder, mark)
    earliest_s = EARLIEST * reference.seconds
    if rng.random() < WHILE_WRITING:
        _wait_for_change(process, folder / "out")
        earliest_s = reference.starts_s
    time.sleep(float(rng.uniform(0, 1)) * (reference.seconds - earliest_s))
    after_s = time.perf_counter() - start_s
    finished = process.poll() is not None
    process.kill()
    process.wait()
    faults = [f"a process of it lives on: {words}" for words in _survivors(mark)]
    try:
        run_again(command, folder)
    except RuntimeError as error:
        faults.append(str(error))
    else:
        faults += list(differences(reference.files, snapshot(folder / "out")))
    return KillResult(number, command.name, after_s, finished, tuple(faults))


def snapshot(folder: Path) -> dict[str, str]:
    """Return a hash of each file below a folder, without the times that it records."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(_comparable(path)).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "tensorboard"  # its names hold the time and the process
    }


def new_out(command: LongCommand, folder: Path) -> None:
    """Delete what a command wrote, and copy the folder that it changes."""
    shutil.rmtree(folder / "out", ignore_errors=True)
    if command.copied is not None:
        shutil.copytree(folder / "inputs" / command.copied, folder / "out")


def _wait_for_change(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a process changes the names in a folder, or ends."""
    before = _names(folder)
    while process.poll() is None and _names(folder) == before:
        time.sleep(POLL_S)


def _names(folder: Path) -> set[str]:
    return {f"{parent}/{name}" for parent, _, names in os.walk(folder) for name in names}


def _comparable(path: Path) -> bytes:
    content = path.read_bytes()
    if path.suffix == ".json":
        return _sorted(_untimed(json.loads(content)))
    if path.suffix == ".jsonl":
        return _sorted([_untimed(json.loads(line)) for line in content.splitlines()])
    if path.name == "last.safetensors":  # holds the log
        end = HEADER_SIZE_BYTES + int.from_bytes(content[:HEADER_SIZE_BYTES], "little")
        header = json.loads(content[HEADER_SIZE_BYTES:end])
        state = json.loads(header.pop("__metadata__")["crnet"])
        state.pop("about_sha256", None)
        return _sorted([header, _untimed(state)]) + content[end:]
    return content


def _sorted(document: Any) -> bytes:
    """Return JSON text with sorted keys: a log that is resumed has its keys in another order."""
    return json.dumps(document, sort_keys=True).encode()


def _untimed(document: Any) -> Any:
    """Return a JSON document without the times in it."""
    if isinstance(document, dict):
        return {key: _untimed(value) for key, value in document.items() if key not in TIMED_KEYS}
    return [_untimed(value) for value in document] if isinstance(document, list) else document


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """Return what a snapshot has too little, too much or different."""
    changed = sorted(name for name in expected if expected[name] != found.get(name))
    return [
        *(f"another {name}" if name in found else f"no {name}" for name in changed),
        *(f"left behind: {name}" for name in sorted(set(found) - set(expected))),
    ]


def _survivors(mark: str) -> list[str]:
    """Return the command lines of the processes that carry a mark, once they had time to end."""
    deadline = time.monotonic() + GONE_AFTER_S
    while (alive := _marked(mark)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return alive


def _marked(mark: str) -> list[str]:
    """Return the command lines of the running processes that carry a mark in their environment."""
    words = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                words.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200])
        except OSError:  # it has ended, or is not ours
            continue
    return words


@dataclass(frozen=True)
class Schedule:
    """How many kills, shared by the commands as their `kills` say, and the seed of their moments."""

    kills: int
    seed: int

    def commands(self) -> list[LongCommand]:
        """Return the command of each kill, those of one command together."""
        total = sum(command.kills for command in COMMANDS)
        ends = np.cumsum([command.kills for command in COMMANDS]) * self.kills // total
        return [
            command
            for command, start, end in zip(COMMANDS, [0, *ends[:-1]], ends, strict=True)
            for _ in range(start, end)
        ]


def run_kills(schedule: Schedule, folder: Path, done: Collection[int] = ()) -> Iterator[KillResult]:
    """Run the kills of a schedule, but not those whose numbers are done."""
    folder.mkdir(parents=True, exist_ok=True)
    references: dict[str, Reference] = {}
    for number, command in enumerate(schedule.commands()):
        if number in done:
            continue
        if command.name not in references:
            references[command.name] = undisturbed(command, folder)
        rng = np.random.default_rng([schedule.seed, number])
        yield kill_once(command, folder, references[command.name], rng, number=number)
