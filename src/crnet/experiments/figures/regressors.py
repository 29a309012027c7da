"""Fig. 11: support vectors, a random forest and extra-trees on the same fused features."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestRegressor
from sklearn.svm import SVR

from crnet.experiments.figures.drawing import image, leave, listed, of_seeds, prose
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.paper.claims import Claim, judge
from crnet.experiments.rendering.rendered_table import Grid, Line
from crnet.experiments.rendering.write_table import judged_part
from crnet.experiments.workspace import Lab, Section
from crnet.fusion.fusion import Fusion
from crnet.report.style import FLOOR_LABEL, FLOOR_LINE, GREEN, INK, ORANGE, VERMILION, legend_below, new_figure, tidy
from crnet.types import SPLITS, TARGETS, TRAITS, Split
from crnet.utils.number_format import decimal

Features = Float32[np.ndarray, "N 6 M"]
Scores = Float64[np.ndarray, "N 6"]

SVR_NAME, FOREST_NAME, TREES_NAME = "SVR", "RF", "ETR"  # as in Fig. 11
COLOURS = {SVR_NAME: GREEN, FOREST_NAME: ORANGE, TREES_NAME: VERMILION}
MARKS = {SVR_NAME: "D", FOREST_NAME: "^", TREES_NAME: "o"}
MOST_TREES = 200  # of either forest: a thousand random-forest trees of 512 features take hours, and change little
# scikit-learn's own epsilon of 0.1 is two thirds of the labels' deviation: errors up to there would cost nothing.
SVR_CHOICES = [(c, epsilon) for c in (0.01, 0.1, 1.0) for epsilon in (0.01, 0.05)]
CLAIMS = (
    Claim("RF beats SVR", "Sec. 5.5", FOREST_NAME, SVR_NAME),
    Claim("ETR beats SVR", "Sec. 5.5", TREES_NAME, SVR_NAME),
    Claim("ETR beats RF", "Sec. 5.5", TREES_NAME, FOREST_NAME),
)


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a regressor says of the test split, and how long its fit took on this machine, all six targets together."""

    predictions: Scores
    seconds: float


class Regressors:
    """Fig. 11 of the paper, with the sizes named and the time beside the error."""

    name = "fig11"
    title = "Fig. 11: SVR, random forest and extra-trees"

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """The standard networks: their fused features are what is regressed on."""
        return lab.standards()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Fit all three with every seed and compare them on the test split."""
        truth = lab.truth("test")
        fitted: dict[str, list[Fitted]] = {name: [] for name in COLOURS}
        for done, seed in enumerate(lab.seeds):
            lab.progress("regressors", done, len(lab.seeds))
            for name, one in fit_all(lab, self.nets(lab), seed).items():
                fitted[name].append(one)
        lab.progress("regressors", len(lab.seeds), len(lab.seeds))
        scores = {name: np.stack([one.predictions for one in ones]) for name, ones in fitted.items()}
        seconds = {name: [one.seconds for one in ones] for name, ones in fitted.items()}
        accuracies = {name: 1 - np.abs(predictions - truth).mean(axis=1) for name, predictions in scores.items()}
        floor = 1 - np.abs(np.median(lab.truth("train"), axis=0) - truth).mean(axis=0)
        verdicts = [judge(claim, truth, scores[claim.better], scores[claim.worse]) for claim in CLAIMS]
        rows = [
            [name, seed, target, float(accuracies[name][s, i]), float(floor[i]), seconds[name][s]]
            for name in COLOURS
            for s, seed in enumerate(lab.seeds)
            for i, target in enumerate(TARGETS)
        ]
        header = ["regressor", "seed", "target", "accuracy", "floor", "seconds"]
        files = leave(folder, self.name, _figure(accuracies, floor, seconds), header, rows)
        claims = [verdict.to_dict() for verdict in verdicts]
        data: dict[str, Any] = {"conditions": lab.conditions, "claims": claims}
        judged, more = judged_part(folder, self.name, verdicts)
        words = _words(files[0], lab, accuracies, floor, seconds)
        return Section(self.title, f"{words}\n{judged}", (*files, *more), data)


def fit_all(lab: Lab, specs: Sequence[NetSpec], seed: int) -> dict[str, Fitted]:
    """Fuse the features as the system does and fit the three regressors on the training split."""
    features = {split: {spec.stream: lab.outputs(spec, seed, split).features for spec in specs} for split in SPLITS}
    config = replace(lab.base.fusion, trees=min(lab.base.fusion.trees, MOST_TREES), seed=seed)
    truth = lab.truth("train")
    begun = time.perf_counter()
    fusion = Fusion.fit(config, features["train"], truth)
    seconds = time.perf_counter() - begun
    fused: dict[Split, Features] = {split: fusion.fuse(features[split]) for split in SPLITS}
    most = min(config.max_features, fused["train"].shape[2])

    forests = [
        _timed(
            RandomForestRegressor(config.trees, max_features=most, n_jobs=-1, random_state=seed),
            fused["train"][:, i],
            truth[:, i],
        )
        for i in range(len(TARGETS))
    ]
    return {
        SVR_NAME: fit_svr(fused, truth, lab.truth("val")),
        FOREST_NAME: _predicted(forests, fused["test"]),
        TREES_NAME: Fitted(np.clip(fusion.predict(features["test"]), 0, 1), seconds),
    }


def fit_svr(fused: Mapping[Split, Features], truth: Scores, val: Scores) -> Fitted:
    """Support vectors with a Gaussian kernel; C and epsilon of each target are chosen on the validation split.

    The time is that of the chosen settings alone.
    """
    errors = np.empty((len(SVR_CHOICES), len(TARGETS)))
    fits = []
    for place, (c, epsilon) in enumerate(SVR_CHOICES):
        fits.append([_timed(SVR(C=c, epsilon=epsilon), fused["train"][:, i], truth[:, i]) for i in range(len(TARGETS))])
        for i, (model, _) in enumerate(fits[-1]):
            errors[place, i] = np.abs(model.predict(fused["val"][:, i]) - val[:, i]).mean()
    return _predicted([fits[place][i] for i, place in enumerate(errors.argmin(axis=0))], fused["test"])


def _timed(model: Any, x: Float32[np.ndarray, "N M"], y: Float64[np.ndarray, " N"]) -> tuple[Any, float]:
    begun = time.perf_counter()
    return model.fit(x, y), time.perf_counter() - begun


def _predicted(fits: Sequence[tuple[Any, float]], fused: Features) -> Fitted:
    scores = np.stack([model.predict(fused[:, i]) for i, (model, _) in enumerate(fits)], axis=1)
    return Fitted(np.clip(scores.astype(np.float64), 0, 1), sum(seconds for _, seconds in fits))


def _words(
    picture: Path,
    lab: Lab,
    accuracies: Mapping[str, np.ndarray],
    floor: np.ndarray,
    seconds: Mapping[str, list[float]],
) -> str:
    trees = min(lab.base.fusion.trees, MOST_TREES)
    sizes = {
        SVR_NAME: "Gaussian kernel, C and epsilon chosen on the validation split",
        FOREST_NAME: f"{trees} trees",
        TREES_NAME: f"{trees} trees",
    }
    lines = [
        Line(
            (
                name,
                sizes[name],
                of_seeds(_average(found)),
                of_seeds(found[:, -1].tolist()),
                f"{np.mean(seconds[name]):.2g}",
            )
        )
        for name, found in accuracies.items()
    ]
    lines.append(
        Line(
            ("floor", "training median", decimal(_average(floor[None])[0]), decimal(floor[-1]), "–"),
            "floor",
        )
    )
    grid = Grid("Regressors", ("regressor", "size", "1 - MAE", "interview", "fit, s"), tuple(lines), words=2)
    system = f"; the system's own extra-trees have {lab.base.fusion.trees}" if lab.base.fusion.trees > trees else ""
    return prose(f"""
{image(picture, "1 - MAE of three regressors for each target, and the time of their fits")}

