"""A small part of the campaigns of docs/reliability.md, on every run of the tests."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crnet.cli import main as cli
from crnet.errors import CrnetError, FormatError
from tests.fuzz import kills
from tests.fuzz.files import FileJob, run_file_job
from tests.fuzz.long_commands import CONFIG, SIZE, TEXT, TEXT_SIZES, TRAINED, LongCommand
from tests.fuzz.measure import FAULT, HONEST, REFUSED, SAME, CaseResult, classify
from tests.fuzz.media import MediaJob, run_media_job
from tests.fuzz.mutators import MUTATORS, mutate_bytes
from tests.fuzz.structure_mutators import STRUCTURED
from tests.skip_thoughts_files import write_kiros_files
from tests.synthetic import write_store

SEED = 16


def run_all(run: Callable[[Any], CaseResult], make_job: Any, count: int, work: Path) -> list[CaseResult]:
    """Run the first cases of a campaign in this process, and find none with a fault."""
    results = [run(make_job(number, SEED, work)) for number in range(count)]
    assert [result for result in results if result.outcome == FAULT] == []
    return results


def test_damaged_media_files_are_read_or_refused(tmp_path: Path) -> None:
    results = run_all(run_media_job, MediaJob, 60, tmp_path)
    outcomes = Counter(result.outcome for result in results)
    assert outcomes[HONEST] > 20, "most damage leaves something to read"
    assert outcomes[REFUSED] > 3


def test_damaged_bundles_stores_and_labels_are_refused_or_mean_the_same(tmp_path: Path) -> None:
    results = run_all(run_file_job, FileJob, 60, tmp_path)
    outcomes = Counter(result.outcome for result in results)
    assert outcomes[REFUSED] > 20
    assert len({result.kind for result in results}) > 8


FEW = ("--frames-per-segment", "1")
KILLED = (
    LongCommand("simulate", ("simulate", "out", "--to-store", "--clips", "3", *FEW, *SIZE, "--workers", "0"), 1),
    LongCommand("train", ("train", "inputs/store", "out", *TRAINED), 1),
    LongCommand("embed", ("embed", "out", "--encoder", "skip-thoughts:inputs/encoder"), 1, "store"),
    LongCommand("text train", ("text", "train", "inputs/book.txt", "out", "--epochs", "2", *TEXT_SIZES), 1),
)


@pytest.mark.parametrize("command", KILLED, ids=lambda command: command.name)
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in Linux's /proc")
def test_a_killed_command_leaves_nothing_and_ends_as_if_undisturbed(
    command: LongCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = tmp_path / "inputs"
    write_store(inputs / "store", clips=12, pixels=16, frames_per_segment=1, duration_s=0.25)
    write_kiros_files(inputs / "encoder")
    (inputs / "book.txt").write_text(TEXT * 8)
    (inputs / "config.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    kills.new_out(command, tmp_path)
    start_s = time.perf_counter()
    run_here(command, tmp_path)
    reference = kills.Reference(kills.snapshot(tmp_path / "out"), time.perf_counter() - start_s, starts_s=0)
    result = kills.kill_once(command, tmp_path, reference, np.random.default_rng(SEED), run_here)
    assert result.faults == ()
    assert not result.finished


def run_here(command: LongCommand, folder: Path) -> None:
    """Run a command in this process, which has imported its libraries already."""
    assert cli.main([*command.words, "--quiet"]) == 0


# The campaign itself: what it does to files, and what it calls a fault.


@pytest.mark.parametrize("mutator", MUTATORS, ids=lambda mutator: mutator.__name__)
def test_damage_changes_a_file_and_depends_on_the_seed_alone(mutator: Callable[..., bytes]) -> None:
    content = bytes(range(256)) * 8
    changed = [mutator(content, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    assert changed[0] != content
    assert changed[0] == changed[1] != changed[2]


def test_empty_files_can_be_damaged() -> None:
    for seed in range(200):
        mutate_bytes(b"", b"", np.random.default_rng(seed))


def test_structured_damage_keeps_most_files_readable() -> None:
    content = b'{"a": [1, 2, {"b": "text"}], "c": 0.5}'
    changed = [STRUCTURED[".json"](content, np.random.default_rng(seed))[0] for seed in range(20)]
    assert len(set(changed)) > 10


@pytest.mark.parametrize(
    ("read", "outcome"),
    [
        (lambda: 1, SAME),
        (lambda: 2, HONEST),
        (lambda: 3, FAULT),
        (lambda: [][0], FAULT),
        (lambda: refuse(FormatError("damaged", path="/in/here/file")), REFUSED),
        (lambda: refuse(FormatError("damaged")), FAULT),
        (lambda: refuse(CrnetError("/in/here/file: unexpected KeyError: 'a'")), FAULT),
    ],
)
def test_the_campaign_knows_a_fault(read: Callable[[], Any], outcome: str) -> None:
    def judge(result: int) -> Any:
        return iter(["odd"] if result % 2 else [])

    assert classify(read, 1, judge, ("/in/here",))[0] == outcome


def refuse(error: CrnetError) -> None:
    raise error


def test_a_result_that_changed_is_found(tmp_path: Path) -> None:
    for name, text in (("a.json", '{"seconds": 1, "x": 2}'), ("b.txt", "b")):
        (tmp_path / name).write_text(text)
    before = kills.snapshot(tmp_path)
    (tmp_path / "a.json").write_text('{"seconds": 9, "x": 2}')
    assert kills.differences(before, kills.snapshot(tmp_path)) == []
    (tmp_path / "a.json").write_text('{"seconds": 9, "x": 3}')
    (tmp_path / "b.txt").unlink()
    (tmp_path / ".tmp-c").touch()
    assert kills.differences(before, kills.snapshot(tmp_path)) == ["another a.json", "no b.txt", "left behind: .tmp-c"]
