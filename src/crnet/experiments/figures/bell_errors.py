"""Fig. 10: errors over the true score, with and without the Bell loss.

The experiment `crnet.experiments.paper.extremes` measures the errors at the ends of the scale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crnet.experiments.claims import Claim, Verdict, judge_share
from crnet.experiments.net_spec import NetSpec, UntrainedError
from crnet.experiments.paper.extremes import WITH, WITHOUT, tail_masks
from crnet.experiments.paper.tables import CR_ONLY
from crnet.experiments.rendering.claims_table import claims_section
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.score_methods import all_seed_scores
from crnet.experiments.seed_statistics import mean_sd_text
from crnet.experiments.workspace import Section, Workspace
from crnet.report.figure_style import (
    BLUE,
    FLOOR_LABEL,
    FLOOR_LINE,
    INK,
    MIN_PER_BIN,
    VERMILION,
    legend_below,
    new_figure,
    tidy,
    title,
)
from crnet.types import TRAIT_INDICES, TRAITS, Stream
from crnet.utils.text_format import join_words

Scores = Float64[np.ndarray, "N 6"]
SeedScores = Float64[np.ndarray, "S N 6"]
WithAndWithout = tuple[SeedScores, SeedScores]
"""Scores of a network trained with the Bell loss, and of one trained without."""

HIGH_ERROR = 0.2  # well beyond the floor's mean error of .117 on FIv2; the paper gives no number
STYLES = {WITH: (BLUE, "o"), WITHOUT: (VERMILION, "^")}  # colours and markers of Fig. 10
CSV_HEADER = ("stream", "trait", "clip", "truth", "error_with_bell", "error_without_bell", "error_of_floor")


@dataclass(frozen=True)
class Errors:
    """Errors of a network on the test split over the five traits, one number per seed.

    Attributes:
        mean: Mean absolute error.
        outer: Mean absolute error in the lowest and highest tenths of each trait's truth.
        high_share: Share of errors above `HIGH_ERROR`.
        largest: Largest error.
    """

    mean: list[float]
    outer: list[float]
    high_share: list[float]
    largest: list[float]

    @classmethod
    def measure(cls, truth: Scores, predictions: SeedScores) -> Errors:
        """Measure the predictions of every seed."""
        errors = np.abs(predictions - truth)[:, :, TRAIT_INDICES]
        low, high = tail_masks(truth)
        extreme = (low | high)[:, TRAIT_INDICES]
        return cls(
            mean=errors.mean(axis=(1, 2)).tolist(),
            outer=[float(by_seed[extreme].mean()) for by_seed in errors],
            high_share=(errors > HIGH_ERROR).mean(axis=(1, 2)).tolist(),
            largest=errors.max(axis=(1, 2)).tolist(),
        )


class BellErrors:
    """Fig. 10 of the paper, for every stream."""

    name = "fig10"
    title = "Fig. 10: errors with and without the Bell loss"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the standard networks, and the same without Bell (Table 4, "CR -")."""
        return tuple(spec for stream in workspace.base.streams for spec in _pair(workspace, stream))

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Draw the errors on the test split and judge the high ones; leave out streams whose training failed."""
        truth, floor = workspace.truth("test"), workspace.floor("test")
        scores: dict[Stream, WithAndWithout] = {}
        for stream in workspace.base.streams:
            try:
                with_bell, without_bell = (
                    all_seed_scores(workspace, spec, "test") for spec in _pair(workspace, stream)
                )
                scores[stream] = with_bell, without_bell
            except UntrainedError:
                continue
        if not scores:
            return Section(self.title, "Left out: training failed in every stream.\n")
        errors = {
            stream: [Errors.measure(truth, predictions) for predictions in pair] for stream, pair in scores.items()
        }
        floor_errors = Errors.measure(truth, floor[None])
        verdicts = [_judge(stream, truth, pair) for stream, pair in scores.items()]
        rows = _csv_rows(workspace, truth, floor, scores)
        files = write_figure(folder, self.name, _figure(truth, floor, scores), CSV_HEADER, rows)
        data: dict[str, Any] = {
            stream: dict(zip(("with_bell", "without_bell"), map(asdict, pair), strict=True))
            for stream, pair in errors.items()
        }
        data |= {"floor": asdict(floor_errors), "conditions": workspace.conditions}
        data["claims"] = [verdict.to_dict() for verdict in verdicts]
        claims, claims_files = claims_section(folder, self.name, verdicts)
        text = _text(files[0], workspace, errors, _table(errors, floor_errors))
        return Section(self.title, f"{text}\n{claims}", (*files, *claims_files), data)


def _pair(workspace: Workspace, stream: Stream) -> tuple[NetSpec, NetSpec]:
    """Return the networks with and without Bell."""
    return workspace.standard_net(stream), NetSpec(stream, CR_ONLY(workspace.base))


def _judge(stream: Stream, truth: Scores, pair: WithAndWithout) -> Verdict:
    claim = Claim(f"fewer errors above {HIGH_ERROR} with Bell ({stream})", "Sec. 5.2, Fig. 10", WITH, WITHOUT)
    return judge_share(claim, truth, *pair, above=HIGH_ERROR)


def _csv_rows(
    workspace: Workspace, truth: Scores, floor: Scores, scores: Mapping[Stream, WithAndWithout]
) -> list[list[object]]:
    """Return every error of the first seed."""
    return [
        [
            *(stream, trait, row.clip_id, float(truth[n, i])),
            *(float(abs(prediction[n, i] - truth[n, i])) for prediction in (with_bell[0], without_bell[0], floor)),
        ]
        for stream, (with_bell, without_bell) in scores.items()
        for trait, i in zip(TRAITS, TRAIT_INDICES, strict=True)
        for n, row in enumerate(workspace.rows("test"))
    ]


def _table(errors: Mapping[Stream, Sequence[Errors]], floor: Errors) -> RenderedTable:
    rows = [
        RenderedRow((stream, word, *_cells(network)))
        for stream, pair in errors.items()
        for word, network in zip(("with", "without"), pair, strict=True)
    ]
    rows.append(RenderedRow(("floor", "–", *_cells(floor)), "floor"))
    header = ("stream", "Bell", "mean error", "outer tenths", f"share above {HIGH_ERROR}", "largest error")
    return RenderedTable("Errors with and without the Bell loss", header, tuple(rows), text_columns=2)


def _cells(errors: Errors) -> tuple[str, ...]:
    return tuple(mean_sd_text(values) for values in (errors.mean, errors.outer, errors.high_share, errors.largest))


def _text(picture: Path, workspace: Workspace, errors: Mapping[Stream, Sequence[Errors]], table: RenderedTable) -> str:
    ratios = [float(np.mean(network.outer) / np.mean(network.mean)) for pair in errors.values() for network in pair]
    failed = [stream for stream in workspace.base.streams if stream not in errors]
    failed_note = f" Left out because training failed: {join_words(failed)}." if failed else ""
    return unwrap(f"""
{image_link(picture, "Absolute error over the true score, with and without the Bell loss, for each stream")}

