"""Figs. 8, 10, 11 and 12, in a workspace with known outputs."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from workspace_fakes import fake_workspace

from crnet.experiments.figures import FIGURES, bell_errors
from crnet.experiments.figures.bell_errors import BellErrors, Errors
from crnet.experiments.figures.examples import Examples, choose
from crnet.experiments.figures.feature_maps import FeatureMaps
from crnet.experiments.figures.regressors import Regressors, fit_svr
from crnet.experiments.workspace import Workspace
from crnet.explain.key_points import ratio_of_net
from crnet.report import figure_style
from crnet.types import Stream


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw fewer pixels, which do not change the content of a figure."""
    monkeypatch.setattr(figure_style, "DOTS_PER_INCH", 60)


def read_rows(table: Path) -> list[dict[str, str]]:
    with table.open() as lines:
        return list(csv.DictReader(lines))


def test_every_figure_writes_a_picture_numbers_and_json(workspace: Workspace, tmp_path: Path) -> None:
    fake = fake_workspace(workspace)
    assert [figure.name for figure in FIGURES] == ["fig5", "fig6", "fig8", "fig9", "fig10", "fig11", "fig12"]
    for figure in FIGURES[2:]:
        section = figure.run(fake, tmp_path / figure.name)
        picture, table, *_ = section.files
        assert (picture.name, table.name) == (f"{figure.name}.png", f"{figure.name}.csv")
        assert f"]({picture.name})" in section.markdown
        assert "The paper" in section.markdown
        assert "nan" not in section.markdown
        assert matplotlib.image.imread(picture).std() > 0.02
        json.dumps(section.data, allow_nan=False)


def test_errors_match_hand_computation() -> None:
    truth = np.tile(np.linspace(0.05, 0.95, 10)[:, None], (1, 6))  # the first and the last clip are the outer tenths
    exact, wrong = np.stack([truth, truth]), np.stack([truth, truth])
    wrong[1, 0, :5] += 0.4  # in an outer tenth, for every trait
    wrong[1, 4, 0] += 0.1
    wrong[1, :, 5] = 0  # interview is ignored
    errors = Errors.measure(truth, wrong)
    assert errors.mean == pytest.approx([0, (5 * 0.4 + 0.1) / 50])
    assert errors.outer == pytest.approx([0, 0.2])
    assert errors.high_share == pytest.approx([0, 5 / 50])
    assert errors.largest == pytest.approx([0, 0.4])
    assert Errors.measure(truth, exact).largest == [0, 0]


def test_fig10_compares_the_two_trainings(workspace: Workspace, tmp_path: Path) -> None:
    fake = fake_workspace(workspace)
    section = BellErrors().run(fake, tmp_path)
    rows = read_rows(section.files[1])
    assert len(rows) == 3 * 5 * 4  # streams, traits, test clips
    assert {row["error_with_bell"] for row in rows} == {"0.100000"}
    assert {row["error_without_bell"] for row in rows} <= {"0.200000"}
    assert section.data["face"]["without_bell"]["mean"] == pytest.approx([0.2, 0.2])
    floor = np.abs(np.median(fake.truth("train"), axis=0) - fake.truth("test"))[:, :5]
    assert section.data["floor"]["mean"] == pytest.approx([floor.mean()])
    assert np.mean([float(row["error_of_floor"]) for row in rows]) == pytest.approx(floor.mean(), abs=1e-6)
    assert "| floor |" in section.markdown
    assert len(BellErrors().networks(fake)) == 6
    assert "bell" not in BellErrors().networks(fake)[1].config.training.stages[1].terms


