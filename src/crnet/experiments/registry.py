"""Every experiment by the name that the command line knows it by."""

from __future__ import annotations

from crnet.experiments.diagnostics import Diagnostics
from crnet.experiments.experiment import Experiment
from crnet.experiments.extremes import extremes
from crnet.experiments.figures import FIGURES
from crnet.experiments.learning_curve import LearningCurve
from crnet.experiments.readings import readings
from crnet.experiments.tables import TABLES

ALL: tuple[Experiment, ...] = (*TABLES, readings, extremes, *FIGURES, LearningCurve(), Diagnostics())
EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in ALL}
