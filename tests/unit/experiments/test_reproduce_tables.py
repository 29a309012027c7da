"""All tables on a small store of noise with the smallest networks: they are complete and consistent."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_workspace import TINY

from crnet.config import Config
from crnet.data.manifest import read_manifest, write_manifest
from crnet.data.splits import SplitProtocol
from crnet.errors import ConfigError, FormatError, LabelError, UsageError
from crnet.experiments import plan as plan_module
from crnet.experiments.claims import Claim
from crnet.experiments.config_overrides import with_losses, with_model
from crnet.experiments.net_spec import FAILURE_NAME, NetSpec, is_trained
from crnet.experiments.paper.extremes import extremes
from crnet.experiments.paper.open_choices import open_choices
from crnet.experiments.paper.published import COLUMNS
from crnet.experiments.paper.tables import TABLES, table_4, table_6
from crnet.experiments.reproduce import Report, reproduce
from crnet.experiments.score_methods import predict
from crnet.experiments.table_experiment import Table, TableRow
from crnet.experiments.workspace import Workspace
from crnet.fusion.held_out import FEWEST_HELD_OUT_CLIPS
from crnet.metrics import accuracy
from crnet.types import TARGETS, DataSource, Split
from crnet.utils.executors import Executor
from synthetic import write_store

EVERYTHING = (*TABLES, open_choices, extremes)
CLAIMS = 70 + 8  # of the paper, and open choices


@pytest.fixture(scope="module")
def reproduced(store: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """Reproduce everything once, with one seed."""
    out = tmp_path_factory.mktemp("results")
    paths = (str(store), str(out))  # strings work as well as paths
    report = reproduce(EVERYTHING, *paths, TINY, seeds=(0,), workers=1, command="crnet x", preset="smallest")
    return out, report


@pytest.fixture(scope="module")
def results(reproduced: tuple[Path, Report]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((reproduced[0] / "results.json").read_text(encoding="utf-8"))
    return document


def test_every_table_is_written_in_every_format(reproduced: tuple[Path, Report]) -> None:
    out, report = reproduced
    assert report.failures == {}
    assert report.sections == tuple(experiment.name for experiment in EVERYTHING)
    for name in report.sections:
        assert {path.name for path in (out / name).iterdir()} >= {f"{name}.{kind}" for kind in ("md", "tex", "csv")}


def test_the_index_links_every_file_and_states_how_it_was_made(reproduced: tuple[Path, Report]) -> None:
    out, _ = reproduced
    text = (out / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 40
    assert all((out / link).is_file() for link in links)
    for words in (
        "crnet x",
        "smallest",
        "12 train, 4 val, 4 test",
        "torch",
        "synthetic",
        "Of 70 claims",
        "Of 8 claims",
    ):
        assert words in text


def test_no_row_is_empty_and_every_claim_is_judged(results: dict[str, Any]) -> None:
    assert results["failures"] == {}
    claims = [claim for section in results["sections"].values() for claim in section["data"].get("claims", ())]
    assert len(claims) == CLAIMS
    for name in ("table1", "table3", "table4", "table5", "table6", "table7", "open-choices"):
        for row in results["sections"][name]["data"]["rows"]:
            assert row["failure"] is None
            assert ("accuracy" in row) == (row["predictor"] is not None)
            if row["predictor"] is not None:
                assert list(row["accuracy"]) == list(COLUMNS)
                assert all(0 < value["mean"] <= 1 and value["sd"] is None for value in row["accuracy"].values())


def test_equal_networks_give_equal_rows(results: dict[str, Any]) -> None:
    def rows(name: str) -> dict[tuple[str, str], Any]:
        return {(r["group"], r["name"]): r.get("accuracy") for r in results["sections"][name]["data"]["rows"]}

    full = rows("table4")["Face", "CR-block and Bell loss"]
    assert rows("table3")["Video, 2-D", "face"] == full == rows("table7")["Face", "4 classes"]
    assert rows("table5")["Scene", "all three"] == rows("table4")["Scene", "Bell loss"]
    assert rows("table6")["Scene", "CR-block"] == rows("table4")["Scene", "CR-block"]
    assert rows("table3")["All, 3-D", "video + audio + text"] == rows("table1")["3-D, features summed", "all"]
    assert (
        rows("table1")["2-D, features concatenated", "all"]
        == rows("open-choices")["Joining the streams", "extra-trees, features concatenated"]
    )


def test_a_row_holds_the_scores_of_its_network(
    reproduced: tuple[Path, Report], store: Path, results: dict[str, Any]
) -> None:
    workspace = Workspace.open(store, reproduced[0], TINY)
    scores = np.clip(workspace.outputs(workspace.standard_net("scene"), 0, "test").scores.astype(np.float64), 0, 1)
    row = next(
        r for r in results["sections"]["table7"]["data"]["rows"] if (r["group"], r["name"]) == ("Scene", "4 classes")
    )
    for i, target in enumerate(TARGETS):
        assert row["accuracy"][target]["mean"] == accuracy(workspace.truth("test")[:, i], scores[:, i])
    median = np.median(workspace.truth("train"), axis=0)
    floor = results["sections"]["table7"]["data"]["floor"]
    assert floor["openness"] == pytest.approx(1 - np.abs(workspace.truth("test")[:, 4] - median[4]).mean())


def test_csv_has_a_line_for_each_row_and_target(reproduced: tuple[Path, Report]) -> None:
    with (reproduced[0] / "table6" / "table6.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 9 * 7
    first = next(line for line in lines if line["row"] == "CR-block" and line["target"] == "average")
    assert (first["group"], first["paper"], first["alternative"]) == ("Face", "0.9072", "trees")
    assert 0 < float(first["mean"]) < 1


def test_claims_are_written_as_csv(reproduced: tuple[Path, Report], results: dict[str, Any]) -> None:
    def read(name: str) -> list[dict[str, str]]:
        with (reproduced[0] / name).open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    assert (len(read("claims.csv")), len(read("open-choices.csv"))) == (70, 8)
    of_table = [line for line in read("claims.csv") if line.pop("section") == "table3"]
    assert of_table == read("table3/table3-claims.csv")
    joined = next(line for line in of_table if line["claim"] == "video + audio + text beat video alone (2-D)")
    assert float(joined["paper"]) == pytest.approx(0.9188 - 0.9172)
    judged = next(c for c in results["sections"]["table3"]["data"]["claims"] if c["claim"] == joined["claim"])
    assert float(joined["ours"]) == judged["ours"]
    for name in ("claims", "open-choices"):
        assert all((reproduced[0] / f"{name}.{kind}").is_file() for kind in ("md", "tex", "csv"))


def test_weighted_outputs_match_hand_computation(reproduced: tuple[Path, Report], store: Path) -> None:
    workspace = Workspace.open(store, reproduced[0], TINY)
    specs = [workspace.standard_net(stream) for stream in ("scene", "face", "audio-text")]
    own = [predict(workspace, [spec], 0, TINY.fusion, "network") for spec in specs]
    joined = predict(workspace, specs, 0, TINY.fusion, "weighted outputs")
    np.testing.assert_allclose(joined, (7 * own[0] + 5 * own[1] + 3 * own[2]) / 15)
    assert len(workspace.rows("val")) < FEWEST_HELD_OUT_CLIPS  # too few to fit trees and weights
    np.testing.assert_allclose(predict(workspace, specs, 0, TINY.fusion, "held-out fusion"), joined)
    with pytest.raises(ConfigError, match="no single output"):
        predict(workspace, specs, 0, TINY.fusion, "network")


def test_repeating_a_call_trains_and_writes_nothing_again(
    reproduced: tuple[Path, Report], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("already done")

    monkeypatch.setattr(plan_module, "train_stream", refuse)
    monkeypatch.setattr(Table, "run", refuse)
    assert reproduce((table_4, table_6), store, reproduced[0], TINY, seeds=(0,), workers=1).failures == {}


def test_another_configuration_is_refused_in_the_same_folder(reproduced: tuple[Path, Report], store: Path) -> None:
    other = replace(TINY, model=replace(TINY.model, width=16))
    with pytest.raises(ConfigError, match=r"config\.model\.width was 8 and is now 16"):
        reproduce((table_4,), store, reproduced[0], other, seeds=(0,), workers=1)


def test_what_a_killed_call_left_is_removed(store: Path, tmp_path: Path) -> None:
    left = tmp_path / "nets" / "0123" / "face" / "outputs" / ".tmp-abc.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    reproduce((), store, tmp_path, TINY, seeds=(0,), workers=1)
    assert not left.exists()


def test_settings_of_version_0_1_are_still_compared(store: Path, tmp_path: Path) -> None:
    other = replace(TINY, model=replace(TINY.model, width=16))
    reproduce((), store, tmp_path, TINY, seeds=(0,), workers=1)
    (tmp_path / "settings.json").rename(tmp_path / "lab.json")
    with pytest.raises(ConfigError, match="width was 8 and is now 16"):
        reproduce((), store, tmp_path, other, seeds=(0,), workers=1)
    reproduce((), store, tmp_path, TINY, seeds=(0,), workers=1)
    assert not (tmp_path / "lab.json").exists()


def test_two_runs_cannot_share_a_folder(store: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / ".lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another run writes here"):
            reproduce((table_4,), store, tmp_path, TINY, seeds=(0,), workers=1)


def diverging(config: Config) -> Config:
    first, second = config.training.stages
    stages = (first, replace(second, lr=1e30))
    return replace(config, training=replace(config.training, stages=stages))


def test_a_diverging_network_leaves_only_its_own_row_empty(store: Path, tmp_path: Path) -> None:
    rows = (TableRow("", "sound", ("face",)), TableRow("", "wild", ("face",), diverging))
    table = Table("custom", "Custom", rows, (Claim("sound beats wild", "me", "sound", "wild"),))
    report = reproduce((table,), store, tmp_path, TINY, seeds=(0,), workers=1)
    assert list(report.failures) == [NetSpec("face", diverging(TINY)).summary]
    assert "not a finite number" in next(iter(report.failures.values()))
    data = json.loads((tmp_path / "results.json").read_text())["sections"]["custom"]["data"]
    assert [row["failure"] is None for row in data["rows"]] == [True, False]
    assert data["claims"] == []
    assert "not a finite number" in (tmp_path / "custom" / "custom.md").read_text(encoding="utf-8")
    assert "not a finite number" in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert len(list(tmp_path.glob(f"nets/*/{FAILURE_NAME}"))) == 1
    assert sum(is_trained(folder) for folder in tmp_path.glob("nets/*/face")) == 1


def test_several_seeds_give_mean_and_standard_deviation(store: Path, tmp_path: Path) -> None:
    table = Table(
        "custom", "Custom", (TableRow("", "a", ("audio-text",)), TableRow("", "b", ("audio-text",), with_losses("l1")))
    )
    reproduce((table,), store, tmp_path, TINY, seeds=(3, 5), workers=1)
    data = json.loads((tmp_path / "results.json").read_text())["sections"]["custom"]["data"]
    workspace = Workspace.open(store, tmp_path, TINY, (3, 5))
    by_seed = [
        np.mean([accuracy(workspace.truth("test")[:, i], np.clip(scores[:, i], 0, 1)) for i in range(5)])
        for scores in (
            workspace.outputs(workspace.standard_net("audio-text"), seed, "test").scores.astype(float)
            for seed in (3, 5)
        )
    ]
    value = data["rows"][0]["accuracy"]["average"]
    assert value["mean"] == pytest.approx(np.mean(by_seed))
    assert value["sd"] == pytest.approx(abs(by_seed[0] - by_seed[1]) / np.sqrt(2))
    assert "±" in (tmp_path / "custom" / "custom.md").read_text(encoding="utf-8")


def test_outputs_of_a_subset_cover_its_clips(store: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(store, tmp_path, TINY)
    spec = NetSpec("face", TINY, train_clips=7)

    class Subset:
        name = title = "subset"

        def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
            return (spec,)

    plan_module.train_plan(workspace, plan_module.plan(workspace, (Subset(),)), Executor(0))  # type: ignore[arg-type]
    assert workspace.outputs(spec, 0, "train").scores.shape == (7, 6)
    assert workspace.outputs(spec, 0, "test").features.shape == (4, 6, 64)
    with pytest.raises(ConfigError, match="not trained"):
        workspace.outputs(workspace.standard_net("face"), 0, "test")


@pytest.mark.parametrize(
    ("rows", "claims"),
    [
        ((TableRow("a", "b"), TableRow("a", "b")), ()),
        ((TableRow("a", "b"),), (Claim("", "", "a: b", "a: c"),)),
    ],
)
def test_inconsistent_tables_are_refused(rows: tuple[TableRow, ...], claims: tuple[Claim, ...]) -> None:
    with pytest.raises(ValueError, match="rows"):
        Table("t", "T", rows, claims)


def test_a_workspace_needs_a_store_with_all_splits(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seed"):
        Workspace.open(store, tmp_path, TINY, seeds=())
    with pytest.raises(FormatError, match="not a clip store"):
        Workspace.open(tmp_path, tmp_path, TINY)


@pytest.mark.parametrize(
    ("source", "splits", "message"),
    [
        ("folder", ("train", "val"), "the test split, which all numbers are measured on (write test into the column"),
        ("folder", ("train", "test"), "the val split, which selects the best epoch of every network (write val into"),
        ("simulated", ("val", "test"), "the train split, which trains the networks (simulate more clips, or give"),
        ("first-impressions-v2", ("train", "val"), "with the key if their zips are encrypted (docs/data.md)"),
    ],
)
def test_a_store_without_a_split_is_told_what_to_do(
    source: DataSource, splits: tuple[Split, ...], message: str, tmp_path: Path
) -> None:
    store = write_store(tmp_path / "store", clips=12, pixels=16, duration_s=0.1, splits=splits)
    manifest = read_manifest(store)
    write_manifest(store, replace(manifest, source=source))
    with pytest.raises(LabelError) as error:
        Workspace.open(store, tmp_path, TINY)
    assert message in str(error.value)
    assert "or give --protocol grouped-kfold:5 to divide the annotated clips anew" in str(error.value)
    Workspace.open(store, tmp_path, TINY, protocol=SplitProtocol("grouped-kfold", 5))


def test_a_damaged_cache_is_replaced(store: Path, reproduced: tuple[Path, Report]) -> None:
    workspace = Workspace.open(store, reproduced[0], TINY)
    spec = NetSpec("face", with_model(classes=7)(TINY))
    before = workspace.outputs(spec, 0, "test").scores
    path = next((workspace.folder(spec, 0) / "outputs").glob("test-*"))
    path.write_bytes(path.read_bytes()[:50])
    np.testing.assert_array_equal(workspace.outputs(spec, 0, "test").scores, before)