def test_fig10_judges_high_errors(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_workspace(workspace)
    # Errors are .1 with Bell and .2 without, so all errors without Bell are above .15 and none with it.
    monkeypatch.setattr(bell_errors, "HIGH_ERROR", 0.15)
    section = BellErrors().run(fake, tmp_path)
    claims = section.data["claims"]
    assert [claim["claim"] for claim in claims] == [
        f"fewer errors above 0.15 with Bell ({stream})" for stream in ("scene", "face", "audio-text")
    ]
    assert [(claim["ours"], claim["agreeing"]) for claim in claims] == [(pytest.approx(1.0), 2)] * 3
    assert "fig10-claims.csv" in {path.name for path in section.files}
    assert "fewer errors above 0.15 with Bell (face)" in section.markdown


@pytest.mark.parametrize("figure", [BellErrors(), Regressors()])
def test_the_text_states_encoder_and_initialisation(
    figure: BellErrors | Regressors, workspace: Workspace, tmp_path: Path
) -> None:
    fake = fake_workspace(workspace)
    section = figure.run(fake, tmp_path)
    assert fake.conditions in section.markdown and section.data["conditions"] == fake.conditions


def test_fig10_names_the_streams_that_it_leaves_out(workspace: Workspace, tmp_path: Path) -> None:
    section = BellErrors().run(fake_workspace(workspace, failed=("face",)), tmp_path)
    assert "training failed: face" in section.markdown
    assert "| face |" not in section.markdown
    nothing = BellErrors().run(fake_workspace(workspace, failed=("scene", "face", "audio-text")), tmp_path)
    assert (nothing.files, "failed in every stream" in nothing.markdown) == ((), True)


def test_clips_are_chosen_by_their_errors() -> None:
    errors = np.array([0.5, 0.1, 0.9, 0.3, 0.7, 0.2, 0.6, 0.8])  # ascending: 1 5 3 0 6 4 7 2
    assert choose(errors) == [("best", 1), ("best", 5), ("typical", 0), ("typical", 6), ("worst", 7), ("worst", 2)]
    assert choose(np.array([0.4])) == [("best", 0)]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_no_clip_is_chosen_twice(errors: list[float]) -> None:
    chosen = [place for _, place in choose(np.array(errors))]
    assert len(set(chosen)) == len(chosen) == min(len(errors), 6)


def test_fig8_shows_the_scores_of_the_chosen_clips(workspace: Workspace, tmp_path: Path) -> None:
    fake = fake_workspace(workspace, ("scene", "face"))
    section = Examples().run(fake, tmp_path)
    scores = fake.fused_scores(Examples().networks(fake), 0, fake.base.fusion, "test")
    places = {row.clip_id: n for n, row in enumerate(fake.rows("test"))}
    rows = read_rows(section.files[1])
    assert len(rows) == 4 * 6  # all of the four test clips
    for row in rows:
        target = ("extraversion", "neuroticism", "agreeableness", "conscientiousness", "openness", "interview")
        expected = scores[places[row["clip"]], target.index(row["target"])]
        assert float(row["prediction"]) == pytest.approx(expected, abs=1e-6)
    assert "scene and face" in section.markdown


def test_svr_settings_are_selected_on_validation() -> None:
    rng = np.random.default_rng(0)
    x = {split: rng.uniform(0, 1, (60, 6, 3)).astype(np.float32) for split in ("train", "val", "test")}
    y = {split: (0.2 + 0.6 * values[:, :, 0]).astype(np.float64) for split, values in x.items()}
    fitted = fit_svr(x, y["train"], y["val"])
    assert np.abs(fitted.predictions - y["test"]).mean() < 0.02  # epsilon 0.05 or C 0.01 alone would be less accurate
    assert fitted.seconds > 0


def test_fig11_states_sizes_and_judges_claims(workspace: Workspace, tmp_path: Path) -> None:
    section = Regressors().run(fake_workspace(workspace), tmp_path)
    rows = read_rows(section.files[1])
    assert {row["regressor"] for row in rows} == {"SVR", "RF", "ETR"}
    assert len(rows) == 3 * 2 * 6
    assert "3 trees" in section.markdown
    assert [claim["claim"] for claim in section.data["claims"]] == ["RF beats SVR", "ETR beats SVR", "ETR beats RF"]


def test_fig12_has_ratios_of_trained_and_untrained_networks(workspace: Workspace, tmp_path: Path) -> None:
    fake = fake_workspace(workspace)
    section = FeatureMaps().run(fake, tmp_path)
    rows = read_rows(section.files[1])
    assert [(row["network"], row["seed"]) for row in rows] == [("trained", "0"), ("trained", "1")] + [
        ("trained", "0")
    ] * 3 + [("untrained", "0")]
    assert [int(row["cells"]) for row in rows] == [6, 6, 3, 2, 1, 6]  # 24 pixels
    expected = ratio_of_net(fake.net(fake.standard_net("face"), 1), fake.store, fake.base.transforms, 0.0)
    assert float(rows[1]["ratio"]) == pytest.approx(expected.ratio, abs=1e-6)
    assert "73.96%" in section.markdown
    assert "6 x 6, 3 x 3, 2 x 2 and 1 x 1" in section.markdown


@pytest.mark.parametrize(
    ("streams", "words"),
    [(("scene", "audio-text"), "there is no face stream"), (("audio-text",), "neither a scene nor a face stream")],
)
def test_fig12_without_faces_says_so(
    streams: tuple[Stream, ...], words: str, workspace: Workspace, tmp_path: Path
) -> None:
    assert words in FeatureMaps().run(fake_workspace(workspace, streams), tmp_path).markdown
