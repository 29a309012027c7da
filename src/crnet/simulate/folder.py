"""The folder that simulated clips are written into: marked, so that the same call goes on and no other one meddles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crnet.data.ceiling import CEILING_NAME
from crnet.simulate.ceiling import ceiling
from crnet.simulate.labels import write_truth
from crnet.simulate.planning import ClipPlan, SimulationConfig, plan_clips
from crnet.utils.files import remove_leftovers, write_json
from crnet.utils.provenance import versions
from crnet.utils.resumable import ResumableFolder, as_json

MARKER = "simulated.json"
FORMAT = 1
GENERATOR = "crnet simulate"


def _decisive(marker: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in marker.items() if name not in ("versions", "complete")}


SIMULATED_FOLDER = ResumableFolder("simulated data", MARKER, _decisive)


def begin(out: Path, config: SimulationConfig, **more: Any) -> list[ClipPlan]:
    """Make the folder, or find that the same call began it; write down the truth and the ceiling.

    Args:
        out: New, empty, or begun by the same call.
        config: What is simulated.
        more: Settings beside the configuration that decide what the folder holds, as JSON values.

    Returns:
        All clips.

    Raises:
        ConfigError: The folder was begun with another configuration.
        UsageError: It holds something else.
        StorageError: It cannot be written.
    """
    marker = _marker(config, more)
    begun = SIMULATED_FOLDER.check(out, marker)
    plans = plan_clips(config)
    if not begun:
        write_json(out / MARKER, {**marker, "versions": versions(), "complete": False})
    write_truth(out, plans)
    if (best := ceiling(plans)) is not None:
        write_json(out / CEILING_NAME, best)
    return plans


def finish(out: Path, config: SimulationConfig, **more: Any) -> None:
    """Mark the folder as complete and remove what killed runs left; the same arguments as `begin`."""
    remove_leftovers(out)
    write_json(out / MARKER, {**_marker(config, more), "versions": versions(), "complete": True})


def _marker(config: SimulationConfig, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "generator": GENERATOR,
        "seed": config.seed,
        **as_json({"config": asdict(config), **more}),
    }
