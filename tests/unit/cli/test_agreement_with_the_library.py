"""Choices and defaults that the command line repeats are those of the library.

The command line cannot import them: their modules import NumPy or torch, and `crnet COMMAND --help` would take longer.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from crnet.cli.explain import Explain
from crnet.cli.options import Command, PresetOption, SplitOption
from crnet.cli.prepare import Prepare
from crnet.cli.reproduce import BACKBONES, Reproduce
from crnet.cli.serve import Serve
from crnet.cli.simulate import Simulate
from crnet.cli.text import TextTrain
from crnet.config import Preset
from crnet.experiments.reproduce import reproduce
from crnet.explain.explain import explain_video
from crnet.explain.layers import Layer
from crnet.media.settings import MediaSettings
from crnet.models.config import ModelConfig
from crnet.serve.limits import Limits
from crnet.simulate.cues import Difficulty, Modality
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.score_rules import ScoreRule
from crnet.simulate.speech import Voice
from crnet.simulate.write_store import write_store
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.text.skip_thoughts.training import SkipThoughtsConfig
from crnet.types import Split

SERVE_PAGE = Path(__file__).resolve().parents[3] / "docs" / "serve.md"


def literal_values(annotation: object) -> set[str]:
    """Return the values of the Literals inside an annotation."""
    return {annotation} if isinstance(annotation, str) else set().union(*map(literal_values, get_args(annotation)))


def defaults(owner: Any) -> dict[str, Any]:
    """Return the default values of a dataclass or a function, by name."""
    if dataclasses.is_dataclass(owner):
        values = {field.name: field.default for field in dataclasses.fields(owner)}
        return {name: value for name, value in values.items() if value is not dataclasses.MISSING}
    parameters = inspect.signature(owner).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty}


@pytest.mark.parametrize(
    ("shown", "owner"),
    [
        (PresetOption, Preset),
        (SplitOption, Split),
        (get_type_hints(Simulate)["difficulty"], Difficulty),
        (get_type_hints(Simulate)["silent"], Modality),
        (get_type_hints(Simulate)["voice"], Voice),
        (get_type_hints(Simulate)["score_rule"], ScoreRule),
        (get_type_hints(Explain)["layer"], Layer),
    ],
    ids=["preset", "split", "difficulty", "silent", "voice", "score_rule", "layer"],
)
def test_choices(shown: object, owner: object) -> None:
    assert literal_values(shown) == literal_values(owner)


def test_backbones() -> None:
    assert set(BACKBONES) == literal_values(get_type_hints(ModelConfig)["backbone"])
    assert defaults(reproduce)["backbones"] == BACKBONES


@pytest.mark.parametrize(
    ("command", "owner", "different"),
    [
        (Serve, Limits, set()),
        (Simulate, SimulationConfig, {"voice"}),  # the command chooses the best voice
        (Simulate, write_store, set()),
        (Prepare, MediaSettings, set()),
        (Explain, explain_video, set()),
        (TextTrain, SkipThoughtsConfig, set()),
    ],
)
def test_defaults(command: type[Command], owner: Any, different: Collection[str]) -> None:
    shown, owned = defaults(command), defaults(owner)
    common = (shown.keys() & owned.keys()) - set(different)
    assert common
    assert {name: shown[name] for name in common} == {name: owned[name] for name in common}


def test_defaults_with_other_names() -> None:
    assert defaults(Prepare)["encoder"] == HashedNgrams.name
    assert tuple(range(defaults(Reproduce)["seeds"])) == defaults(reproduce)["seeds"]


def test_every_limit_is_an_option_with_its_default_in_the_docs() -> None:
    text = SERVE_PAGE.read_text(encoding="utf-8")
    for name, default in defaults(Limits).items():
        option = "--" + name.replace("_", "-")
        row = re.search(rf"^\| `{option}` \| (\S+) \|", text, flags=re.MULTILINE)
        assert row and float(row[1]) == default == defaults(Serve)[name], option
