"""Tests of the pre-registered experiments: the verdicts on values worked by hand, and a tiny run of each experiment."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evidence import heads, records, regressors, streams
from benchmarks.evidence.command import judge
from benchmarks.evidence.heads import BASELINE, CR, HEADS, LOSSES, MLP
from benchmarks.evidence.records import compare, effects_of, experiment_records, run_settings
from benchmarks.evidence.registration import CLAIMS, RegisteredClaim, error_share
from benchmarks.evidence.registrations import (
    EXPERIMENTS,
    FIRST,
    REGISTRATIONS,
    SECOND,
    THIRD,
    Registration,
    registration_of,
)
from benchmarks.evidence.tables import JudgedClaim, registration_tables, systems_table, verdict_table
from benchmarks.evidence.training import CueNet
from benchmarks.evidence.verdicts import Effect, SeedEffect, Verdict, combine, outcome_value, seed_effect
from benchmarks.evidence.worlds import Clips, World, person_noise
from crnet.simulate.cues import CUES
from crnet.types import TRAIT_INDICES

DOCS = Path(__file__).parents[3] / "docs"
T_4_975, T_1_975 = 2.776445, 12.706205  # 97.5% points of Student's t with 4 and 1 degrees of freedom


@pytest.mark.parametrize(
    ("low", "high", "verdict", "text"),
    [
        (0.001, 0.006, "present", "present"),
        (0.001, 0.004, "absent", "absent, above 0 but smaller"),
        (-0.001, 0.004, "absent", "absent"),
        (-0.004, -0.001, "absent", "absent, below 0"),
        (-0.001, 0.005, "unresolved", "unresolved"),
        (-0.001, 0.009, "unresolved", "unresolved"),
        (0.006, 0.009, "present", "present"),
    ],
)
def test_the_interval_decides_the_verdict(low: float, high: float, verdict: Verdict, text: str) -> None:
    effect = Effect((low + high) / 2, low, high, seeds=5)
    assert effect.verdict(smallest=0.005) == verdict
    assert JudgedClaim(replace(CLAIMS[0], smallest=0.005), "any", effect).verdict_text == text


def test_seeds_with_their_own_people_give_a_t_interval() -> None:
    # Variance .00025 of 5 differences: standard error sqrt(.00025 / 5) = .00707; the people explain a part of it.
    seeds = [SeedEffect(difference, 0.001, 50) for difference in (0.01, 0.02, 0.03, 0.04, 0.05)]
    effect = combine(seeds, 0.05)
    assert effect.mean == pytest.approx(0.03)
    assert effect.high - effect.mean == pytest.approx(T_4_975 * np.sqrt(0.00025 / 5), rel=1e-5)
    assert effect.mean - effect.low == pytest.approx(effect.high - effect.mean)


def test_people_count_if_the_seeds_agree_by_chance() -> None:
    # Two equal seeds have no variance between them; sqrt(.03^2 + .04^2) / 2 = .025 is that of their people.
    effect = combine([SeedEffect(0.01, 0.03, 50), SeedEffect(0.01, 0.04, 50)], 0.05)
    assert effect.high == pytest.approx(0.01 + T_1_975 * 0.025, rel=1e-5)


def test_shared_test_clips_add_both_variances() -> None:
    # Seeds .00 and .02: variance .0002, of the mean .0001. People: .01^2 = .0001. Degrees of freedom by Satterthwaite:
    # .0002^2 / (.0001^2 / 1 + .0001^2 / 3) = 3, with 4 people. The 97.5% point of t is 3.182446.
    effect = combine([SeedEffect(0.00, 0.01, 4), SeedEffect(0.02, 0.01, 4)], 0.05, same_clips=True)
    assert effect.high == pytest.approx(0.01 + 3.182446 * np.sqrt(0.0002), rel=1e-5)


def test_more_claims_widen_every_interval() -> None:
    assert error_share() == pytest.approx(0.05 / sum(len(claim.worlds) for claim in CLAIMS))
    seeds = [SeedEffect(difference, 0.0, 9) for difference in (0.0, 0.01, 0.02)]
    assert combine(seeds, 0.05 / 20).high > combine(seeds, 0.05).high


def test_clips_of_a_person_are_resampled_together() -> None:
    # Ten persons with five equal clips each: the error is that of ten values, sqrt(5) times that of 50 clips.
    rng = np.random.default_rng(0)
    gain = np.repeat(rng.normal(size=10), 5)
    truth, worse = np.zeros((50, 1)), np.full((50, 1), 10.0)
    better = worse - gain[:, None]
    grouped = seed_effect("1 - MAE", better, worse, truth, np.repeat(np.arange(10), 5), resamples=2_000)
    single = seed_effect("1 - MAE", better, worse, truth, np.arange(50), resamples=2_000)
    assert grouped.difference == pytest.approx(gain.mean())
    assert grouped.people_error == pytest.approx(gain[::5].std() / np.sqrt(10), rel=0.05)
    assert grouped.people_error / single.people_error == pytest.approx(np.sqrt(5), rel=0.05)


def test_outcomes_worked_by_hand() -> None:
    truth = np.linspace(0, 1, 11)[:, None]  # the outer tenths are 0, .1 and .9, 1: at most the 10% and 90% quantiles
    scores = np.full((11, 1), 0.52)
    assert outcome_value("1 - MAE", scores, truth) == pytest.approx(1 - 3.02 / 11)
    assert outcome_value("large errors", scores, truth) == pytest.approx(7 / 11)
    assert outcome_value("outer error", scores, truth) == pytest.approx(0.45)
    assert outcome_value("spread", 0.5 + (truth - 0.5) / 4, truth) == pytest.approx(0.25)
    assert seed_effect("outer error", truth, scores, truth, np.arange(11), 2).difference == pytest.approx(0.45)


def test_the_page_is_the_registration() -> None:
    page = (DOCS / "registration.md").read_text(encoding="utf-8")
    for registration in REGISTRATIONS:
        assert registration_tables(registration) in page
        assert {claim.experiment for claim in registration.claims} == set(registration.seeds)
    names = [claim.name for registration in REGISTRATIONS for claim in registration.claims]
    assert len(set(names)) == len(names)
    assert re.search(r"^python -m benchmarks evidence OUT$", page.replace("    ", ""), flags=re.MULTILINE)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_published_tables_follow_from_the_stored_records(experiment: str) -> None:
    lines = (DOCS / "evidence" / f"{experiment}.jsonl").read_text(encoding="utf-8").splitlines()
    stored = [json.loads(line) for line in lines]
    published = (DOCS / "results.md").read_text(encoding="utf-8").splitlines()
    tables = verdict_table(judge(experiment, stored)) + systems_table(stored)
    assert set(tables.splitlines()) <= set(published)
    registration = registration_of(experiment)
    for record in stored:  # each tested the claims as they are registered
        claims = [claim for claim in registration.claims_of(experiment) if record["world"] in claim.worlds]
        assert record["settings"] == run_settings(record["world"], record["seed"], claims)
    runs = {(record["world"], record["seed"]) for record in stored}
    worlds = {world for claim in registration.claims_of(experiment) for world in claim.worlds}
    assert runs == {(world, seed) for world in worlds for seed in registration.seeds[experiment]}


def test_every_claim_names_existing_worlds_and_systems(tmp_path: Path) -> None:
    systems = {"losses": set(LOSSES), "heads": set(HEADS)}
    for claim in [claim for registration in REGISTRATIONS for claim in registration.claims]:
        assert set(claim.worlds) <= set(records.experiment_runs(claim.experiment, tmp_path))
        assert claim.smallest > 0 and claim.worlds
        if claim.experiment in systems:
            assert {claim.better, claim.worse} <= systems[claim.experiment]


def test_registrations_share_no_seed_and_no_error() -> None:
    assert FIRST.error_share == error_share()
    assert (SECOND.error_share, THIRD.error_share) == (pytest.approx(0.05 / 20), pytest.approx(0.05 / 2))
    seeds = [{seed for seeds in of.seeds.values() for seed in seeds} for of in REGISTRATIONS]
    assert len(set().union(*seeds)) == sum(map(len, seeds))


def test_the_control_heads_are_fair() -> None:
    block, mlp, plain = (CueNet(HEADS[name], 0) for name in (CR, MLP, BASELINE))
    count = sum(parameter.numel() for parameter in block.head.parameters())
    assert sum(parameter.numel() for parameter in mlp.head.parameters()) == pytest.approx(count, rel=0.01)
    for other in (mlp, plain):  # the same start of the trunk
        assert np.array_equal(other.trunk[0].weight.detach(), block.trunk[0].weight.detach())
    epochs = {name: sum(stage.epochs for stage in HEADS[name].stages) for name in (CR, heads.LONG, MLP, heads.NO_CE)}
    assert set(epochs.values()) == {30}


def test_noise_of_one_person_correlates() -> None:
    people = np.repeat(np.arange(2_000), 2)
    noise = person_noise(people, np.random.default_rng(0))
    assert noise.std() == pytest.approx(1, abs=0.01)
    assert np.corrcoef(noise[::2].ravel(), noise[1::2].ravel())[0, 1] == pytest.approx(0.5, abs=0.02)


def test_uninformative_clips_show_other_scores() -> None:
    clips = World({"scene": 0.0}, uninformative=0.25).draw(400, 0, 0)
    informed = World({"scene": 0.0}).draw(400, 0, 0)
    assert np.array_equal(clips.scores, informed.scores) and clips.cues["scene"].shape == (400, len(CUES))
    assert (clips.cues["scene"] != informed.cues["scene"]).any(axis=1).sum() == 100


def test_bell_keeps_the_spread_of_a_tiny_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "TRAINING", 400)
    monkeypatch.setattr(heads, "VALIDATION", 50)
    monkeypatch.setattr(heads, "TESTED", 300)
    losses = {name: LOSSES[name] for name in ("L1 + L2", "Bell")}
    test, scores = heads.run(losses, heads.LOSS_WORLDS["uninformative"], seed=0)
    truth = test.scores[:, TRAIT_INDICES]
    spreads = {name: outcome_value("spread", values[:, TRAIT_INDICES], truth) for name, values in scores.items()}
    assert spreads["Bell"] > spreads["L1 + L2"] + 0.1


def test_streams_are_fused_in_every_registered_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "VALIDATION", 30)
    monkeypatch.setattr(streams, "TESTED", 20)
    setting = replace(streams.SETTINGS["7:5:3 fits"], clips=40, trees=2)
    test, scores = streams.run(setting, seed=0)
    record = compare(test, dict(scores), [claim for claim in CLAIMS if claim.experiment == "streams"])
    assert {"F1", "F5", "T4"} <= set(record["effects"])
    assert len({values.tobytes() for name, values in scores.items() if name != streams.BEST_STREAM}) == 11
    # Networks of other clips: trees of the training clips change, and no other system is computed.
    _, elsewhere = streams.run(replace(setting, train_on_others=True, systems=(streams.SUMMED,)), seed=0)
    assert set(elsewhere) == {streams.SUMMED}
    assert not np.array_equal(elsewhere[streams.SUMMED], scores[streams.SUMMED])


def test_trees_beat_a_kernel_on_thresholds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regressors, "TREES", 10)
    test, scores = regressors.run(regressors.WORLDS["steps"], seed=0, count=300)
    accuracies = {name: outcome_value("1 - MAE", values, test.scores) for name, values in scores.items()}
    assert accuracies["ETR"] > accuracies["SVR"] + 0.002


def test_records_resume_unless_the_claims_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    claims = tuple(claim for claim in CLAIMS if claim.name == "T1")

    def run(seed: int) -> tuple[Clips, dict[str, np.ndarray]]:
        calls.append(seed)
        truth = np.linspace(0, 1, 10)[:, None]
        return Clips({}, truth, np.arange(10)), {"ETR": truth, "SVR": truth + 0.1}

    def registered(*of: RegisteredClaim) -> list[dict[str, object]]:
        registration = Registration(of, {"regressors": range(2)}, 0.05)
        monkeypatch.setattr(records, "registration_of", lambda _: registration)
        return list(experiment_records("regressors", tmp_path))

    monkeypatch.setattr(records, "experiment_runs", lambda *_: {"steps": run})
    first = registered(*claims)
    assert registered(*claims) == first and calls == [0, 1]
    assert [seed.difference for seed in effects_of(first, claims[0], "steps")] == pytest.approx([0.1, 0.1])
    registered(replace(claims[0], smallest=0.5))
    assert calls == [0, 1, 0, 1]
