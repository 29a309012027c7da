"""Where the store has a ceiling, evaluation says how far every system came towards it; elsewhere nothing changes."""

from __future__ import annotations

import io
from collections.abc import Callable

from rich.console import Console

from crnet.bundle.bundle import Bundle
from crnet.cli.evaluation_tables import tables
from crnet.evaluation.evaluate import AVERAGE, Evaluation, evaluate
from crnet.metrics import describe
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


def test_shares_stand_in_metrics_and_tables(make_evaluation: Callable[..., Evaluation], evaluation: Evaluation) -> None:
    with_ceiling = make_evaluation(ceiling=ceiling(evaluation))
    document = with_ceiling.to_dict()
    assert set(document["share_of_way"]) == set(document["systems"]) - {"floor"}
    assert document["ceiling"]["fusion"]["openness"] == FIGURES
    figures = document["systems"]["face"]["openness"]
    share = document["share_of_way"]["face"]["openness"]
    assert abs(share["r2"] - figures["r2"] / 0.8) < 1e-12
    floor = figures["floor_accuracy"]
    assert abs(share["accuracy"] - (figures["accuracy"] - floor) / (0.96 - floor)) < 1e-12
    assert "from floor to ceiling" in shown(with_ceiling)


def test_without_a_ceiling_nothing_is_said(evaluation: Evaluation) -> None:
    assert not {"ceiling", "share_of_way"} & set(evaluation.to_dict())
    assert "ceiling" not in shown(evaluation)


def test_only_simulated_stores_are_asked_for_a_ceiling(
    bundle: Bundle, store_maker: Callable[..., object], evaluation: Evaluation
) -> None:
    for source, there in (("simulated", True), ("folder", False)):
        store = store_maker(source=source)
        write_json(store / "ceiling.json", ceiling(evaluation))
        measured = evaluate(bundle, store, resamples=0)
        assert (measured.ceiling is not None) is there
        assert bool(measured.share_of_way()) is there