The paper (Sec. 5.5, Fig. 11): both forests beat SVR, and extra-trees beat the random forest. It prints no sizes but
those of its extra-trees and no figures.

{grid.to_markdown()}

Ours, on the fused features of {listed(lab.base.streams)} and the test split ({len(lab.rows("test")):,} clips).
{lab.conditions} All see the same features, and both forests draw the same number of them at a node{system}. Seconds
are of fitting all six targets on this machine, forests on all cores and SVR on one, its search for C and epsilon left
out.
""")


def _average(accuracies: np.ndarray) -> list[float]:
    """Over the five traits, [S, 6] -> one number a seed."""
    return [float(value) for value in accuracies[:, [TARGETS.index(trait) for trait in TRAITS]].mean(axis=1)]


def _figure(accuracies: Mapping[str, np.ndarray], floor: np.ndarray, seconds: Mapping[str, list[float]]) -> Figure:
    figure = new_figure(3.6)
    left, right = figure.subplots(1, 2, width_ratios=[4.5, 1])
    tidy(left)
    columns = (*TARGETS, "average")
    for i, constant in enumerate((*floor, *_average(floor[None]))):
        left.hlines(constant, i - 0.36, i + 0.36, **FLOOR_LINE, label=FLOOR_LABEL if i == 0 else None)
    for place, (name, found) in enumerate(accuracies.items()):
        values = np.column_stack([found, _average(found)])
        x = np.arange(len(columns)) + (place - 1) * 0.22
        left.vlines(x, values.min(axis=0), values.max(axis=0), color=COLOURS[name], linewidth=1.4)
        left.plot(x, values.mean(axis=0), linestyle="none", marker=MARKS[name], color=COLOURS[name], label=name)
        right.barh(place, np.mean(seconds[name]), height=0.55, color=COLOURS[name])
        right.text(
            np.mean(seconds[name]), place, f" {np.mean(seconds[name]):.2g} s", fontsize=8, color=INK, va="center"
        )
    left.set_xticks(range(len(columns)), columns)
    left.tick_params(axis="x", length=0, labelsize=6.5)
    left.set_ylabel("1 - MAE\n(mean and range of the seeds)", fontsize=9, color=INK)
    tidy(right).grid(visible=False)
    right.set_yticks(range(len(accuracies)), list(accuracies))
    right.invert_yaxis()
    right.margins(x=0.5)
    right.set_xlabel("seconds to fit", fontsize=9, color=INK)
    legend_below(figure, left)
    return figure
