"""The folder that simulated clips are written into: marked, so that the same call goes on and no other one meddles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crnet.data.ceiling import CEILING_NAME
from crnet.errors import UsageError
from crnet.simulate.ceiling import ceiling
from crnet.simulate.labels import write_truth
from crnet.simulate.planning import ClipPlan, SimulationConfig, plan_clips
from crnet.utils.files import read_json, write_json
from crnet.utils.provenance import versions

MARKER = "simulated.json"
FORMAT = 1
GENERATOR = "crnet simulate"


def begin(out: Path, config: SimulationConfig, **more: Any) -> list[ClipPlan]:
    """Make the folder, or find that the same call began it; write down the truth and the ceiling.

    Args:
        out: New, empty, or begun by the same call.
        config: What is simulated.
        more: Settings beside the configuration that decide what the folder holds, as JSON values.

    Returns:
        All clips.

    Raises:
        UsageError: The folder holds something else.
        StorageError: It cannot be written.
    """
    marker = _marker(config, more)
    begun = _is_begun(out, marker)
    plans = plan_clips(config)
    if not begun:
        write_json(out / MARKER, {**marker, "versions": versions(), "complete": False})
    write_truth(out, plans)
    if (best := ceiling(plans)) is not None:
        write_json(out / CEILING_NAME, best)
    return plans


def finish(out: Path, config: SimulationConfig, **more: Any) -> None:
    """Mark the folder as complete and remove what killed runs left; the same arguments as `begin`."""
    for leftover in out.rglob(".tmp-*"):
        leftover.unlink(missing_ok=True)
    write_json(out / MARKER, {**_marker(config, more), "versions": versions(), "complete": True})


def _marker(config: SimulationConfig, more: Mapping[str, Any]) -> dict[str, Any]:
    # Through JSON, so that it compares with what is read back.
    described = json.loads(json.dumps({"config": asdict(config), **more}))
    return {"format": FORMAT, "generator": GENERATOR, "seed": config.seed, **described}


def _is_begun(out: Path, marker: Mapping[str, Any]) -> bool:
    if out.exists() and not out.is_dir():
        raise UsageError("is a file, not a folder", path=out, remedy="name a new folder")
    if not out.exists() or not any(out.iterdir()):
        return False
    if not (out / MARKER).exists():
        raise UsageError("holds other files", path=out, remedy="name a new or an empty folder")
    found = read_json(out / MARKER, "the mark of simulated data")
    same = isinstance(found, dict) and all(
        found.get(key) == marker.get(key) for key in (found.keys() | marker.keys()) - {"versions", "complete"}
    )
    if not same:
        raise UsageError(
            f"holds simulated data of another configuration, see {MARKER}",
            path=out,
            remedy="name another folder, repeat the settings it was made with, or remove it",
        )
    return True
