"""Fig. 12: feature maps of the visual networks, and the share of key points on their highlighted pixels (Sec. 5.6)."""

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

from crnet.data.dataset import collate
from crnet.data.store import as_clip_source, read_clip
from crnet.data.transforms import choose_frames, read_sample
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.workspace import Section, Workspace
from crnet.explain.heat_maps import compute_feature_maps
from crnet.explain.key_points import (
    HIGHLIGHTED_SHARE,
    PAPER_RATIO,
    KeyPointRatio,
    crop_points,
    highlighted,
    ratio_of_net,
)
from crnet.explain.layers import LAYERS, Layer, cells_a_side, default_layer
from crnet.models.crnet import StreamNet
from crnet.report.figure_style import FEATURE_COLOURS, INK, new_figure
from crnet.report.pictures import Picture
from crnet.types import VISUAL_STREAMS, VisualStream
from crnet.utils.device import choose_device
from crnet.utils.number_format import percent
from crnet.utils.text_format import join_words

CLIPS = 3  # of the test split, evenly spaced
CSV_HEADER = ("network", "seed", "layer", "cells", "clips", "frames", "points", "ratio", "centred_disc", "chance")


@dataclass(frozen=True, eq=False)
class MiddleFrameMaps:
    """The middle frame of a clip and a network's feature maps of it.

    Attributes:
        stream: The network's stream.
        picture: uint8 [P, P, 3], the input of the network.
        maps: For each stage of the backbone, float32 [P, P] in [0, 1].
        points: float32 [6, 2], the key points in pixels; None for the scene, or without a face.
    """

    stream: VisualStream
    picture: Picture
    maps: dict[Layer, Float32[np.ndarray, "P P"]]
    points: Float32[np.ndarray, "6 2"] | None


@dataclass(frozen=True)
class NetworkRatio:
    """The key-point ratio of a trained network, or of one before training."""

    trained: bool
    seed: int
    ratio: KeyPointRatio


class FeatureMaps:
    """Fig. 12 of the paper for every stage of the backbone, and the key-point ratio with its baselines."""

    name = "fig12"
    title = "Fig. 12: feature maps and the key-point ratio"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the standard visual networks."""
        return tuple(workspace.standard_net(stream) for stream in VISUAL_STREAMS if stream in workspace.base.streams)

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Draw maps of a few test clips, and count the key points over the whole split."""
        specs, pixels = self.networks(workspace), workspace.base.transforms.pixels
        if not specs:
            return Section(self.title, "Left out: there is neither a scene nor a face stream.\n")
        maps = [clip_feature_maps(workspace, spec) for spec in specs]
        ratios = key_point_ratios(workspace, specs[-1]) if specs[-1].stream == "face" else []
        rows = [_csv_row(network, pixels) for network in ratios]
        files = write_figure(folder, self.name, _figure(maps, pixels), CSV_HEADER, rows)
        data = {"paper": PAPER_RATIO, "ratios": [dict(zip(CSV_HEADER, row, strict=True)) for row in rows]}
        return Section(self.title, _text(files[0], workspace, ratios), files, data)


def _csv_row(network: NetworkRatio, pixels: int) -> list[object]:
    ratio = network.ratio
    return [
        *("trained" if network.trained else "untrained", network.seed),
        *(ratio.layer, cells_a_side(ratio.layer, pixels)),
        *(ratio.clips, ratio.frames, ratio.points),
        *(ratio.ratio, ratio.centred_disc, ratio.chance),
    ]


def clip_feature_maps(workspace: Workspace, spec: NetSpec) -> list[MiddleFrameMaps]:
    """Return the middle frames of a few test clips with the maps of every stage."""
    rows = workspace.rows("test")
    places = np.unique(np.linspace(0, len(rows) - 1, CLIPS).round().astype(int))
    net = workspace.net(spec, workspace.seeds[0])
    config, margin = spec.config.transforms, _face_margin(workspace)
    stream: VisualStream = "scene" if spec.stream == "scene" else "face"
    frame_maps = []
    for row in (rows[i] for i in places):
        clip = read_clip(workspace.store / row.file, row.clip_id)
        batch = collate([read_sample(as_clip_source(clip), config, None, [stream], row.clip_id)])
        frames = cast("Tensor", batch.scene if stream == "scene" else batch.face)
        middle = frames.shape[1] // 2
        points = None
        if stream == "face":
            points = crop_points(clip, choose_frames(as_clip_source(clip), config.frames, None), margin)[middle]
            points = points * config.pixels if np.isfinite(points).all() else None
        maps = {layer: compute_feature_maps(net, batch, layer)[middle] for layer in LAYERS}
        frame_maps.append(MiddleFrameMaps(stream, frames[0, middle].permute(1, 2, 0).numpy(), maps, points))
    return frame_maps


def key_point_ratios(workspace: Workspace, spec: NetSpec) -> list[NetworkRatio]:
    """Return the ratio of every seed at the default stage, and that of the first seed at the others and untrained."""
    config, margin = spec.config.transforms, _face_margin(workspace)
    device = choose_device(workspace.base.training.device)
    default, first = default_layer(config.pixels), workspace.seeds[0]
    cases: list[tuple[bool, int, Layer]] = [(True, seed, default) for seed in workspace.seeds]
    cases += [(True, first, layer) for layer in LAYERS if layer != default]
    cases += [(False, first, default)]
    ratios = []
    for trained, seed, layer in cases:
        net = workspace.net(spec, seed) if trained else StreamNet(spec.stream, spec.config.model, seed)
        net.to(device)
        ratio = ratio_of_net(net, workspace.store, config, margin, layer=layer, progress=workspace.progress)
        ratios.append(NetworkRatio(trained, seed, ratio))
    return ratios


