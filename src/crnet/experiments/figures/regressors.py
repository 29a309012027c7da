"""Fig. 11: support vector regression, a random forest and extra-trees on the same fused features."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from crnet.experiments.claims import Claim, judge
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.rendering.claims_table import claims_section
from crnet.experiments.rendering.markdown import image_link, unwrap
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable
from crnet.experiments.rendering.write_figure import write_figure
from crnet.experiments.seed_statistics import mean_sd_text
from crnet.experiments.workspace import Section, Workspace
from crnet.fusion.fusion import Fusion
from crnet.metrics import AVERAGE
from crnet.report.figure_style import (
    FLOOR_LABEL,
    FLOOR_LINE,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    legend_below,
    new_figure,
    tidy,
)
from crnet.types import SPLITS, TARGETS, TRAIT_INDICES, Split, target_label
from crnet.utils.number_format import decimal
from crnet.utils.text_format import join_words

Features = Float32[np.ndarray, "N 6 M"]
Scores = Float64[np.ndarray, "N 6"]
Accuracies = Mapping[str, Float64[np.ndarray, "S 6"]]
"""1 - MAE of each seed and target, by the regressor's name."""

SVR_NAME, FOREST_NAME, TREES_NAME = "SVR", "RF", "ETR"  # as in Fig. 11
COLOURS = {SVR_NAME: GREEN, FOREST_NAME: ORANGE, TREES_NAME: VERMILION}
MARKERS = {SVR_NAME: "D", FOREST_NAME: "^", TREES_NAME: "o"}
MAX_TREES = 200  # of either forest; a random forest of 1000 trees on 512 features takes hours and hardly differs
# scikit-learn's default epsilon of 0.1 is two thirds of the labels' deviation: smaller errors would cost nothing.
SVR_SETTINGS = [(c, epsilon) for c in (0.01, 0.1, 1.0) for epsilon in (0.01, 0.05)]
CLAIMS = (
    Claim("RF beats SVR", "Sec. 5.5", FOREST_NAME, SVR_NAME),
    Claim("ETR beats SVR", "Sec. 5.5", TREES_NAME, SVR_NAME),
    Claim("ETR beats RF", "Sec. 5.5", TREES_NAME, FOREST_NAME),
)


@dataclass(frozen=True, eq=False)
class FittedRegressor:
    """Scores of the test split, and the time to fit all six targets on this machine."""

    predictions: Scores
    seconds: float


class Regressors:
    """Fig. 11 of the paper, with the sizes of the regressors and the time to fit them."""

    name = "fig11"
    title = "Fig. 11: SVR, random forest and extra-trees"

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return the standard networks, whose fused features are the input of the regression."""
        return workspace.standard_nets()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Fit all three with every seed and compare them on the test split."""
        truth = workspace.truth("test")
        by_seed = []
        for done, seed in enumerate(workspace.seeds):
            workspace.progress("regressors", done, len(workspace.seeds))
            by_seed.append(fit_all(workspace, self.networks(workspace), seed))
        workspace.progress("regressors", len(workspace.seeds), len(workspace.seeds))
        scores = {name: np.stack([fitted[name].predictions for fitted in by_seed]) for name in COLOURS}
        seconds = {name: [fitted[name].seconds for fitted in by_seed] for name in COLOURS}
        accuracies = {name: 1 - np.abs(predictions - truth).mean(axis=1) for name, predictions in scores.items()}
        floor = 1 - np.abs(workspace.floor("test") - truth).mean(axis=0)
        verdicts = [judge(claim, truth, scores[claim.better], scores[claim.worse]) for claim in CLAIMS]
        rows = [
            [name, seed, target, float(accuracies[name][s, i]), float(floor[i]), seconds[name][s]]
            for name in COLOURS
            for s, seed in enumerate(workspace.seeds)
            for i, target in enumerate(TARGETS)
        ]
        header = ["regressor", "seed", "target", "accuracy", "floor", "seconds"]
        files = write_figure(folder, self.name, _figure(accuracies, floor, seconds), header, rows)
        claims, claims_files = claims_section(folder, self.name, verdicts)
        text = _text(files[0], workspace, _table(workspace, accuracies, floor, seconds))
        data = {"conditions": workspace.conditions, "claims": [verdict.to_dict() for verdict in verdicts]}
        return Section(self.title, f"{text}\n{claims}", (*files, *claims_files), data)


def fit_all(workspace: Workspace, specs: Sequence[NetSpec], seed: int) -> dict[str, FittedRegressor]:
    """Fuse the features as the system does and fit the three regressors on the training split."""
    features = {
        split: {spec.stream: workspace.outputs(spec, seed, split).features for spec in specs} for split in SPLITS
    }
    config = replace(workspace.base.fusion, trees=_trees(workspace), seed=seed)
    truth = workspace.truth("train")
    start_s = time.perf_counter()
    fusion = Fusion.fit(config, features["train"], truth)
    seconds = time.perf_counter() - start_s
    fused: dict[Split, Features] = {split: fusion.fuse(features[split]) for split in SPLITS}
    max_features = min(config.max_features, fused["train"].shape[2])
    forests = [
        _fit(
            RandomForestRegressor(config.trees, max_features=max_features, n_jobs=-1, random_state=seed),
            fused["train"][:, i],
            truth[:, i],
        )
        for i in range(len(TARGETS))
    ]
    return {
        SVR_NAME: fit_svr(fused, truth, workspace.truth("val")),
        FOREST_NAME: _predict(forests, fused["test"]),
        TREES_NAME: FittedRegressor(fusion.predict(features["test"], {}), seconds),
    }


