"""Uninformative clips: their cues look like all others and say nothing; the known optima of the losses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.known_optima import loss_optima
from crnet.data.ceiling_file import CEILING_NAME, read_ceiling
from crnet.data.manifest import read_manifest
from crnet.data.sources.release_names import SIMULATED_MARKER
from crnet.errors import ConfigError
from crnet.simulate.compute_ceiling import compute_ceiling
from crnet.simulate.labels import truth_table
from crnet.simulate.planning import ClipPlan, SimulationConfig, plan_clips
from crnet.simulate.score_rules import choose_uninformative
from crnet.simulate.speech import best_voice
from crnet.simulate.write_dataset import write_dataset
from crnet.simulate.write_store import write_store

CONFIG = SimulationConfig(clips=3000, seconds=1.0, difficulty="easy")
TINY = SimulationConfig(clips=100, seconds=0.5, fps=4, height=96, difficulty="easy", voice="built-in")


@pytest.fixture(scope="module")
def ordinary() -> list[ClipPlan]:
    return plan_clips(CONFIG)


@pytest.fixture(scope="module")
def mixed() -> list[ClipPlan]:
    return plan_clips(replace(CONFIG, uninformative=0.35))


def latents(plans: Sequence[ClipPlan]) -> np.ndarray:
    return np.array([plan.latents for plan in plans])


def scores(plans: Sequence[ClipPlan]) -> np.ndarray:
    return np.array([plan.scores for plan in plans])


def test_the_share_is_exact_and_a_larger_one_adds_clips() -> None:
    some, more = (choose_uninformative(1000, share, np.random.default_rng(3)) for share in (0.35, 0.5))
    assert (some.sum(), more.sum()) == (350, 500)
    assert not np.any(some & ~more)
    assert not choose_uninformative(10, 0.0, np.random.default_rng(3)).any()
    assert choose_uninformative(10, 1.0, np.random.default_rng(3)).all()


def test_labels_and_informative_clips_stay_the_same(ordinary: list[ClipPlan], mixed: list[ClipPlan]) -> None:
    assert sum(plan.uninformative for plan in mixed) == 1050
    for before, after in zip(ordinary, mixed, strict=True):
        assert not before.uninformative
        if after.uninformative:
            same = replace(after, latents=before.latents, cues=before.cues, transcript=before.transcript)
            assert after.latents != before.latents
            assert replace(same, uninformative=False) == before
        else:
            assert after == before


def test_cues_of_uninformative_clips_say_nothing_about_the_scores(mixed: list[ClipPlan]) -> None:
    silent = [plan for plan in mixed if plan.uninformative]
    clear = [plan for plan in mixed if not plan.uninformative]
    assert np.abs(np.corrcoef(latents(silent).T, scores(silent).T)[:-6, -6:]).max() < 0.13  # 4 / sqrt(1050)
    assert np.abs(np.corrcoef(latents(clear).T, scores(clear).T)[:-6, -6:]).max() > 0.8


@pytest.mark.parametrize("rule", ["linear", "classwise"])
def test_cues_of_uninformative_clips_look_like_all_others(rule: str) -> None:
    plans = plan_clips(replace(CONFIG, uninformative=0.5, score_rule=rule))
    silent = latents([plan for plan in plans if plan.uninformative])
    clear = latents([plan for plan in plans if not plan.uninformative])
    np.testing.assert_allclose(silent.mean(0), clear.mean(0), atol=0.16)
    np.testing.assert_allclose(silent.std(0), clear.std(0), atol=0.1)
    np.testing.assert_allclose(np.corrcoef(silent.T), np.corrcoef(clear.T), atol=0.16)


def test_uninformative_clips_are_in_every_split(mixed: list[ClipPlan]) -> None:
    for split in ("train", "val", "test"):
        share = np.mean([plan.uninformative for plan in mixed if plan.split == split])
        assert share == pytest.approx(0.35, abs=0.06)


def test_the_ceiling_falls_and_names_the_clips(ordinary: list[ClipPlan], mixed: list[ClipPlan]) -> None:
    before, after = compute_ceiling(ordinary), compute_ceiling(mixed)
    assert before is not None and after is not None
    assert "uninformative_clips" not in before and "score_rule" not in before
    assert after["score_rule"] == "linear"
    assert after["uninformative_clips"] == [plan.name for plan in mixed if plan.uninformative]
    r2 = [d["splits"]["test"]["streams"]["all"]["all_cues"]["average"]["r2"] for d in (before, after)]
    assert r2[0] > 0.95
    assert r2[1] == pytest.approx(0.65**2, abs=0.08)  # the best linear slope is .65: R2 = 1 - .35**2 - 2 * .65 * .35


def test_the_ceiling_of_the_classwise_rule_is_class_guided() -> None:
    plans = plan_clips(replace(CONFIG, clips=1000, score_rule="classwise"))
    linear, guided = compute_ceiling(plans), compute_ceiling(plans, "classwise")
    assert linear is not None and guided is not None
    assert guided["score_rule"] == "classwise"
    assert guided["uninformative_clips"] == []
    assert guided["what"].startswith("class-guided ridge")
    r2 = [d["splits"]["test"]["streams"]["all"]["all_cues"]["average"]["r2"] for d in (linear, guided)]
    assert r2[1] > r2[0] + 0.15


def test_the_truth_marks_uninformative_clips(ordinary: list[ClipPlan], mixed: list[ClipPlan]) -> None:
    assert "uninformative" not in truth_table(ordinary[:20]).column_names
    assert truth_table(mixed).column("uninformative").to_pylist() == [plan.uninformative for plan in mixed]


@pytest.mark.parametrize("value", [-0.01, 1.01, float("nan")])
def test_impossible_shares_are_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="uninformative"):
        SimulationConfig(clips=5, uninformative=value)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ConfigError, match="use one of linear, classwise"):
        SimulationConfig(clips=5, score_rule="quadratic")  # type: ignore[arg-type]


def test_a_store_records_both_options_and_resumes(tmp_path: Path) -> None:
    config = replace(TINY, uninformative=0.35, score_rule="classwise")
    store = write_store(tmp_path, config, frames_per_segment=1, pixels=16, workers=0)
    recorded = json.loads((store / SIMULATED_MARKER).read_text())["config"]
    assert (recorded["uninformative"], recorded["score_rule"]) == (0.35, "classwise")
    truth = pq.read_table(store / "truth.parquet").to_pylist()
    ceiling = read_ceiling(store)
    assert ceiling is not None
    assert ceiling["uninformative_clips"] == [row["clip"] for row in truth if row["uninformative"]]
    assert len(ceiling["uninformative_clips"]) == 35
    assert len(read_manifest(store).clips) == 100
    times = {path: path.stat().st_mtime_ns for path in store.rglob("*.safetensors")}
    assert len(times) == 100
    write_store(store, config, frames_per_segment=1, pixels=16, workers=0)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.safetensors")} == times
    with pytest.raises(ConfigError, match=r"config\.uninformative was 0\.35 and is now 0\.0"):
        write_store(store, replace(config, uninformative=0.0), frames_per_segment=1, pixels=16, workers=0)
    with pytest.raises(ConfigError, match=r"config\.score_rule was 'classwise' and is now 'linear'"):
        write_store(store, replace(config, score_rule="linear"), frames_per_segment=1, pixels=16, workers=0)


def test_a_dataset_of_videos_records_both_options(tmp_path: Path) -> None:
    config = replace(TINY, clips=5, uninformative=0.4, score_rule="classwise", voice=best_voice())
    out = write_dataset(tmp_path / "out", config, workers=0)
    truth = pq.read_table(out / "truth.parquet").to_pylist()
    assert [row["uninformative"] for row in truth] == [plan.uninformative for plan in plan_clips(config)]
    assert sum(row["uninformative"] for row in truth) == 2
    recorded = json.loads((out / SIMULATED_MARKER).read_text())["config"]
    assert (recorded["uninformative"], recorded["score_rule"]) == (0.4, "classwise")
    assert not (out / CEILING_NAME).exists()  # too few clips
    with pytest.raises(ConfigError, match="another configuration"):
        write_dataset(out, replace(config, uninformative=0.0), workers=0)


def test_the_losses_reach_their_known_optima() -> None:
    """The known values are integrals over the mixture of two normal posteriors, for scores with a deviation of 15.

    The mean of the mixture spreads .65 as far as the mean of a clear clip's posterior, which spreads
    15 / sqrt(15^2 + 5^2) = .949 as far as the scores: .616. The other losses come closer to .949.
    """
    config = SimulationConfig(clips=60_000, uninformative=0.35)
    mixed = loss_optima(config)
    known = {"MSE": 0.616, "L1 + MSE": 0.624, "L1 + MSE + Bell": 0.735, "L1": 0.835, "Bell": 0.901}
    for loss, spread in known.items():
        assert mixed[loss].spread == pytest.approx(spread, abs=0.012), loss
    assert mixed["L1 + MSE"].outer_error == pytest.approx(0.162, abs=0.005)
    assert mixed["L1 + MSE + Bell"].outer_error == pytest.approx(0.145, abs=0.005)
    control = loss_optima(replace(config, uninformative=0.0))
    for loss in known:  # one normal posterior: every loss prefers its mean
        assert control[loss].spread == pytest.approx(0.949, abs=0.012), loss
