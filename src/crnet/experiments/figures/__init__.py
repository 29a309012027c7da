"""Figures of the paper, and two that it lacks (training diagnostics, learning curve), one module each."""

from __future__ import annotations

from crnet.experiments.figures.batch_sum import BatchSum
from crnet.experiments.figures.bell_errors import BellErrors
from crnet.experiments.figures.examples import Examples
from crnet.experiments.figures.feature_maps import FeatureMaps
from crnet.experiments.figures.histograms import Histograms
from crnet.experiments.figures.loss_gradients import LossGradients
from crnet.experiments.figures.regressors import Regressors
from crnet.experiments.workspace import Experiment

FIGURES: tuple[Experiment, ...] = (
    BatchSum(),
    LossGradients(),
    Examples(),
    Histograms(),
    BellErrors(),
    Regressors(),
    FeatureMaps(),
)
"""The figures of the paper."""
