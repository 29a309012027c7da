"""`ceiling.json`: the best metrics that simulated clips allow, and how much of the way there a system came.

`crnet simulate` writes it (see `crnet.simulate.compute_ceiling`), `crnet prepare` copies it into the store, and
`crnet evaluate` compares systems with it if it is present.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.utils.files import read_json
from crnet.utils.storage import as_path

CEILING_NAME = "ceiling.json"
CEILING_FORMAT = 1
FLOOR = "floor"
IN_ORDER, SINGLE_FRAMES = "all_cues", "without_order_of_frames"
FIGURES = ("accuracy", "r2", "ccc")

STREAM_OF_SYSTEM = {"fusion": "all"}
"""The name of a system's input in the document, if it differs from the name of the system."""

SHARED_FIGURES = ("accuracy", "r2")
SMALLEST_GAP = 0.002  # between floor and ceiling; a share of a smaller gap means nothing


def read_ceiling(folder: Path | str) -> dict[str, Any] | None:
    """Read the ceiling of a simulated dataset or of its store; None if there is none.

    Raises:
        FormatError: The file is damaged or has another format.
    """
    path = as_path(folder) / CEILING_NAME
    if not path.is_file():
        return None
    document = read_json(path, "the ceiling of simulated data")
    if not isinstance(document, dict) or document.get("format") != CEILING_FORMAT:
        raise FormatError("unknown format", path=path, remedy="simulate with this version of crnet")
    if not isinstance(document.get("splits"), dict):
        raise FormatError("no splits in the file", path=path, remedy="simulate again")
    return document


def attainable_metrics(document: Mapping[str, Any], split: str, system: str) -> dict[str, Any] | None:
    """Return the best metrics that a system can reach on a split: `{target or "average": {metric: value}}`."""
    try:
        streams = document["splits"][split]["streams"]
        return dict(streams[STREAM_OF_SYSTEM.get(system, system)][IN_ORDER])
    except KeyError:
        return None


def ceiling_share(
    document: Mapping[str, Any], split: str, systems: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Return the share of the gap between floor and ceiling that each system closes: 0 = floor, 1 = ceiling.

    Args:
        document: The result of `read_ceiling`.
        split: The split that the systems were evaluated on.
        systems: `{system: {target or "average": {metric: value}}}`; other metrics are ignored.

    Returns:
        `{system: {target or "average": {"accuracy": share, "r2": share}}}` for the systems that have a ceiling. A share
        is None where ceiling and floor are (almost) the same. The floor of R2 is 0.
    """
    shares: dict[str, dict[str, dict[str, float | None]]] = {}
    for system, targets in systems.items():
        ceiling = attainable_metrics(document, split, system)
        if ceiling is None:
            continue
        floor = document["splits"][split][FLOOR]
        shares[system] = {
            target: {
                name: _share(metrics.get(name), 0.0 if name == "r2" else floor[target][name], ceiling[target][name])
                for name in SHARED_FIGURES
            }
            for target, metrics in targets.items()
            if target in ceiling
        }
    return shares


def _share(value: float | None, floor: float | None, ceiling: float | None) -> float | None:
    if value is None or floor is None or ceiling is None or ceiling - floor < SMALLEST_GAP:
        return None
    return (value - floor) / (ceiling - floor)
