"""Overrides: functions that turn the configuration of the full CR-Net into that of one row of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crnet.config import Config
from crnet.models.config import Head
from crnet.models.losses import LossName
from crnet.types import Backbone

ConfigOverride = Callable[[Config], Config]


def unchanged(config: Config) -> Config:
    """Return the full CR-Net."""
    return config


def with_model(**fields: Any) -> ConfigOverride:
    """Return an override that replaces fields of `ModelConfig`."""
    return lambda config: replace(config, model=replace(config.model, **fields))


def with_backbone(backbone: Backbone) -> ConfigOverride:
    """Return an override to a kind of visual backbone.

    If it is the other kind, it has neither the initial weights nor the weights per frame of the full CR-Net, because
    they do not fit: it starts from He initialisation and averages the frames.
    """

    def override(config: Config) -> Config:
        if config.model.backbone == backbone:
            return config
        return with_model(backbone=backbone, init=None, temporal="mean")(config)

    return override


def with_fusion(**fields: Any) -> ConfigOverride:
    """Return an override that replaces fields of `FusionConfig`."""
    return lambda config: replace(config, fusion=replace(config.fusion, **fields))


def with_losses(*terms: LossName) -> ConfigOverride:
    """Return an override with other losses in stage 2; stage 1 stays classification."""
    return lambda config: _with_head(config, config.model.head, terms, keep_classification_stage=True)


def with_plain_head(*terms: LossName) -> ConfigOverride:
    """Return an override to the backbone with one linear layer: no CR-block, no classes, hence no stage 1.

    Stage 2 keeps its number of epochs.
    """
    return lambda config: _with_head(config, "plain", terms, keep_classification_stage=False)


def with_expectation_head(config: Config) -> Config:
    """Score by the expectation over the classes, trained by classification in both stages (Rothe et al. 2015)."""
    return _with_head(config, "expectation", ("classification",), keep_classification_stage=True)


def with_regressed_expectation_head(config: Config) -> Config:
    """Add a regression loss on the expectation to the classification (Gao et al. 2018); Table 6 has no Bell loss."""
    return _with_head(config, "expectation+regression", ("l1", "mse", "classification"), keep_classification_stage=True)


def chain(*overrides: ConfigOverride) -> ConfigOverride:
    """Return an override that applies several, first to last."""

    def apply_all(config: Config) -> Config:
        for override in overrides:
            config = override(config)
        return config

    return apply_all


def _with_head(config: Config, head: Head, terms: tuple[LossName, ...], *, keep_classification_stage: bool) -> Config:
    """Replace head and losses in one step, because each configuration must be valid."""
    first, second = config.training.stages
    first = first if keep_classification_stage else replace(first, epochs=0)
    stages = (first, replace(second, terms=terms))
    return replace(config, model=replace(config.model, head=head), training=replace(config.training, stages=stages))
