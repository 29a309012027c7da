"""The command `crnet reproduce`: names, plan and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crnet.cli.main import main
from crnet.cli.reproduce import chosen_experiments
from crnet.cli.reproduce_plan import flop_text, hours_text
from crnet.config import PRESETS
from crnet.experiments.registry import EXPERIMENTS
from crnet.experiments.reproduce import reproduce


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
    lines = capsys.readouterr().out.splitlines()
    assert lines[6].startswith("audio-text, cr-block")
    assert lines[7] == "7 networks, 0 of them trained"


def test_plan_prints_the_cost(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reproduce", "table3", "--store", str(store), "--out", str(tmp_path / "out"), "--preset", "tiny"]
    words += ["--backbones", "r2d34", "--seeds", "1", "--device", "cpu", "--plan"]
    assert main([*words, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["flop"] == plan["flop_left"] == sum(network["flop"] for network in plan["networks"]) > 0
    assert [device["measured"] for device in plan["devices"]] == [True, False]
    assert plan["devices"][1]["hours"] == pytest.approx(plan["flop"] / 100e12 / 3600)
    assert main(words) == 0
    *_, work, here, elsewhere = capsys.readouterr().out.splitlines()
    assert work == f"still to compute: {flop_text(plan['flop'])}, without reading clips and growing trees"
    assert "this CPU" in here and "judging by a few training steps" in here
    assert elsewhere == "less than two minutes on a GPU at an assumed 100 TFLOP/s"


def test_a_plan_for_a_folder_of_another_configuration_is_refused(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce((), store, tmp_path, PRESETS["tiny"], workers=1)
    words = ["reproduce", "table3", "--store", str(store), "--out", str(tmp_path), "--preset", "tiny", "--plan"]
    assert main([*words, "--model.width", "24"]) == 2
    assert "config.model.width was 16 and is now 24" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--plan"], []])
def test_initial_weights_that_do_not_fit_are_refused_before_anything_is_trained(
    words: list[str], store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    call = ["reproduce", "table3", "--store", str(store), "--out", str(out), "--preset", "tiny", *words]
    assert main([*call, "--init", str(tmp_path / "none.safetensors")]) == 2
    assert "none.safetensors: not found" in capsys.readouterr().err
    assert not (out / "nets").exists() and not (out / "settings.json").exists()


@pytest.mark.parametrize(
    ("flop", "text"),
    [(10.04e18, "10 EFLOP"), (8.4424e18, "8.44 EFLOP"), (183.42e9, "183 GFLOP"), (5.3e12, "5.3 TFLOP")],
)
def test_operations_are_printed_with_three_digits(flop: float, text: str) -> None:
    assert flop_text(flop) == text


@pytest.mark.parametrize(
    ("hours", "text"),
    [(1234.5, "about 1,234 hours"), (27.9, "about 28 hours"), (2.94, "about 2.9 hours"), (0.5, "about 30 minutes")],
)
def test_hours_are_rounded(hours: float, text: str) -> None:
    assert hours_text(hours) == text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fig4"], "unknown table or figure 'fig4' (choose from all, table1, "),  # fig9 is no better guess than fig5
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
