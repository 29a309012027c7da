"""The share of the gap between floor and ceiling that each system closes, for stores with a ceiling."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from crnet.bundle.bundle import Bundle
from crnet.cli.evaluation_tables import tables
from crnet.evaluation.evaluate import evaluate
from crnet.evaluation.evaluation import Evaluation
from crnet.metrics import AVERAGE, describe
from crnet.types import TARGETS
from crnet.utils.files import write_json

FIGURES = {"accuracy": 0.96, "r2": 0.8, "ccc": 0.9}


def ceiling(evaluation: Evaluation) -> dict:
    best = dict.fromkeys((*TARGETS, AVERAGE), FIGURES)
    streams = {stream: {"all_cues": best} for stream in ("scene", "face", "audio-text", "scene+face", "all")}
    floor = describe(evaluation.truth, evaluation.predictions["floor"], evaluation.train_medians, resamples=0)
    return {"format": 1, "splits": {evaluation.split: {"floor": floor, "streams": streams}}}


def shown(evaluation: Evaluation) -> str:
    console = Console(file=io.StringIO(), width=100)
    for table in tables(evaluation):
        console.print(table)
    return console.file.getvalue()


def test_shares_are_in_metrics_and_tables(make_evaluation: Callable[..., Evaluation], evaluation: Evaluation) -> None:
    with_ceiling = make_evaluation(ceiling=ceiling(evaluation))
    document = with_ceiling.to_dict()
    assert set(document["ceiling_share"]) == set(document["systems"]) - {"floor"}
    assert document["ceiling"]["fusion"]["openness"] == FIGURES
    figures = document["systems"]["face"]["openness"]
    share = document["ceiling_share"]["face"]["openness"]
    assert abs(share["r2"] - figures["r2"] / 0.8) < 1e-12
    floor = figures["floor_accuracy"]
    assert abs(share["accuracy"] - (figures["accuracy"] - floor) / (0.96 - floor)) < 1e-12
    assert "gap between floor and ceiling" in shown(with_ceiling)


def test_without_a_ceiling_there_are_no_shares(evaluation: Evaluation) -> None:
    assert not {"ceiling", "ceiling_share"} & set(evaluation.to_dict())
    assert "ceiling" not in shown(evaluation)


def test_only_simulated_stores_have_a_ceiling(
    bundle: Bundle, store_maker: Callable[..., object], evaluation: Evaluation
) -> None:
    for source, has_ceiling in (("simulated", True), ("folder", False)):
        store = store_maker(source=source)
        write_json(store / "ceiling.json", ceiling(evaluation))
        evaluated = evaluate(bundle, store, resamples=0)
        assert (evaluated.ceiling is not None) is has_ceiling
        assert bool(evaluated.ceiling_share()) is has_ceiling
