"""Tests of `python -m benchmarks` as a user calls it."""

from __future__ import annotations

import json

import pytest

from benchmarks.__main__ import main
from benchmarks.registry import SCRIPTS, TABLE, script, table_part

COLUMNS = ["name", "value", "unit", "goal", "holds", "limit", "detail"]


def test_the_command_prints_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forest", "--quick", "--json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert {row["name"] for row in rows} >= {"forest: time to grow", "forest: size", "forest: one clip"}
    assert all(list(row) == COLUMNS for row in rows)
    assert "cores" in err


def test_the_command_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["forest", "--quick"]) == 0
    out, _ = capsys.readouterr()
    assert "goals hold" in out and "forest: size" in out


def test_help_lists_every_benchmark_on_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    for name, summary in {**TABLE, **SCRIPTS}.items():
        assert f"{name} {summary}" in lines


@pytest.mark.parametrize("name", [*TABLE, *SCRIPTS])
def test_every_benchmark_has_its_module_help_and_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(script(name).measure if name in SCRIPTS else table_part(name).measure)
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert "--json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "NAME"),
        (["everything"], "everything"),
        (["forest", "--repeats", "0"], "0 repeats"),
        (["prepare", "--quick", "--video", "no-such.mp4"], "no such file"),
    ],
)
def test_bad_calls_print_one_line(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(words)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "benchmarks" in last and ": " in last and reason in last


@pytest.mark.slow
def test_every_part_of_the_table_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["all", "--quick", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["name"].split(":")[0] for row in rows} == set(TABLE)
    assert len({row["name"] for row in rows}) == len(rows) >= 15
