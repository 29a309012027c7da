"""Fig. 12: where the visual networks are active, and how often the points of the face lie there (Sec. 5.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float32
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from crnet.data.store import as_clip_source, read_clip
from crnet.data.transforms import choose_frames, collate, read_sample
from crnet.experiments.figures.drawing import image, leave, listed, prose
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.rendered_table import Grid, Line
from crnet.experiments.workspace import Lab, Section
from crnet.explain.heat_maps import LAYERS, Layer, cells_a_side, compute_feature_maps, default_layer
from crnet.explain.key_points import (
    HIGHLIGHTED_SHARE,
    PAPER_RATIO,
    KeyPointRatio,
    crop_points,
    highlighted,
    ratio_of_net,
)
from crnet.models.crnet import StreamNet
from crnet.report.pictures import Picture
from crnet.report.style import FEATURE_COLOURS, INK, new_figure
from crnet.training.distributed import choose_device
from crnet.types import VisualStream
from crnet.utils.number_format import percent

CLIPS = 3  # of the test split, spread evenly over it
VISUAL: tuple[VisualStream, ...] = ("scene", "face")


@dataclass(frozen=True, eq=False)
class Seen:
    """The middle frame of a clip as a network sees it.

    Attributes:
        stream: Which network.
        picture: uint8 [P, P, 3].
        maps: For each stage of the backbone float32 [P, P] in [0, 1].
        points: float32 [6, 2], the key points in pixels; None for the scene, or without a face.
    """

    stream: VisualStream
    picture: Picture
    maps: dict[Layer, Float32[np.ndarray, "P P"]]
    points: Float32[np.ndarray, "6 2"] | None


@dataclass(frozen=True)
class Counted:
    """A key-point ratio, and of which network: one of the lab's seeds, or of a seed before any training."""

    trained: bool
    seed: int
    found: KeyPointRatio


class FeatureMaps:
    """Fig. 12 of the paper for every stage of the backbone, and the ratio with what it must be held against."""

    name = "fig12"
    title = "Fig. 12: feature maps and the key-point ratio"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The standard visual networks."""
        return tuple(lab.standard(stream) for stream in VISUAL if stream in lab.base.streams)

    def run(self, lab: Lab, folder: Path) -> Section:
        """Draw maps of a few test clips; count the points over the whole split."""
        specs = self.nets(lab)
        if not specs:
            return Section(self.title, "Left out: there is neither a scene nor a face stream.\n")
        seen = {spec.stream: look_at_clips(lab, spec) for spec in specs}
        counted = count_points(lab, specs[-1]) if specs[-1].stream == "face" else []
        rows = [
            [
                "trained" if one.trained else "untrained",
                one.seed,
                one.found.layer,
                cells_a_side(one.found.layer, lab.base.transforms.pixels),
                *(one.found.clips, one.found.frames, one.found.points),
                *(one.found.ratio, one.found.centred_disc, one.found.chance),
            ]
            for one in counted
        ]
        header = ["network", "seed", "layer", "cells", "clips", "frames", "points", "ratio", "centred_disc", "chance"]
        files = leave(folder, self.name, _figure(list(seen.values()), lab.base.transforms.pixels), header, rows)
        data = {"paper": PAPER_RATIO, "ratios": [dict(zip(header, row, strict=True)) for row in rows]}
        return Section(self.title, _words(files[0], lab, counted), files, data)


def look_at_clips(lab: Lab, spec: NetSpec) -> list[Seen]:
    """The middle frames of a few test clips, with the maps of every stage."""
    rows = lab.rows("test")
    chosen = np.unique(np.linspace(0, len(rows) - 1, CLIPS).round().astype(int))
    net = lab.net(spec, lab.seeds[0])
    config, margin = spec.config.transforms, _face_margin(lab)
    seen = []
    stream: VisualStream = "scene" if spec.stream == "scene" else "face"
    for row in (rows[i] for i in chosen):
        clip = read_clip(lab.store / row.file)
        batch = collate([read_sample(as_clip_source(clip), config, None, [stream], row.clip_id)])
        frames = cast("Tensor", batch.scene if stream == "scene" else batch.face)
        middle = frames.shape[1] // 2
        points = None
        if stream == "face":
            points = crop_points(clip, choose_frames(as_clip_source(clip), config.frames, None), margin)[middle]
            points = points * config.pixels if np.isfinite(points).all() else None
        maps = {layer: compute_feature_maps(net, batch, layer)[middle] for layer in LAYERS}
        seen.append(Seen(stream, frames[0, middle].permute(1, 2, 0).numpy(), maps, points))
    return seen


def count_points(lab: Lab, spec: NetSpec) -> list[Counted]:
    """The ratio of every seed at the usual stage; of the first one at the others, and before training."""
    config, margin = spec.config.transforms, _face_margin(lab)
    device, usual, first = choose_device(lab.base.training.device), default_layer(config.pixels), lab.seeds[0]
    wanted: list[tuple[bool, int, Layer]] = [(True, seed, usual) for seed in lab.seeds]
    wanted += [(True, first, layer) for layer in LAYERS if layer != usual]
    wanted += [(False, first, usual)]
    counted = []
    for trained, seed, layer in wanted:
        net = lab.net(spec, seed) if trained else StreamNet(spec.stream, spec.config.model, seed)
        net.to(device)
        found = ratio_of_net(net, lab.store, config, margin, layer=layer, progress=lab.progress)
        counted.append(Counted(trained, seed, found))
    return counted


def _face_margin(lab: Lab) -> float:
    """With which the store's faces were cut out; stores made by tests do not say."""
    return float(lab.manifest.settings.get("face_margin", 0.0))


