"""All experiments by their names on the command line."""

from __future__ import annotations

from crnet.experiments.figures import FIGURES
from crnet.experiments.figures.diagnostics import Diagnostics
from crnet.experiments.figures.learning_curve import LearningCurve
from crnet.experiments.paper.extremes import extremes
from crnet.experiments.paper.open_choices import open_choices
from crnet.experiments.paper.tables import TABLES
from crnet.experiments.workspace import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (*TABLES, open_choices, extremes, *FIGURES, LearningCurve(), Diagnostics())
}
