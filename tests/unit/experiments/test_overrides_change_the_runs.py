"""An override of `crnet reproduce` changes the runs of the networks that it decides, and no others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file
from tiny_workspace import TINY

from crnet.config import Config
from crnet.errors import FormatError
from crnet.experiments.config_overrides import with_backbone, with_fusion, with_model
from crnet.experiments.net_spec import NetSpec, is_trained
from crnet.experiments.paper.open_choices import open_choices
from crnet.experiments.paper.tables import TABLES
from crnet.experiments.plan import PlannedNet, plan, require_initial_weights
from crnet.experiments.registry import EXPERIMENTS
from crnet.experiments.reproduce import reproduce
from crnet.experiments.table_experiment import Table, TableRow
from crnet.experiments.workspace import Workspace
from crnet.models.crnet import StreamNet

WEIGHTS = Path("weights.safetensors")
BY_NAME: dict[str, Callable[[PlannedNet], bool]] = {
    "none": lambda net: False,
    "all": lambda net: True,
    "2-D visual": lambda net: net.spec.stream != "audio-text" and net.spec.config.model.backbone == "r2d34",
    "visual": lambda net: net.spec.stream != "audio-text",
    "sound and text": lambda net: net.spec.stream == "audio-text" and net.spec.config.model.audio_text == "both",
    "with a stage 1": lambda net: net.spec.config.training.stages[0].epochs > 0,
    "with stage 2 terms of the full CR-Net": lambda net: (
        net.spec.config.training.stages[1].terms == TINY.training.stages[1].terms
    ),
}


def stage(place: int, **fields: Any) -> Config:
    stages = list(TINY.training.stages)
    stages[place] = replace(stages[place], **fields)
    return replace(TINY, training=replace(TINY.training, stages=tuple(stages)))


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        (with_model(init=WEIGHTS)(TINY), "2-D visual"),
        (stage(1, lr=0.5), "all"),
        (stage(0, lr=0.5), "with a stage 1"),
        (stage(1, momentum=0.5), "none"),  # of SGD; stage 2 uses Adam
        (stage(1, terms=("mse", "classification")), "with stage 2 terms of the full CR-Net"),
        (with_fusion(mode="concat", trees=7, max_features=3)(TINY), "none"),
        (replace(TINY, transforms=replace(TINY.transforms, flip=True)), "visual"),
        (with_model(text_path="vector")(TINY), "sound and text"),
        (replace(TINY, training=replace(TINY.training, workers=0, threads=2, device="cpu")), "none"),
    ],
)
def test_an_override_changes_exactly_these_networks(override: Config, changed: str, workspace: Workspace) -> None:
    experiments = tuple(EXPERIMENTS.values())
    before = plan(workspace, experiments)
    after = {net.folder for net in plan(replace(workspace, base=override), experiments)}
    if changed == "sound and text":  # the words alone enter through the same option
        expected = [net for net in before if net.spec.stream == "audio-text" and _reads_text(net)]
    else:
        expected = [net for net in before if BY_NAME[changed](net)]
    assert {net.folder for net in before} - after == {net.folder for net in expected}
    assert len(after) == len(before) > 40


def _reads_text(net: PlannedNet) -> bool:
    return net.spec.config.model.audio_text != "audio"


def test_a_network_of_the_other_backbone_starts_without_the_file_and_averages_its_frames(workspace: Workspace) -> None:
    flat = with_model(init=WEIGHTS, temporal="conv1x1")(TINY)
    assert with_backbone("r2d34")(flat) == flat
    model = with_backbone("r3d34")(flat).model
    assert (model.backbone, model.init, model.temporal) == ("r3d34", None, "mean")
    deep = with_model(backbone="r3d34", init=WEIGHTS)(TINY)
    for base in (flat, deep):
        visual = [n.spec.config.model for n in plan(replace(workspace, base=base), (*TABLES, open_choices))
                  if n.spec.stream != "audio-text"]  # fmt: skip
        assert {model.backbone for model in visual if model.init} == {base.model.backbone}
        assert {model.backbone for model in visual} == {"r2d34", "r3d34"}


def test_the_conditions_name_the_networks_that_start_from_the_file(workspace: Workspace) -> None:
    assert "initial weights: He initialisation." in workspace.conditions
    other = replace(workspace, base=with_model(init=WEIGHTS)(TINY))
    assert (
        "initial weights: weights.safetensors for visual networks with the backbone r2d34, He initialisation for the "
        "others."
    ) in other.conditions


def test_weights_of_another_shape_are_refused(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    backbone = StreamNet("scene", replace(TINY.model, width=16)).backbone
    assert backbone is not None
    save_file(backbone.state_dict(), path)
    fits = replace(workspace, base=with_model(init=path, width=16)(TINY))
    require_initial_weights(plan(fits, (open_choices,)))
    with pytest.raises(FormatError, match="expected"):
        require_initial_weights(plan(replace(workspace, base=with_model(init=path)(TINY)), (open_choices,)))


def test_a_copy_of_the_networks_serves_another_configuration(store: Path, tmp_path: Path) -> None:
    """docs/reproduce.md: copy `nets` into the folder of the other configuration."""
    table = Table("custom", "Custom", (TableRow("", "sound", ("audio-text",)), TableRow("", "face", ("face",))))
    reproduce((table,), store, tmp_path / "before", TINY, seeds=(0,), workers=1)
    shutil.copytree(tmp_path / "before" / "nets", tmp_path / "after" / "nets")
    other = Workspace.open(store, tmp_path / "after", with_model(init=WEIGHTS)(TINY))
    planned = plan(other, (table,))
    assert [(net.spec.stream, is_trained(net.folder)) for net in planned] == [("audio-text", True), ("face", False)]
    assert planned[0].spec == NetSpec("audio-text", other.base)
