"""The command `crnet reproduce`: names, plan and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crnet.cli.main import main
from crnet.cli.reproduce import chosen_experiments
from crnet.experiments.registry import EXPERIMENTS


def test_every_table_of_the_paper_has_a_name() -> None:
    names = ["table1", "table2", "table3", "table4", "table5", "table6", "table7", "open-choices", "extremes"]
    assert list(EXPERIMENTS)[: len(names)] == names
    assert [experiment.name for experiment in chosen_experiments("all")] == list(EXPERIMENTS)
    assert [experiment.name for experiment in chosen_experiments("table4, table3")] == ["table3", "table4"]


def test_plan_lists_networks_without_training(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "table3", "--store", str(store), "--out", str(tmp_path / "out"), "--preset", "tiny"]
    assert main([*words, "--seeds", "2", "--backbones", "r2d34", "--plan", "--json"]) == 0
    networks = json.loads(capsys.readouterr().out)["networks"]
    assert len(networks) == 2 * 5
    assert {network["needed_by"][0] for network in networks} == {"table3"}
    assert not any(network["trained"] or network["epochs_done"] for network in networks)
    assert not (tmp_path / "out").exists()
    assert main([*words, "--seeds", "1", "--plan"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "7 networks, 0 of them trained"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table8"], "unknown table or figure 'table8'"),
        (["table3", "--seeds", "0"], "seeds must be 1 or more"),
        (["table3", "--workers", "-1"], "-1 workers (use 0 or more; 0 works in this process)"),
        (["table3", "--backbones", "vgg"], "unknown backbone 'vgg'"),
        (
            ["table3", "--store", "{}"],
            "is no clip store (make a store: crnet prepare {} STORE, and give --store STORE)",
        ),
        (["table3", "--store", "{}/none"], "does not exist"),
        (["table3", "--preset", "huge"], "huge"),
    ],
)
def test_bad_usage_prints_one_line(
    words: list[str], message: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [word.replace("{}", str(tmp_path)) for word in words]
    if "--store" not in words:
        words += ["--store", str(store)]
    assert main(["reproduce", *words, "--out", str(tmp_path / "out")]) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert message.replace("{}", str(tmp_path)) in line
