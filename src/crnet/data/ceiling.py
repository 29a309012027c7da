"""`ceiling.json`: what simulated clips let anyone know of their scores, and how far towards that a system came.

`crnet simulate` writes it (see `crnet.simulate.ceiling`), `crnet prepare` carries it into the store, and
`crnet evaluate` compares with it where it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crnet.errors import FormatError
from crnet.utils.files import read_json

CEILING_NAME = "ceiling.json"
CEILING_FORMAT = 1
FLOOR = "floor"
IN_ORDER, SINGLE_FRAMES = "all_cues", "without_order_of_frames"
FIGURES = ("accuracy", "r2", "ccc")

STREAM_OF_SYSTEM = {"fusion": "all"}
"""What a system sees, if that goes by another name than the system itself."""

SHARED_FIGURES = ("accuracy", "r2")
NO_WAY = 0.002  # between floor and ceiling: nothing to cover


def read_ceiling(folder: Path) -> dict[str, Any] | None:
    """The ceiling that lies in a simulated data set or in its store; None if there is none.

    Raises:
        FormatError: Damaged, or of another format.
    """
    path = folder / CEILING_NAME
    if not path.is_file():
        return None
    document = read_json(path, "the ceiling of simulated data")
    if not isinstance(document, dict) or document.get("format") != CEILING_FORMAT:
        raise FormatError("of another format", path=path, remedy="simulate with this version of crnet")
    if not isinstance(document.get("splits"), dict):
        raise FormatError("holds no splits", path=path, remedy="simulate again")
    return document


def attainable_metrics(document: Mapping[str, Any], split: str, system: str) -> dict[str, Any] | None:
    """The best attainable figures for a system on a split: `{target or "average": {figure: value}}`."""
    try:
        streams = document["splits"][split]["streams"]
        return dict(streams[STREAM_OF_SYSTEM.get(system, system)][IN_ORDER])
    except KeyError:
        return None


def share_of_way(
    document: Mapping[str, Any], split: str, systems: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, dict[str, dict[str, float | None]]]:
    """How far each system came from the floor towards the ceiling of what it sees: 0 = floor, 1 = ceiling.

    Args:
        document: What `read_ceiling` gives.
        split: On which the systems were measured.
        systems: `{system: {target or "average": {figure: value}}}`, more figures are ignored.

    Returns:
        `{system: {target or "average": {"accuracy": share, "r2": share}}}`, for the systems that have a ceiling; a
        share is None where ceiling and floor are (almost) the same. The floor of R2 is 0.
    """
    shares: dict[str, dict[str, dict[str, float | None]]] = {}
    for system, targets in systems.items():
        best = attainable_metrics(document, split, system)
        if best is None:
            continue
        floor = document["splits"][split][FLOOR]
        shares[system] = {
            target: {
                figure: _share(
                    reached.get(figure), 0.0 if figure == "r2" else floor[target][figure], best[target][figure]
                )
                for figure in SHARED_FIGURES
            }
            for target, reached in targets.items()
            if target in best
        }
    return shares


def _share(reached: float | None, floor: float | None, best: float | None) -> float | None:
    if reached is None or floor is None or best is None or best - floor < NO_WAY:
        return None
    return (reached - floor) / (best - floor)