def fit_svr(fused: Mapping[Split, Features], truth: Scores, val: Scores) -> FittedRegressor:
    """Fit support vector regression with a Gaussian kernel; the validation split selects C and epsilon of each target.

    The time covers the selected settings only.
    """
    errors = np.empty((len(SVR_SETTINGS), len(TARGETS)))
    fits = []
    for place, (c, epsilon) in enumerate(SVR_SETTINGS):
        fits.append([_fit(SVR(C=c, epsilon=epsilon), fused["train"][:, i], truth[:, i]) for i in range(len(TARGETS))])
        for i, (model, _) in enumerate(fits[-1]):
            errors[place, i] = np.abs(model.predict(fused["val"][:, i]) - val[:, i]).mean()
    return _predict([fits[place][i] for i, place in enumerate(errors.argmin(axis=0))], fused["test"])


def _fit(model: Any, x: Float32[np.ndarray, "N M"], y: Float64[np.ndarray, " N"]) -> tuple[Any, float]:
    """Fit a model; return it and the seconds that it took."""
    start_s = time.perf_counter()
    return model.fit(x, y), time.perf_counter() - start_s


def _predict(fits: Sequence[tuple[Any, float]], fused: Features) -> FittedRegressor:
    scores = np.stack([model.predict(fused[:, i]) for i, (model, _) in enumerate(fits)], axis=1)
    return FittedRegressor(np.clip(scores.astype(np.float64), 0, 1), sum(seconds for _, seconds in fits))


def _trees(workspace: Workspace) -> int:
    return min(workspace.base.fusion.trees, MAX_TREES)


def _table(
    workspace: Workspace, accuracies: Accuracies, floor: np.ndarray, seconds: Mapping[str, list[float]]
) -> RenderedTable:
    sizes = {
        SVR_NAME: "Gaussian kernel, C and epsilon selected on the validation split",
        FOREST_NAME: f"{_trees(workspace)} trees",
        TREES_NAME: f"{_trees(workspace)} trees",
    }
    rows = [
        RenderedRow(
            (
                name,
                sizes[name],
                mean_sd_text(_trait_average(values)),
                mean_sd_text(values[:, -1].tolist()),
                f"{np.mean(seconds[name]):.2g}",
            )
        )
        for name, values in accuracies.items()
    ]
    floor_cells = ("floor", "training median", decimal(_trait_average(floor[None])[0]), decimal(floor[-1]), "–")
    rows.append(RenderedRow(floor_cells, "floor"))
    header = ("regressor", "size", "1 - MAE", "interview", "fit, s")
    return RenderedTable("Regressors", header, tuple(rows), text_columns=2)


def _text(picture: Path, workspace: Workspace, table: RenderedTable) -> str:
    all_trees = workspace.base.fusion.trees
    system = f" The system itself has {all_trees} extra-trees." if all_trees > _trees(workspace) else ""
    return unwrap(f"""
{image_link(picture, "1 - MAE of three regressors for each target, and the time to fit them")}

The paper (Sec. 5.5, Fig. 11): both forests beat SVR, and extra-trees beat the random forest. It prints no numbers, and
no sizes except that of its extra-trees.

{table.to_markdown()}

Here: the fused features of {join_words(workspace.base.streams)} and the test split ({len(workspace.rows("test")):,}
clips). {workspace.conditions} All regressors get the same features, and both forests try the same number of features
at each node.{system} The time is for fitting all six targets on this machine, forests on all cores and SVR on one,
without the search for C and epsilon.
""")


def _trait_average(accuracies: np.ndarray) -> list[float]:
    """Return the average over the five traits of [S, 6], one number per seed."""
    return [float(value) for value in accuracies[:, TRAIT_INDICES].mean(axis=1)]


def _figure(accuracies: Accuracies, floor: np.ndarray, seconds: Mapping[str, list[float]]) -> Figure:
    figure = new_figure(3.6)
    left, right = figure.subplots(1, 2, width_ratios=[4.5, 1])
    _draw_accuracies(left, accuracies, floor)
    _draw_seconds(right, seconds)
    legend_below(figure, left)
    return figure


def _draw_accuracies(axes: Axes, accuracies: Accuracies, floor: np.ndarray) -> None:
    tidy(axes)
    columns = (*TARGETS, AVERAGE)
    for i, value in enumerate((*floor, *_trait_average(floor[None]))):
        axes.hlines(value, i - 0.36, i + 0.36, **FLOOR_LINE, label=FLOOR_LABEL if i == 0 else "")
    for place, (name, by_target) in enumerate(accuracies.items()):
        values = np.column_stack([by_target, _trait_average(by_target)])
        x = np.arange(len(columns)) + (place - 1) * 0.22
        axes.vlines(x, values.min(axis=0), values.max(axis=0), color=COLOURS[name], linewidth=1.4)
        axes.plot(x, values.mean(axis=0), linestyle="none", marker=MARKERS[name], color=COLOURS[name], label=name)
    axes.set_xticks(range(len(columns)), [target_label(name).replace(" (", "\n(") for name in columns])
    axes.tick_params(axis="x", length=0, labelsize=6.5)
    axes.set_ylabel("1 - MAE\n(mean and range over the seeds)", fontsize=9, color=INK)


def _draw_seconds(axes: Axes, seconds: Mapping[str, list[float]]) -> None:
    tidy(axes).grid(visible=False)
    for place, (name, values) in enumerate(seconds.items()):
        mean = float(np.mean(values))
        axes.barh(place, mean, height=0.55, color=COLOURS[name])
        axes.text(mean, place, f" {mean:.2g} s", fontsize=8, color=INK, va="center")
    axes.set_yticks(range(len(seconds)), list(seconds))
    axes.invert_yaxis()
    axes.margins(x=0.5)
    axes.set_xlabel("seconds to fit", fontsize=9, color=INK)
