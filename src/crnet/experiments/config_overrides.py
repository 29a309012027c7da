"""What a row of a table does differently from the full CR-Net: functions from one configuration to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from crnet.config import Config
from crnet.models.crnet import Head
from crnet.training.config import Term

Change = Callable[[Config], Config]


def unchanged(config: Config) -> Config:
    """The full CR-Net."""
    return config


def with_model(**fields: Any) -> Change:
    """Other values for fields of `ModelConfig`."""
    return lambda config: replace(config, model=replace(config.model, **fields))


def with_fusion(**fields: Any) -> Change:
    """Other values for fields of `FusionConfig`."""
    return lambda config: replace(config, fusion=replace(config.fusion, **fields))


def with_losses(*terms: Term) -> Change:
    """Other losses in the second stage; the first one classifies as ever."""
    return lambda config: _with_head(config, config.model.head, terms, classifies_first=True)


def plain(*terms: Term) -> Change:
    """The backbone alone: no CR-block, no classes, hence no first stage; as many epochs of regression as ever."""
    return lambda config: _with_head(config, "plain", terms, classifies_first=False)


def expectation(config: Config) -> Config:
    """The classes' expectation as the score, trained by classification in both stages (Rothe et al. 2015)."""
    return _with_head(config, "expectation", ("guide",), classifies_first=True)


def expectation_and_regression(config: Config) -> Config:
    """A regression loss on the expectation beside the classification (Gao et al. 2018); Table 6 has no Bell loss."""
    return _with_head(config, "expectation+regression", ("l1", "mse", "guide"), classifies_first=True)


def both(first: Change, second: Change) -> Change:
    """One change, then another."""
    return lambda config: second(first(config))


def _with_head(config: Config, head: Head, terms: tuple[Term, ...], *, classifies_first: bool) -> Config:
    """Head and losses in one step, since they must fit each other."""
    first, second = config.training.stages
    first = first if classifies_first else replace(first, epochs=0)
    stages = (first, replace(second, terms=terms))
    return replace(config, model=replace(config.model, head=head), training=replace(config.training, stages=stages))
