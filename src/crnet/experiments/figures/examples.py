"""Fig. 8: some clips with their true scores and ours; the paper chose four, here the errors choose."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from crnet.data.store import read_clip
from crnet.data.transforms import decode_frame
from crnet.experiments.figures.drawing import image, leave, listed, prose
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.workspace import Lab, Section
from crnet.report.pictures import Picture
from crnet.report.style import GREY, INK, new_figure
from crnet.types import TARGETS, TRAITS, Clip
from crnet.utils.number_format import decimal

KINDS = ("best", "typical", "worst")
EACH = 2  # clips of each kind
FIVE = [TARGETS.index(trait) for trait in TRAITS]
FRAME_PX = 224


class Examples:
    """Fig. 8 of the paper, with the clips that the system judges best, typically and worst."""

    name = "fig8"
    title = "Fig. 8: clips with true and predicted scores"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The standard networks of all streams: the clips are scored by the whole system."""
        return lab.standards()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Choose the clips of the test split and show a frame of each."""
        truth = lab.truth("test")
        scores = lab.fused(self.nets(lab), lab.seeds[0], lab.base.fusion, "test")
        errors = np.abs(scores - truth)[:, FIVE].mean(axis=1)
        chosen = choose(errors)
        rows = [lab.rows("test")[i] for _, i in chosen]
        frames = [middle_frame(read_clip(lab.store / row.file)) for row in rows]
        lines = [
            [kind, row.clip_id, target, float(truth[i, t]), float(scores[i, t])]
            for (kind, i), row in zip(chosen, rows, strict=True)
            for t, target in enumerate(TARGETS)
        ]
        places = [i for _, i in chosen]
        drawn = _figure([kind for kind, _ in chosen], frames, truth[places], scores[places], errors[places])
        files = leave(folder, self.name, drawn, ["kind", "clip", "target", "truth", "prediction"], lines)
        of_kinds = {kind: [float(errors[i]) for k, i in chosen if k == kind] for kind in KINDS}
        data = {"mean_error": float(errors.mean()), "errors": of_kinds}
        return Section(self.title, _words(files[0], lab, of_kinds, float(errors.mean())), files, data)


def choose(errors: Float64[np.ndarray, " N"]) -> list[tuple[str, int]]:
    """The clips with the smallest, the middle and the largest errors, `EACH` of each kind, none twice.

    Of fewer clips than that, every one is shown once, called by its place in the order.
    """
    order = np.argsort(errors, kind="stable").tolist()
    half = (len(order) - EACH) // 2
    kinds = {"best": order[:EACH], "worst": order[-EACH:], "typical": order[max(half, 0) :][:EACH]}
    seen: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for kind, places in kinds.items():
        chosen[kind] = [place for place in places if place not in seen]
        seen.update(places)
    return [(kind, place) for kind in KINDS for place in chosen[kind]]


def middle_frame(clip: Clip) -> tuple[Picture, float]:
    """The scene in the middle of a clip, and width over height as it was before it was stored as a square."""
    middle = len(clip.time_s) // 2
    return decode_frame(clip.jpeg("scene", middle), FRAME_PX), clip.width / clip.height


def _words(picture: Path, lab: Lab, of_kinds: dict[str, list[float]], mean: float) -> str:
    who = "drawn people" if lab.manifest.source == "simulated" else "clips of the store"
    kinds = listed(
        [f"{listed([decimal(error) for error in errors])} ({kind})" for kind, errors in of_kinds.items() if errors]
    )
    return prose(f"""
{image(picture, "Frames of the best, typical and worst clips, with true and predicted scores")}

The paper (Fig. 8) shows four clips of its choice, two with high and two with low scores, as truth/prediction.

Ours: {who} of the test split, scored by the fusion of {listed(lab.base.streams)} (seed {lab.seeds[0]}) and chosen by
their mean error over the five traits: {kinds}. The mean of the split is {decimal(mean)}. Frames are the middle ones.
""")


def _figure(
    kinds: Sequence[str],
    frames: Sequence[tuple[Picture, float]],
    truth: Float64[np.ndarray, "n 6"],
    scores: Float64[np.ndarray, "n 6"],
    errors: Float64[np.ndarray, " n"],
) -> Figure:
    figure = new_figure(2.9)
    grid = figure.subplots(
        2, len(kinds) + 1, squeeze=False, width_ratios=[1.15] + [1] * len(kinds), height_ratios=[1.0, 1.6]
    )
    for axes in grid.ravel():
        axes.set_axis_off()
        axes.set_xlim(0, 1)
    names = grid[1][0]
    for line, words in enumerate(("mean error", *TARGETS)):
        names.text(0, _height(line), words, fontsize=8.5, color=INK, va="center")
    grid[0][0].text(0, 0, "true/predicted", fontsize=8.5, color=GREY, va="bottom", transform=grid[0][0].transAxes)
    for place, (kind, (frame, aspect)) in enumerate(zip(kinds, frames, strict=True), start=1):
        above, below = grid[0][place], grid[1][place]
        above.imshow(frame, extent=(0, 1, 0, 1 / aspect), interpolation="bilinear")
        above.set_title(kind, fontsize=10, color=INK)
        i = place - 1
        cells = [f"{errors[i]:.3f}", *(f"{t:.2f}/{p:.2f}" for t, p in zip(truth[i], scores[i], strict=True))]
        for line, words in enumerate(cells):
            below.text(0.5, _height(line), words, fontsize=8.5, color=INK, ha="center", va="center")
    return figure


def _height(line: int) -> float:
    """Where a line of words stands, in parts of its panel."""
    return 1 - (line + 0.5) / (len(TARGETS) + 1)
