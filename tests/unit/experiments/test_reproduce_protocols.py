"""Tables with other split protocols: their networks, pooling over folds, and separation from other protocols."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tiny_workspace import TINY
from workspace_fakes import FakeWorkspace

from crnet.data.manifest import read_manifest
from crnet.data.splits import SplitProtocol, split_group
from crnet.errors import ConfigError, UsageError
from crnet.experiments.config_overrides import with_model
from crnet.experiments.figures import learning_curve
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.plan import plan
from crnet.experiments.reproduce import reproduce
from crnet.experiments.table_experiment import Table, TableRow
from crnet.experiments.workspace import Section, Workspace
from crnet.types import SPLITS

FOLDS = SplitProtocol.parse("grouped-kfold:4")
TABLE = Table(
    "widths",
    "Widths",
    (TableRow("Face", "as is", ("face",)), TableRow("Face", "wide", ("face",), with_model(width=16))),
)


@dataclass(frozen=True)
class OneFold:
    """A section that needs a single network."""

    name: str = "single"
    title: str = "Single"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        return (workspace.standard_net("scene"),)

    def run(self, workspace: Workspace, folder: Path) -> Section:
        return Section(self.title, f"{len(workspace.rows('test'))} clips")


def test_the_workspaces_of_the_folds_test_every_clip_once(store: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(store, tmp_path, TINY, protocol=FOLDS)
    assert workspace.protocol == SplitProtocol("grouped-kfold", 4, 1)
    assert [str(fold.protocol) for fold in workspace.folds] == [f"grouped-kfold:4:{fold}" for fold in (1, 2, 3, 4)]
    test_clips = Counter(row.clip_id for fold in workspace.folds for row in fold.rows("test"))
    assert test_clips == Counter(row.clip_id for row in read_manifest(store).clips)
    truth, floor = workspace.test_truth_and_floor()
    scores = {row.clip_id: row.scores for row in read_manifest(store).clips}
    assert np.array_equal(truth, [scores[row.clip_id] for fold in workspace.folds for row in fold.rows("test")])
    start = 0
    for fold in workspace.folds:
        end = start + len(fold.rows("test"))
        assert np.array_equal(floor[start:end], np.tile(np.median(fold.truth("train"), axis=0), (end - start, 1)))
        start = end
    assert "grouped-kfold" in workspace.conditions
    assert len({fold.data_fingerprint for fold in workspace.folds}) == 4


def test_a_protocol_without_folds_has_one_workspace(store: Path, tmp_path: Path) -> None:
    workspace = Workspace.open(store, tmp_path, TINY, protocol=SplitProtocol.parse("identity-disjoint"))
    assert workspace.folds == (workspace,)
    people = [{split_group(row) for row in workspace.rows(split)} for split in SPLITS]
    assert sum(map(len, people)) == len(set.union(*people))
    assert Workspace.open(store, tmp_path, TINY).data_fingerprint != workspace.data_fingerprint


def test_tables_need_networks_in_every_fold_and_other_sections_in_the_first(store: Path, tmp_path: Path) -> None:
    planned = plan(Workspace.open(store, tmp_path, TINY, seeds=(0, 1), protocol=FOLDS), [TABLE, OneFold()])
    assert len({net.folder for net in planned}) == len(planned) == 2 * (2 * 4 + 1)
    assert {net.protocol.fold for net in planned if net.needed_by == ("single",)} == {1}
    assert Counter(net.protocol.fold for net in planned if "widths" in net.needed_by) == dict.fromkeys((1, 2, 3, 4), 4)


def test_a_table_scores_every_clip_by_the_fold_that_held_it_out(store: Path, tmp_path: Path) -> None:
    opened = Workspace.open(store, tmp_path, TINY, protocol=FOLDS)
    workspace = FakeWorkspace(store, tmp_path, opened.base, protocol=opened.protocol)
    section = TABLE.run(workspace, tmp_path)
    assert section.data["clips"] == 20
    row = section.data["rows"][0]
    assert row["accuracy"]["average"]["mean"] == pytest.approx(0.9)  # every score is off by .1
    truth, floor = workspace.test_truth_and_floor()
    removed = 1 - 0.1 / np.abs(floor - truth)[:, :5].mean()
    assert row["error_removed"]["mean"] == pytest.approx(removed, abs=1e-6)


def test_folds_are_trained_and_kept_apart_from_other_protocols(store: Path, tmp_path: Path) -> None:
    protocol, table = SplitProtocol.parse("grouped-kfold:3"), Table("face", "Face", TABLE.rows[:1])
    report = reproduce([table, OneFold()], store, tmp_path, TINY, seeds=(0,), workers=1, protocol=protocol)
    assert report.failures == {}
    data = json.loads((tmp_path / "face" / "section.json").read_text())["data"]
    assert data["clips"] == 20
    assert "grouped-kfold" in (tmp_path / "README.md").read_text()
    assert len(list((tmp_path / "nets").iterdir())) == 3 + 1
    with pytest.raises(ConfigError, match="protocol was 'grouped-kfold:3' and is now 'official'"):
        reproduce([table], store, tmp_path, TINY, seeds=(0,), workers=1)


def test_custom_experiments_run_every_time_because_their_code_may_have_changed(store: Path, tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Custom(OneFold):
        words: str = ""

        def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
            return ()

        def run(self, workspace: Workspace, folder: Path) -> Section:
            return Section(self.title, self.words)

    for words in ("version one", "version two"):
        reproduce([Custom(words=words)], store, tmp_path, TINY, seeds=(0,), workers=1)
        assert words in (tmp_path / "single" / "README.md").read_text()


def test_every_table_mentions_clips_that_could_not_be_prepared(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    assert "could not be prepared" not in Workspace.open(tmp_path / "store", tmp_path, TINY).conditions
    lost = "clip,path,reason,remedy,split\nlost.mp4,lost.mp4,broken,mend it,train\n"
    (tmp_path / "store" / "failures.csv").write_text(lost)
    assert "1 annotated clips could not be prepared" in Workspace.open(tmp_path / "store", tmp_path, TINY).conditions


def test_the_ceiling_applies_to_the_official_splits_only(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = {"streams": {name: {"all_cues": {"average": {"accuracy": 0.97}}} for name in ("scene", "all")}}
    monkeypatch.setattr(learning_curve, "read_ceiling", lambda folder: {"splits": {"test": best}})
    for protocol, ceiling in (("official", {"scene": 0.03, "fusion": 0.03}), ("identity-disjoint", {})):
        workspace = Workspace.open(store, tmp_path, TINY, protocol=SplitProtocol.parse(protocol))
        assert learning_curve.measure_bounds(workspace).ceiling == pytest.approx(ceiling)


def test_a_single_fold_is_refused_for_tables(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="use all folds: grouped-kfold:4"):
        Workspace.open(store, tmp_path, TINY, protocol=SplitProtocol.parse("grouped-kfold:4:1"))
