"""The most important claims once more from drawn frames: real scene networks on stores of `crnet simulate`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.evidence.heads import BASELINE, CR, LOSS_SHARE
from benchmarks.evidence.worlds import Clips, Scores
from crnet.config import PRESETS
from crnet.data.splits import split_group
from crnet.errors import ConfigError
from crnet.experiments.config_overrides import with_losses, with_plain_head
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.plan import PlannedNet, train_plan
from crnet.experiments.workspace import Workspace
from crnet.fusion.fusion import clipped
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store
from crnet.utils.executors import Executor

CLIPS, SECONDS = 600, 2.0
_CLASSWISE = SimulationConfig(CLIPS, seconds=SECONDS, score_rule="classwise")
WORLDS = {
    "uninformative": SimulationConfig(CLIPS, seconds=SECONDS, uninformative=LOSS_SHARE),
    "classwise": _CLASSWISE,
}
"""Stores of difficulty "fivalike"."""
SYSTEMS = {
    "uninformative": {"L1 + L2": with_plain_head("l1", "mse"), "L1 + L2 + Bell": with_plain_head("l1", "mse", "bell")},
    "classwise": {BASELINE: with_plain_head("l1", "mse"), CR: with_losses("l1", "mse", "classification")},
}
"""The networks of each store, as overrides of the full CR-Net."""


def run(world: str, seed: int, folder: Path) -> tuple[Clips, dict[str, Scores]]:
    """Train the scene networks of a store, which the first call writes, in the preset `tiny`.

    Args:
        world: Name of the store.
        seed: Seed of the training.
        folder: Where stores and networks are kept.

    Returns:
        The test clips without cues, and their scores by each network.

    Raises:
        ConfigError: A network could not be trained.
    """
    store = write_store(folder / f"store-{world}", WORLDS[world], frames_per_segment=1, workers=1)
    base = replace(PRESETS["tiny"], streams=("scene",))
    workspace = Workspace.open(store, folder / f"nets-{world}", base, (seed,))
    scores = {}
    for name, override in SYSTEMS[world].items():
        spec = NetSpec("scene", override(workspace.base))
        net = PlannedNet(spec, seed, workspace.folder(spec, seed), workspace.protocol, (world,))
        if failures := train_plan(workspace, [net], Executor(0)):
            raise ConfigError(f"a network of {world!r} could not be trained: {failures[net.folder]}")
        scores[name] = clipped(workspace.outputs(spec, seed, "test").scores)
    _, people = np.unique([split_group(row) for row in workspace.rows("test")], return_inverse=True)
    return Clips({}, workspace.truth("test"), people), scores
