"""`crnet reproduce --plan`: the networks, and what it costs to train those that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crnet.cli.terminal import console, print_json
from crnet.experiments.cost import DeviceCost, PlanCost, plan_cost
from crnet.experiments.net_spec import is_trained
from crnet.experiments.plan import PlannedNet, networks_at_once, plan, require_initial_weights
from crnet.experiments.reproduce import require_same_settings
from crnet.experiments.workspace import Experiment, Workspace


def show_plan(workspace: Workspace, experiments: Sequence[Experiment], workers: int | None, json: bool) -> None:
    """Print the networks that the experiments need, and their cost.

    Args:
        workspace: The workspace.
        experiments: The experiments.
        workers: Number of networks to train at once; see `networks_at_once`.
        json: Print a JSON document.

    Raises:
        ConfigError: The results folder holds results of another configuration, or the device is not available.
        FormatError: The file of initial weights does not fit.
    """
    require_same_settings(workspace)
    networks = plan(workspace, experiments)
    require_initial_weights(networks)
    cost = plan_cost(workspace, networks, networks_at_once(workspace.base.training, workers))
    if json:
        print_json(_document(networks, cost))
        return
    screen = console()
    for net in networks:
        screen.print(_line(net), highlight=False, markup=False)
    for line in _summary(networks, cost):
        print(line)


def _document(networks: Sequence[PlannedNet], cost: PlanCost) -> dict[str, Any]:
    rows = [
        {
            "network": net.spec.summary,
            "seed": net.seed,
            "protocol": str(net.protocol),
            "epochs": net.epochs,
            "epochs_done": net.epochs_done,
            "trained": is_trained(net.folder),
            "flop": flop,
            "flop_left": left,
            "folder": str(net.folder),
            "needed_by": list(net.needed_by),
        }
        for net, flop, left in zip(networks, cost.flop, cost.flop_left, strict=True)
    ]
    devices = [{"device": each.device, "hours": each.hours, "measured": each.measured} for each in cost.devices]
    return {"networks": rows, "flop": sum(cost.flop), "flop_left": sum(cost.flop_left), "devices": devices}


def _line(net: PlannedNet) -> str:
    state = "trained" if is_trained(net.folder) else f"{net.epochs_done} of {net.epochs} epochs"
    fold = "" if net.protocol.fold is None else f"; fold {net.protocol.fold} of {net.protocol.folds}"
    return f"{net.spec.summary}; seed {net.seed}{fold}; {state}; for {', '.join(net.needed_by)}"


def _summary(networks: Sequence[PlannedNet], cost: PlanCost) -> list[str]:
    """Return the number of networks, the operations, and the hours on each device."""
    total, left = sum(cost.flop), sum(cost.flop_left)
    lines = [f"{len(networks)} networks, {sum(is_trained(net.folder) for net in networks)} of them trained"]
    if left:
        share = "" if left == total else f" of {flop_text(total)}"
        lines.append(f"still to compute: {flop_text(left)}{share}, without reading clips and growing trees")
    return lines + [_device_line(each, left) for each in cost.devices]


def _device_line(cost: DeviceCost, flop: int) -> str:
    if not cost.measured:
        return f"{hours_text(cost.hours)} on {cost.device}"
    speed = flop_text(flop / (3600 * cost.hours))
    return f"{hours_text(cost.hours)} on {cost.device}, judging by a few training steps on noise ({speed}/s)"


def flop_text(flop: float) -> str:
    """Format a number of floating-point operations: "9.81 EFLOP"."""
    for prefix, size in (("E", 1e18), ("P", 1e15), ("T", 1e12)):
        if flop >= size:
            return f"{flop / size:.3g} {prefix}FLOP"
    return f"{flop / 1e9:.3g} GFLOP"


def hours_text(hours: float) -> str:
    """Format an estimated time: "about 1,200 hours", "about 1.5 hours", "about 12 minutes"."""
    if hours >= 10:
        return f"about {hours:,.0f} hours"
    if hours >= 1:
        return f"about {hours:.1f} hours"
    return f"about {60 * hours:.0f} minutes" if 60 * hours >= 1.5 else "less than two minutes"
