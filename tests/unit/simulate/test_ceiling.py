"""The ceiling: which cues a stream shows, and how well they predict the scores."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from crnet.data.ceiling_file import CEILING_NAME, attainable_metrics, ceiling_share, read_ceiling
from crnet.errors import FormatError
from crnet.simulate.compute_ceiling import VIEWS, compute_ceiling, cue_table, visible_cues
from crnet.simulate.cues import CUE_BY_NAME, CUES
from crnet.simulate.planning import ClipPlan, SimulationConfig, plan_clips
from crnet.types import STREAMS, TARGETS


def make_plans(**config: object) -> list[ClipPlan]:
    return plan_clips(SimulationConfig(**{"clips": 2000, "seconds": 1.0, "difficulty": "fivalike", **config}))


@pytest.fixture(scope="module")
def plans() -> list[ClipPlan]:
    return make_plans()


@pytest.fixture(scope="module")
def document(plans: list[ClipPlan]) -> dict:
    return json.loads(json.dumps(compute_ceiling(plans), allow_nan=False))


def r2(document: dict, stream: str, kind: str = "all_cues") -> float:
    return document["splits"]["test"]["streams"][stream][kind]["average"]["r2"]


def test_cues_of_each_stream() -> None:
    shown = {stream: {cue.name for cue in visible_cues(stream)} for stream in VIEWS}
    assert shown["scene"] == shown["scene+face"] > shown["face"]
    assert shown["all"] == set(CUE_BY_NAME)
    assert "loudness" in shown["face"]  # the mouth follows the loudness
    assert "smile" not in shown["audio-text"]
    assert "pitch_level" not in shown["scene"]
    assert shown["audio-text"] == shown["audio"] | shown["text"]
    assert "words_kind" not in shown["audio"]
    assert {cue.name for cue in visible_cues("face", frame_order=False)} == shown["face"] - {"blink_rate", "nod_rate"}


def test_every_stream_has_a_ceiling_above_its_floor_and_all_streams_have_the_highest(document: dict) -> None:
    for stream in STREAMS:
        assert 0.35 < r2(document, stream) < r2(document, "all") < 0.95
        assert r2(document, stream, "without_order_of_frames") <= r2(document, stream) + 0.02
    assert r2(document, "audio") < r2(document, "audio-text") + 0.01
    test = document["splits"]["test"]
    assert test["clips"] == 400
    assert 0.86 < test["floor"]["average"]["accuracy"] < test["streams"]["all"]["all_cues"]["average"]["accuracy"]


def test_the_ceiling_equals_least_squares_by_hand(plans: list[ClipPlan], document: dict) -> None:
    train, test = ([p for p in plans if p.split == split] for split in ("train", "test"))
    names = [cue.name for cue in CUES if cue.modality == "audio"]

    def matrix(clips: list[ClipPlan]) -> np.ndarray:
        return np.array([[1.0, *(CUE_BY_NAME[name].level(p.cues[name]) for name in names)] for p in clips])

    scores = np.array([p.scores for p in test])
    weights, *_ = np.linalg.lstsq(matrix(train), np.array([p.scores for p in train]), rcond=None)
    residual = ((matrix(test) @ weights - scores) ** 2).mean(0)
    figures = document["splits"]["test"]["streams"]["audio"]["all_cues"]
    for i, target in enumerate(TARGETS):
        assert figures[target]["r2"] == pytest.approx(1 - residual[i] / scores[:, i].var(), abs=0.02)


def test_permuted_cues_predict_nothing(plans: list[ClipPlan]) -> None:
    order = np.random.default_rng(0).permutation(len(plans))
    mixed = [dataclasses.replace(plan, cues=plans[other].cues) for plan, other in zip(plans, order, strict=True)]
    permuted = compute_ceiling(mixed)
    assert permuted is not None
    for split in ("val", "test"):
        for stream in VIEWS:
            assert all(
                figures["r2"] < 0.01 for figures in permuted["splits"][split]["streams"][stream]["all_cues"].values()
            )


def test_permuted_sound_and_text_do_not_change_scene_and_face(plans: list[ClipPlan], document: dict) -> None:
    """Control, except for the side channel: loudness moves the mouth, which belongs to the visible person."""
    names = [cue.name for cue in CUES if cue.modality in ("audio", "text")]
    order = np.random.default_rng(1).permutation(len(plans))
    mixed = [
        dataclasses.replace(plan, cues={**plan.cues, **{name: plans[other].cues[name] for name in names}})
        for plan, other in zip(plans, order, strict=True)
    ]
    permuted = compute_ceiling(mixed)
    assert permuted is not None
    assert abs(r2(permuted, "audio-text")) < 0.03
    assert r2(permuted, "scene") > 0.3


def test_a_stream_without_informative_cues_is_at_its_floor() -> None:
    document = compute_ceiling(make_plans(silent=("audio", "text")))
    assert document is not None
    assert abs(r2(document, "audio-text")) < 0.03
    assert r2(document, "face") > 0.3
    silent = compute_ceiling(make_plans(silent=("face", "scene", "audio")))
    assert silent is not None
    assert max(abs(r2(silent, "face")), abs(r2(silent, "scene"))) < 0.03


def test_a_small_dataset_has_no_ceiling() -> None:
    assert compute_ceiling(make_plans(clips=40)) is None
    assert compute_ceiling(make_plans(clips=100)) is not None


def test_ceiling_share_by_hand() -> None:
    figures = {"accuracy": 0.90, "r2": 0.5, "ccc": 0.6}
    document = {
        "splits": {
            "test": {
                "floor": {"openness": {"accuracy": 0.88, "r2": -0.01, "ccc": 0.0}},
                "streams": {"face": {"all_cues": {"openness": figures}}, "all": {"all_cues": {"openness": figures}}},
            }
        }
    }
    reached = {"openness": {"accuracy": 0.885, "r2": 0.4, "mae": 0.115}}
    shares = ceiling_share(document, "test", {"face": reached, "fusion": reached, "floor": reached, "odd": reached})
    assert set(shares) == {"face", "fusion"}
    assert shares["face"]["openness"]["accuracy"] == pytest.approx(0.25)  # .005 of .02
    assert shares["fusion"]["openness"]["r2"] == pytest.approx(0.8)  # .4 of .5; its floor is 0
    assert attainable_metrics(document, "test", "fusion") == {"openness": figures}
    assert attainable_metrics(document, "val", "fusion") is None
    assert ceiling_share(document, "val", {"face": reached}) == {}


@pytest.mark.parametrize(("reached", "best"), [(None, 0.5), (0.4, None), (0.0, 0.001)])
def test_without_a_way_there_is_no_share(reached: float | None, best: float | None) -> None:
    document = {
        "splits": {
            "test": {
                "floor": {"openness": {"accuracy": 0.88}},
                "streams": {"face": {"all_cues": {"openness": {"accuracy": 0.8801, "r2": best}}}},
            }
        }
    }
    shares = ceiling_share(document, "test", {"face": {"openness": {"accuracy": 0.88, "r2": reached}}})
    assert shares["face"]["openness"] == {"accuracy": None, "r2": None}


def test_read_ceiling(tmp_path: Path, document: dict) -> None:
    assert read_ceiling(tmp_path) is None
    path = tmp_path / CEILING_NAME
    path.write_text(json.dumps(document))
    assert read_ceiling(tmp_path) == document
    for text in ("", "[]", '{"format": 2, "splits": {}}', '{"format": 1, "splits": 3}', "\x00"):
        path.write_text(text)
        with pytest.raises(FormatError):
            read_ceiling(tmp_path)


def test_the_cue_table_in_the_documentation_is_current() -> None:
    page = (Path(__file__).parents[3] / "docs" / "simulation.md").read_text(encoding="utf-8")
    table = page.partition("<!-- cues -->")[2].partition("<!-- /cues -->")[0].strip()
    assert table == cue_table(), "put the result of crnet.simulate.compute_ceiling.cue_table() into docs/simulation.md"
