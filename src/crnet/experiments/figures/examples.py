"""Fig. 8: clips with their true and predicted scores. The paper chose four; here the errors choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64
from matplotlib.figure import Figure

from crnet.data.store import as_clip_source, read_clip
from crnet.data.transforms import decode_frame, middle_frame
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.workspace import Section, Workspace
from crnet.report.figure_style import GREY, INK, new_figure
from crnet.report.pictures import Picture
from crnet.types import TARGETS, TRAIT_INDICES, Clip, target_label
from crnet.utils.number_format import decimal
from crnet.utils.text_format import join_words

KINDS = ("best", "typical", "worst")
CLIPS_PER_KIND = 2
FRAME_PX = 224


@dataclass(frozen=True, eq=False)
class Example:
    """A test clip with its scores.

    Attributes:
        kind: One of `KINDS`.
        clip_id: The clip.
        frame: The middle frame of the scene.
        aspect: Width over height of the video.
        truth, prediction: float64 [6] in [0, 1].
        error: Mean absolute error over the five traits.
    """

    kind: str
    clip_id: str
    frame: Picture
    aspect: float
    truth: Float64[np.ndarray, " 6"]
    prediction: Float64[np.ndarray, " 6"]
    error: float


class Examples:
    """Fig. 8 of the paper, with the clips that the system scores best, typically and worst."""

    name = "fig8"
    title = "Fig. 8: clips with true and predicted scores"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the standard networks of all streams: the whole system scores the clips."""
        return workspace.standard_nets()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Choose clips of the test split and show a frame of each."""
        truth = workspace.truth("test")
        scores = workspace.fused_scores(self.networks(workspace), workspace.seeds[0], workspace.base.fusion, "test")
        errors = np.abs(scores - truth)[:, TRAIT_INDICES].mean(axis=1)
        clips = workspace.rows("test")
        examples = []
        for kind, i in choose(errors):
            frame, aspect = middle_scene(read_clip(workspace.store / clips[i].file, clips[i].clip_id))
            examples.append(Example(kind, clips[i].clip_id, frame, aspect, truth[i], scores[i], float(errors[i])))
        rows = [
            [example.kind, example.clip_id, target, float(example.truth[t]), float(example.prediction[t])]
            for example in examples
            for t, target in enumerate(TARGETS)
        ]
        header = ["kind", "clip", "target", "truth", "prediction"]
        files = write_figure(folder, self.name, _figure(examples), header, rows)
        errors_by_kind = {kind: [example.error for example in examples if example.kind == kind] for kind in KINDS}
        mean = float(errors.mean())
        text = _text(files[0], workspace, errors_by_kind, mean)
        return Section(self.title, text, files, {"mean_error": mean, "errors": errors_by_kind})


def choose(errors: Float64[np.ndarray, " N"]) -> list[tuple[str, int]]:
    """Choose the clips with the smallest, the middle and the largest errors, `CLIPS_PER_KIND` of each kind.

    No clip is chosen twice. With fewer clips than that, each one is chosen once, with the kind of its rank.
    """
    order = np.argsort(errors, kind="stable").tolist()
    middle = max((len(order) - CLIPS_PER_KIND) // 2, 0)
    candidates = {
        "best": order[:CLIPS_PER_KIND],
        "worst": order[-CLIPS_PER_KIND:],
        "typical": order[middle:][:CLIPS_PER_KIND],
    }
    taken: set[int] = set()
    chosen: dict[str, list[int]] = {}
    for kind, places in candidates.items():
        chosen[kind] = [place for place in places if place not in taken]
        taken.update(places)
    return [(kind, place) for kind in KINDS for place in chosen[kind]]


def middle_scene(clip: Clip) -> tuple[Picture, float]:
    """Return the scene in the middle of a clip, and the aspect ratio (width over height) before it became a square."""
    middle = middle_frame(as_clip_source(clip))
    return decode_frame(clip.jpeg("scene", middle), FRAME_PX), clip.width / clip.height


def _text(picture: Path, workspace: Workspace, errors_by_kind: dict[str, list[float]], mean: float) -> str:
    people = "synthetic people" if workspace.manifest.source == "simulated" else "clips of the store"
    kinds = join_words(
        [
            f"{join_words([decimal(error) for error in errors])} ({kind})"
            for kind, errors in errors_by_kind.items()
            if errors
        ]
    )
    return unwrap(f"""
{image_link(picture, "Frames of the best, typical and worst clips, with true and predicted scores")}

The paper (Fig. 8) shows four hand-picked clips, two with high and two with low scores, as truth/prediction.

Here: {people} from the test split, scored by the fusion of {join_words(workspace.base.streams)} (seed
{workspace.seeds[0]}) and chosen by their mean absolute error over the five traits: {kinds}. The mean over the split is
{decimal(mean)}. The frames are the middle ones.
""")


def _figure(examples: Sequence[Example]) -> Figure:
    figure = new_figure(2.9)
    columns = len(examples)
    panels = figure.subplots(
        2, columns + 1, squeeze=False, width_ratios=[1.15] + [1] * columns, height_ratios=[1.0, 1.6]
    )
    for axes in panels.ravel():
        axes.set_axis_off()
        axes.set_xlim(0, 1)
    corner, names = panels[0][0], panels[1][0]
    for line, name in enumerate(("mean error", *map(target_label, TARGETS))):
        names.text(0, _line_y(line), name, fontsize=8.5, color=INK, va="center")
    corner.text(0, 0, "true/predicted", fontsize=8.5, color=GREY, va="bottom", transform=corner.transAxes)
    for example, above, below in zip(examples, panels[0][1:], panels[1][1:], strict=True):
        above.imshow(example.frame, extent=(0, 1, 0, 1 / example.aspect), interpolation="bilinear")
        above.set_title(example.kind, fontsize=10, color=INK)
        scores = zip(example.truth, example.prediction, strict=True)
        cells = [f"{example.error:.3f}", *(f"{truth:.2f}/{prediction:.2f}" for truth, prediction in scores)]
        for line, cell in enumerate(cells):
            below.text(0.5, _line_y(line), cell, fontsize=8.5, color=INK, ha="center", va="center")
    return figure


def _line_y(line: int) -> float:
    """Return the height of a line of text, as a fraction of its panel."""
    return 1 - (line + 0.5) / (len(TARGETS) + 1)
