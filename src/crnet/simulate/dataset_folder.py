"""The folder of a simulated dataset; a marker file lets the same call resume and refuses others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crnet.data.ceiling_file import CEILING_NAME
from crnet.data.sources.release_names import SIMULATED_FORMAT, SIMULATED_MARKER
from crnet.simulate.compute_ceiling import compute_ceiling
from crnet.simulate.labels import write_truth
from crnet.simulate.planning import NEWER_SETTINGS, ClipPlan, SimulationConfig, plan_clips
from crnet.utils.files import remove_leftovers, write_json
from crnet.utils.provenance import versions
from crnet.utils.resumable import ResumableFolder, as_json

GENERATOR = "crnet simulate"


def _result_settings(marker: dict[str, Any]) -> dict[str, Any]:
    settings = {name: value for name, value in marker.items() if name not in ("versions", "complete")}
    return {**settings, "config": {**NEWER_SETTINGS, **settings["config"]}}


SIMULATED_FOLDER = ResumableFolder("simulated data", SIMULATED_MARKER, _result_settings)


def begin_folder(out: Path, config: SimulationConfig, **more: Any) -> list[ClipPlan]:
    """Create the folder, or check that the same call began it; write the true values and the ceiling.

    Args:
        out: A folder that is new, empty, or begun by the same call.
        config: Configuration of the dataset.
        more: Other settings that decide the content of the folder, as JSON values.

    Returns:
        The plans of all clips.

    Raises:
        ConfigError: The folder was begun with another configuration.
        UsageError: The folder holds something else.
        StorageError: The folder cannot be written.
    """
    marker = _marker(config, more)
    has_begun = SIMULATED_FOLDER.check(out, marker)
    plans = plan_clips(config)
    if not has_begun:
        write_json(out / SIMULATED_MARKER, {**marker, "versions": versions(), "complete": False})
    write_truth(out, plans)
    ceiling = compute_ceiling(plans, config.score_rule)
    if ceiling is not None:
        write_json(out / CEILING_NAME, ceiling)
    return plans


def finish_folder(out: Path, config: SimulationConfig, **more: Any) -> None:
    """Mark the folder as complete and remove temporary files of killed runs; takes the arguments of `begin_folder`."""
    remove_leftovers(out)
    write_json(out / SIMULATED_MARKER, {**_marker(config, more), "versions": versions(), "complete": True})


def _marker(config: SimulationConfig, more: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "format": SIMULATED_FORMAT,
        "generator": GENERATOR,
        "seed": config.seed,
        **as_json({"config": config.to_dict(), **more}),
    }