def _words(picture: Path, lab: Lab, counted: Sequence[Counted]) -> str:
    pixels = lab.base.transforms.pixels
    usual = default_layer(pixels)
    cells = listed([f"{n} x {n}" for n in (cells_a_side(layer, pixels) for layer in LAYERS)])
    return prose(f"""
{image(picture, "Frames and feature maps of every stage of the backbone, scene and face")}

The paper (Sec. 5.6, Fig. 12): the face network is most active at eyes, nose and mouth: {percent(PAPER_RATIO, 2)} of six
key points lie on the {HIGHLIGHTED_SHARE:.0%} highest pixels of the feature maps. It does not say of which stage.

Ours, in the middle frame of test clips: each map is the mean over the channels, scaled to its own range (blue low, red
high). The stage is a choice: at {pixels} pixels the four have {cells} cells. We read {usual}, the last with seven cells
or more. White outlines hold the {HIGHLIGHTED_SHARE:.0%} highest pixels, dots are the key points.

{_ratios(lab, counted) if counted else "No ratio: there is no face stream."}
""")


def _ratios(lab: Lab, counted: Sequence[Counted]) -> str:
    usual = default_layer(lab.base.transforms.pixels)
    found = counted[0].found
    of_seeds = [one.found.ratio for one in counted if one.trained and one.found.layer == usual]
    untrained = next(one.found.ratio for one in counted if not one.trained)
    lines = [Line(("paper", "not said", percent(PAPER_RATIO, 2)), "paper")]
    lines += [
        Line(
            (
                f"seed {one.seed}" + ("" if one.trained else ", untrained"),
                one.found.layer,
                percent(one.found.ratio, 2),
            )
        )
        for one in counted
    ]
    lines.append(Line(("centred disc of the same area", "–", percent(found.centred_disc, 2)), "floor"))
    lines.append(Line(("points anywhere", "–", percent(found.chance, 2)), "floor"))
    grid = Grid("Key points on highlighted pixels", ("", "stage", "ratio"), tuple(lines), words=2)
    mean = float(np.mean(of_seeds))
    above = {"a disc in the middle": found.centred_disc, "the untrained network": untrained, "chance": found.chance}
    beaten, not_beaten = ([name for name, value in above.items() if (mean > value) == wins] for wins in (True, False))
    said = [f"above {listed(beaten)}"] * bool(beaten) + [f"not above {listed(not_beaten)}"] * bool(not_beaten)
    return (
        f"{grid.to_markdown()}\n\nCounted over {found.frames:,} frames of {found.clips:,} test clips: "
        f"{percent(mean, 2)} at {usual} (mean of the seeds), {listed(said)}. A face crop has the face in its middle: "
        "a ratio speaks for key points only as far as it beats the disc."
    )


def _figure(streams: Sequence[Sequence[Seen]], pixels: int) -> Figure:
    clips = len(streams[0])
    figure = new_figure(0.4 + (0.88 if len(streams) > 1 else 1.75) * clips)
    grid = figure.subplots(clips, len(streams) * (1 + len(LAYERS)), squeeze=False)
    usual = default_layer(pixels)
    for place, seen in enumerate(streams):
        first = place * (1 + len(LAYERS))
        for line, one in enumerate(seen):
            _show(grid[line][first], one, None, f"{one.stream},\nas seen" if line == 0 else "", outlined=False)
            for column, (layer, heat) in enumerate(one.maps.items(), start=first + 1):
                cells = cells_a_side(layer, pixels)
                words = f"{layer}\n{cells} x {cells}" if line == 0 else ""
                _show(grid[line][column], one, heat, words, outlined=layer == usual)
    return figure


def _show(axes: Axes, seen: Seen, heat: np.ndarray | None, words: str, *, outlined: bool) -> None:
    axes.set_axis_off()
    if heat is None:
        axes.imshow(seen.picture, interpolation="bilinear")
    else:
        axes.imshow(heat, cmap=FEATURE_COLOURS, vmin=0, vmax=1)
    if outlined and heat is not None:
        axes.contour(highlighted(heat).astype(float), levels=[0.5], colors="white", linewidths=1.2)
    if seen.points is not None and (heat is None or outlined):
        axes.plot(
            *(seen.points - 0.5).T,
            linestyle="none",
            marker="o",
            markersize=3,
            color="white",
            markeredgecolor="black",
            markeredgewidth=0.5,
        )
    axes.set_title(words, fontsize=8, color=INK)
