"""Every experiment by the name that the command line knows it by."""

from __future__ import annotations

from crnet.experiments.figures import FIGURES
from crnet.experiments.figures.diagnostics import Diagnostics
from crnet.experiments.figures.learning_curve import LearningCurve
from crnet.experiments.paper.extremes import extremes
from crnet.experiments.paper.open_choices import readings
from crnet.experiments.paper.tables import TABLES
from crnet.experiments.workspace import Experiment

ALL: tuple[Experiment, ...] = (*TABLES, readings, extremes, *FIGURES, LearningCurve(), Diagnostics())
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in ALL}