def _face_margin(workspace: Workspace) -> float:
    """Return the margin of the store's face crops; stores made by tests have none in their settings."""
    return float(workspace.manifest.settings.get("face_margin", 0.0))


def _text(picture: Path, workspace: Workspace, ratios: Sequence[NetworkRatio]) -> str:
    pixels = workspace.base.transforms.pixels
    default = default_layer(pixels)
    cells = join_words([f"{n} x {n}" for n in (cells_a_side(layer, pixels) for layer in LAYERS)])
    return unwrap(f"""
{image_link(picture, "Frames and feature maps of every stage of the backbone, scene and face")}

The paper (Sec. 5.6, Fig. 12): the face network is most active at eyes, nose and mouth. {percent(PAPER_RATIO, 2)} of the
six key points lie on the {HIGHLIGHTED_SHARE:.0%} highest pixels of the feature maps. The paper does not name the stage
of the backbone.

Here: maps of the middle frames of test clips. Each map is the mean over the channels, scaled to its own range (blue
low, red high). The stage is our choice: at {pixels} pixels, the four stages have {cells} cells. We use {default}, the
last with at least seven cells per side. White outlines enclose the {HIGHLIGHTED_SHARE:.0%} highest pixels; dots mark
the key points.

{_ratios_text(workspace, ratios) if ratios else "No ratio: there is no face stream."}
""")


def _ratios_text(workspace: Workspace, ratios: Sequence[NetworkRatio]) -> str:
    """Return the table of ratios and a comparison of the trained networks with the baselines."""
    default = default_layer(workspace.base.transforms.pixels)
    first = ratios[0].ratio
    mean = float(np.mean([n.ratio.ratio for n in ratios if n.trained and n.ratio.layer == default]))
    untrained = next(n.ratio.ratio for n in ratios if not n.trained)
    references = {"the centred disc": first.centred_disc, "the untrained network": untrained, "chance": first.chance}
    beaten = [name for name, value in references.items() if mean > value]
    not_beaten = [name for name in references if name not in beaten]
    parts = [f"above {join_words(beaten)}"] if beaten else []
    parts += [f"not above {' or '.join(not_beaten)}"] if not_beaten else []
    return (
        f"{_ratios_table(ratios).to_markdown()}\n\n"
        f"Counted over {first.frames:,} frames of {first.clips:,} test clips: {percent(mean, 2)} at {default} (mean "
        f"over the seeds), {' but '.join(parts)}. Faces are in the middle of their crops, so a ratio is evidence of "
        "attention to key points only as far as it exceeds that of the disc."
    )


def _ratios_table(ratios: Sequence[NetworkRatio]) -> RenderedTable:
    first = ratios[0].ratio
    rows = [RenderedRow(("paper", "not given", percent(PAPER_RATIO, 2)), "paper")]
    for network in ratios:
        name = f"seed {network.seed}" + ("" if network.trained else ", untrained")
        rows.append(RenderedRow((name, network.ratio.layer, percent(network.ratio.ratio, 2))))
    rows.append(RenderedRow(("centred disc of the same area", "–", percent(first.centred_disc, 2)), "floor"))
    rows.append(RenderedRow(("chance", "–", percent(first.chance, 2)), "floor"))
    return RenderedTable("Key points on highlighted pixels", ("network", "stage", "ratio"), tuple(rows), text_columns=2)


def _figure(streams: Sequence[Sequence[MiddleFrameMaps]], pixels: int) -> Figure:
    clips, columns = len(streams[0]), 1 + len(LAYERS)
    figure = new_figure(0.4 + (0.88 if len(streams) > 1 else 1.75) * clips)
    panels = figure.subplots(clips, len(streams) * columns, squeeze=False)
    for place, frame_maps in enumerate(streams):
        for line, frame in enumerate(frame_maps):
            _draw_frame(panels[line][place * columns : (place + 1) * columns], frame, pixels, headings=line == 0)
    return figure


def _draw_frame(panels: Sequence[Axes], frame: MiddleFrameMaps, pixels: int, *, headings: bool) -> None:
    """Draw the frame and its maps in a line of panels."""
    default = default_layer(pixels)
    for axes in panels:
        axes.set_axis_off()
    panels[0].imshow(frame.picture, interpolation="bilinear")
    _draw_points(panels[0], frame)
    for axes, (layer, heat) in zip(panels[1:], frame.maps.items(), strict=True):
        axes.imshow(heat, cmap=FEATURE_COLOURS, vmin=0, vmax=1)
        if layer == default:
            axes.contour(highlighted(heat).astype(float), levels=[0.5], colors="white", linewidths=1.2)
            _draw_points(axes, frame)
    if headings:
        panels[0].set_title(f"{frame.stream},\ninput", fontsize=8, color=INK)
        for axes, layer in zip(panels[1:], frame.maps, strict=True):
            cells = cells_a_side(layer, pixels)
            axes.set_title(f"{layer}\n{cells} x {cells}", fontsize=8, color=INK)


def _draw_points(axes: Axes, frame: MiddleFrameMaps) -> None:
    if frame.points is None:
        return
    axes.plot(
        *(frame.points - 0.5).T,
        linestyle="none",
        marker="o",
        markersize=3,
        color="white",
        markeredgecolor="black",
        markeredgewidth=0.5,
    )