The paper (Sec. 5.2, Fig. 10): without Bell, more samples appear to have a high error, and for some with an extreme
truth the error is as large as 0.8.

{table.to_markdown()}

Here: the networks' own scores of the test split, {len(workspace.rows("test")):,} clips, over the five traits; with
several seeds, mean and standard deviation (the points in the picture: seed {workspace.seeds[0]}). The floor is the
training median for everyone. {workspace.conditions} In the outer tenths the error is {min(ratios):.1f} to
{max(ratios):.1f} times the mean, across all streams, with Bell and without. The paper does not define a high error; we
count errors above {HIGH_ERROR}.{failed_note}
""")


def _figure(truth: Scores, floor: Scores, scores: Mapping[Stream, WithAndWithout]) -> Figure:
    figure = new_figure(5.6)
    panels = figure.subplots(2, len(scores), squeeze=False, sharex=True, sharey="row")
    trait_truth = truth[:, TRAIT_INDICES]
    floor_curve = _mean_by_tenth(trait_truth, np.abs(floor - truth)[None, :, TRAIT_INDICES])
    for (above, below), (stream, pair) in zip(panels.T, scores.items(), strict=True):
        _draw_errors(tidy(above), tidy(below), trait_truth, [predictions[:, :, TRAIT_INDICES] for predictions in pair])
        below.plot(*floor_curve, label=FLOOR_LABEL, **FLOOR_LINE)
        title(above, stream)
        below.set_xlim(-0.02, 1.02)
        below.set_xlabel("true score", fontsize=9, color=INK)
    panels[0][0].set_ylabel("absolute error,\none clip and trait", fontsize=9, color=INK)
    panels[1][0].set_ylabel("mean absolute error\nby tenth of the scale", fontsize=9, color=INK)
    for axes in panels[:, 0]:
        axes.set_ylim(bottom=0)
    legend_below(figure, panels[1][0])
    return figure


def _draw_errors(
    above: Axes,
    below: Axes,
    truth: Float64[np.ndarray, "N 5"],
    with_and_without: Sequence[Float64[np.ndarray, "S N 5"]],
) -> None:
    """Draw the errors of the first seed as points, and the means of all seeds as lines."""
    for (label, (colour, marker)), predictions in zip(STYLES.items(), with_and_without, strict=True):
        errors = np.abs(predictions - truth)
        style: dict[str, Any] = {"color": colour, "marker": marker}
        above.plot(
            truth.ravel(),
            errors[0].ravel(),
            linestyle="none",
            markersize=3.5,
            markeredgewidth=0,
            alpha=0.45 if errors[0].size < 3_000 else 0.2,
            **style,
        )
        below.plot(*_mean_by_tenth(truth, errors), linewidth=1.5, markersize=4.5, label=label, **style)


def _mean_by_tenth(
    truth: Float64[np.ndarray, "N 5"], errors: Float64[np.ndarray, "S N 5"]
) -> tuple[list[float], list[float]]:
    """Return middle and mean error over all seeds, for each tenth of the scale with at least `MIN_PER_BIN` scores."""
    bins = np.minimum((truth * 10).astype(int), 9)
    tenths = [tenth for tenth in range(10) if (bins == tenth).sum() >= MIN_PER_BIN]
    return [(tenth + 0.5) / 10 for tenth in tenths], [float(errors[:, bins == tenth].mean()) for tenth in tenths]
