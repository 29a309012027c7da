"""Audit of a system by group: values worked by hand, differences planted in the labels, and the files."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from crnet.audit.audit import Audit, audit, write_audit
from crnet.audit.clips import AuditClips, clips_of_run, clips_of_tables
from crnet.audit.differences import FEWEST_CLUSTERS, differences
from crnet.audit.group_metrics import ALL, metrics_by_group
from crnet.audit.impact_ratios import _interval, impact_ratios, scoring_rates
from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from crnet.cli.main import main
from crnet.data.manifest import read_manifest, write_manifest
from crnet.errors import LabelError
from crnet.report.audit_page import draw_audit_figures, headline, render_audit_page
from crnet.report.figure_style import png
from crnet.types import TARGETS, target_label
from crnet.utils.number_format import range_text


def small(truth: list[float], scores: list[float], groups: list[str], **changes: object) -> AuditClips:
    """Return clips with labels and scores of the interview alone."""
    table = np.full((2, len(truth), 6), np.nan)
    table[0, :, 5], table[1, :, 5] = truth, scores
    names = tuple(f"c{i}" for i in range(len(truth)))
    clips = AuditClips("s", names, *table, {"gender": tuple(groups)}, np.arange(len(truth)), "source video")
    return replace(clips, **changes)


def planted(count: int = 400, shift: float = 0.0, seed: int = 0, *, passes_on: float = 0.0) -> AuditClips:
    """Return clips of two people each, with a shift in the labels of one gender and a part of it in the scores."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(0.5, 0.1, (count, 6))
    scores = 0.5 + 0.6 * (truth - 0.5) + rng.normal(0, 0.05, (count, 6))
    persons = np.arange(count) // 2
    female = rng.random(count // 2)[persons] < 0.5
    truth[female, 2] += shift
    scores[female, 2] += passes_on * shift
    return AuditClips(
        "planted",
        tuple(f"c{i}" for i in range(count)),
        truth,
        scores,
        {"gender": tuple(np.where(female, "female", "male").tolist())},
        persons,
        "person",
    )


def test_metrics_of_a_group_are_those_of_its_clips() -> None:
    clips = small([0.2, 0.4, 0.6, 0.5], [0.3, 0.5, 0.6, 0.1], ["a", "a", "a", ""])
    clips = replace(clips, low=clips.scores - 0.05, high=clips.scores + 0.1)
    table = metrics_by_group(clips, "gender")
    assert list(table) == [ALL, "a"]
    values = table["a"]["interview"]
    # Errors .1, .1 and 0; the best constant is the median .4, whose errors are .2, 0 and .2.
    assert values["clips"] == 3
    assert values["mean_truth"] == pytest.approx(0.4)
    assert values["mean_score"] == pytest.approx(1.4 / 3)
    assert values["bias"] == pytest.approx(0.2 / 3)
    assert values["mae"] == pytest.approx(0.2 / 3)
    assert values["error_removed"] == pytest.approx(0.5)
    # [.25, .4] misses .2 and [.45, .6] misses .4; [.55, .7] holds .6.
    assert values["coverage"] == pytest.approx(1 / 3)
    assert table[ALL]["interview"]["clips"] == 4
    assert set(table["a"]) == {"interview"}


def test_a_metric_that_is_undefined_is_none() -> None:
    values = metrics_by_group(small([0.5, 0.4, 0.6], [0.5, 0.4, 0.7], ["a", "b", "b"]), "gender")["a"]["interview"]
    assert values["spread"] is None
    assert values["coverage"] is None


def test_the_scoring_rate_is_the_share_above_the_median_of_all() -> None:
    members = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float64)
    values = np.array([0.1, 0.5, 0.9, 0.5, 0.8])
    # The median is .5, and a score of .5 is not above it: 1 of 3, and 1 of 2.
    np.testing.assert_allclose(scoring_rates(values, members, np.ones((1, 5))), [[1 / 3, 1 / 2]])
    # An even number: the median of .1 .5 .5 .9 is .5; of .1, .5, .8, .9 it is .65, between two scores.
    weights = np.array([[1.0, 1, 1, 1, 0], [1, 1, 1, 0, 1]])
    np.testing.assert_allclose(scoring_rates(values, members, weights), [[1 / 3, 0], [1 / 3, 1]])


def test_the_impact_ratio_is_relative_to_the_highest_group() -> None:
    # Medians: labels .45, scores .5. Above it: labels a 1 of 4 and b 3 of 4, scores a 2 of 4 and b 1 of 4.
    clips = small(
        [0.1, 0.2, 0.3, 0.8, 0.4, 0.5, 0.6, 0.7], [0.1, 0.2, 0.6, 0.8, 0.4, 0.5, 0.5, 0.7], [*"aaaa", *"bbbb"]
    )
    ratios = impact_ratios(clips, resamples=0)["gender"]
    assert ratios["a"]["interview"]["labels"].rate == 0.25
    assert ratios["a"]["interview"]["labels"].ratio == pytest.approx(1 / 3)
    assert ratios["b"]["interview"]["labels"].ratio == 1
    assert ratios["a"]["interview"]["scores"].ratio == 1
    assert ratios["b"]["interview"]["scores"].ratio == pytest.approx(1 / 2)


def test_a_group_below_two_per_cent_has_a_rate_and_a_reason_but_no_ratio() -> None:
    values = np.linspace(0, 1, 100).tolist()
    small_group = impact_ratios(small(values, values, ["a"] * 99 + ["b"]), resamples=0)["gender"]["b"]["interview"]
    assert small_group["scores"].rate == 1
    assert small_group["scores"].ratio is None
    assert small_group["scores"].left_out == "1 of 100 clips, less than 2% of the data"
    kept = impact_ratios(small(values, values, ["a"] * 98 + ["b"] * 2), resamples=0)["gender"]["b"]["interview"]
    assert kept["scores"].ratio == 1


def test_clips_of_an_unknown_group_count_for_the_median_only() -> None:
    clips = small([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], ["a", "a", "", ""])
    ratios = impact_ratios(clips, resamples=0)["gender"]
    assert list(ratios) == ["a"]
    assert ratios["a"]["interview"]["scores"].rate == 0


def test_the_interval_of_a_ratio_allows_for_the_choice_of_the_highest_group() -> None:
    # Six groups that differ in nothing: the ratio of each is 1, and 95% of the intervals should hold it.
    rng = np.random.default_rng(0)
    groups = rng.integers(6, size=(40, 600)).astype(str)
    values = rng.normal(0.5, 0.1, (40, 600))
    misses = 0
    for k in range(40):
        clips = small(values[k].tolist(), values[k].tolist(), groups[k].tolist())
        ratios = impact_ratios(clips, resamples=200, seed=k)["gender"]
        intervals = [of_group["interview"]["scores"].interval for of_group in ratios.values()]
        misses += sum(interval is None or interval[1] < 1 for interval in intervals)
    assert misses <= 19  # of 240: .05 plus two deviations of the share, .014


def test_the_interval_of_a_ratio_compares_a_group_with_every_other_one() -> None:
    resampled = np.array([[0.2, 0.4, 0.8], [0.3, 0.4, 0.5], [0.2, 0.1, 0.5], [0.0, 0.0, 0.0]] * 50)
    # To the second group .5, .75 and 2, to the third .25, .6 and .4; the last resample has no ratio.
    assert _interval(resampled, 0, [1, 2], [100] * 3) == (0.25, 0.6)
    # The third group is the highest or as high in every resample: 2, 1.25 and 5, and 4, 1.67 and 2.5.
    assert _interval(resampled, 2, [0, 1], [100] * 3) == (1.0, 1.0)
    assert _interval(resampled, 0, [1, 2], [9, 100, 100]) is None
    assert _interval(resampled, 0, [], [100]) == (1.0, 1.0)


def test_a_planted_bias_is_found_where_it_is_and_nowhere_else() -> None:
    result = differences(planted(shift=-0.06, passes_on=1.0), resamples=500)
    found = {(row.target, row.quantity) for row in result.found}
    assert found == {("agreeableness", "label"), ("agreeableness", "score")}
    label = next(row for row in result.found if row.quantity == "label")
    assert (label.group, label.against) == ("female", "male")
    assert label.low < -0.06 < label.high < 0
    assert label.p < 0.01


def test_a_system_that_does_not_pass_a_bias_on_differs_in_bias_instead() -> None:
    found = {(row.target, row.quantity) for row in differences(planted(shift=-0.08), resamples=500).found}
    assert found >= {("agreeableness", "label"), ("agreeableness", "bias")}
    assert ("agreeableness", "score") not in found


def test_a_difference_is_that_of_the_means() -> None:
    clips = planted(shift=0.03)
    female = np.array(clips.groupings["gender"]) == "female"
    rows = {(row.target, row.quantity): row.value for row in differences(clips, resamples=100).rows}
    error = np.abs(clips.scores - clips.truth)
    for i, target in enumerate(TARGETS):
        label = clips.truth[female, i].mean() - clips.truth[~female, i].mean()
        score = clips.scores[female, i].mean() - clips.scores[~female, i].mean()
        assert rows[target, "label"] == pytest.approx(label)
        assert rows[target, "bias"] == pytest.approx(score - label)
        assert rows[target, "mae"] == pytest.approx(error[female, i].mean() - error[~female, i].mean())


def test_several_clips_of_a_person_make_intervals_wider() -> None:
    clips = planted()
    twins = replace(clips, truth=np.repeat(clips.truth[::2], 2, axis=0))  # both clips of a person have the same label

    def margin(system: AuditClips) -> float:
        (row,) = (r for r in differences(system, resamples=500).rows if (r.target, r.quantity) == ("openness", "label"))
        return row.detectable

    # With half as many independent labels the deviation is sqrt(2) times as large.
    assert margin(twins) == pytest.approx(2**0.5 * margin(replace(twins, clusters=np.arange(400))), rel=0.15)


def test_small_groups_are_listed_but_not_compared() -> None:
    clips = planted(100)
    groups = ["rare"] * (2 * FEWEST_CLUSTERS - 2) + ["common"] * (100 - 2 * FEWEST_CLUSTERS + 2)
    result = differences(replace(clips, groupings={"g": tuple(groups)}), resamples=100)
    assert result.rows == ()
    assert result.too_small == (("g", "rare", None, FEWEST_CLUSTERS - 1),)


def test_only_persons_with_a_label_of_the_target_count() -> None:
    clips = planted(200)
    truth = clips.truth.copy()
    female = np.array(clips.groupings["gender"]) == "female"
    few = np.flatnonzero(female)[2 * FEWEST_CLUSTERS :: 2]  # one clip of each further woman keeps all labels
    truth[np.flatnonzero(female)[2 * FEWEST_CLUSTERS - 2 :], 5] = np.nan
    truth[few, 0] = np.nan
    result = differences(replace(clips, truth=truth), resamples=100)
    assert "interview" not in {row.target for row in result.rows}
    assert result.too_small == (("gender", "female", "interview", FEWEST_CLUSTERS - 1),)
    rows = {row.target: (row.clips, row.clusters) for row in result.rows}
    persons = int(female.sum()) // 2
    assert rows["openness"] == (2 * persons, persons)
    assert rows["extraversion"] == (2 * persons - len(few), persons)


def test_an_interval_of_few_persons_is_that_of_student(monkeypatch: pytest.MonkeyPatch) -> None:
    # One comparison of 20 and 400 persons, whose resamples are normal with deviation .01: the interval is
    # t(.975; 19) = 2.0930 times .01 sqrt(20 / 19), as Student's is for a sample of 20.
    clips = small([0.5] * 420, [0.5] * 420, ["a"] * 20 + ["b"] * 400)
    quantiles = 0.01 * ndtri((np.arange(20_000) + 0.5) / 20_000)
    resampled = np.zeros((20_000, 1, 1, 4))
    resampled[:, 0, 0, 0] = quantiles
    values = iter([np.zeros((1, 1, 1, 4)), resampled])
    monkeypatch.setattr("crnet.audit.differences._values", lambda sums, pairs: next(values))
    (row,) = differences(clips, resamples=2).rows
    assert row.quantity == "label"
    assert row.high == pytest.approx(2.0930 * 0.01 * (20 / 19) ** 0.5, rel=1e-3)
    assert row.p == 1


def test_each_pair_of_groupings_is_crossed() -> None:
    clips = replace(planted(4), groupings={"a": ("x", "y", "x", ""), "b": ("p", "q", "p", "q")}).with_intersections()
    assert clips.groupings["a and b"] == ("x, p", "y, q", "x, p", "")


def test_pairs_do_not_count_as_columns_and_one_with_too_many_groups_is_left_out() -> None:
    count = 162
    columns = {f"column{k}": tuple(f"{k}{i // 9 ** (k % 2) % 9}" for i in range(count)) for k in range(6)}
    clips = replace(planted(count), groupings={**columns, "column0 and column2": ("x",) * count})
    crossed = clips.with_intersections()
    # Even columns hold the same nine groups of clips, and so do odd ones: 9 groups in such a pair, 81 in the others.
    assert "column1 and column3" in crossed.intersections and "column0 and column1" not in crossed.groupings
    assert crossed.groupings["column0 and column2"] == ("x",) * count
    assert len([text for text in crossed.warnings if "81 groups, more than 60" in text]) == 9
    assert [text for text in crossed.warnings if "a column has this name" in text] == [
        "the pair column0 and column2 is not audited, because a column has this name"
    ]


def test_a_column_of_names_is_no_grouping() -> None:
    with pytest.raises(LabelError, match="name has 400 groups"):
        replace(planted(), groupings={"name": tuple(map(str, range(400)))})


def write_tables(folder: Path, clips: AuditClips) -> list[str]:
    """Write the three tables of a foreign system, the groups as the release has them; return the arguments."""
    with (folder / "p.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["clip", "agreeableness", "interview"])
        table.writerows([f"v.{i:03d}", *scores] for i, scores in enumerate(clips.scores[:, [2, 5]].tolist()))
        table.writerow(["=1+1.mp4", 0.5, 0.5])
    with (folder / "l.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["clip", *TARGETS])
        table.writerows([f"v.{i:03d}.mp4", *np.clip(row, 0, 1)] for i, row in enumerate(clips.truth.tolist()))
    codes = {"female": 2, "male": 1}
    rows = [f"v.{i:03d}.mp4;v;{1 + i % 3};{codes[g]}" for i, g in enumerate(clips.groupings["gender"])]
    path = folder / "eth_gender_annotations_test.csv"
    path.write_text("\n".join(["VideoName;YouTubeID;Ethnicity;Gender", *rows]) + "\n")
    return ["--predictions", str(folder / "p.csv"), "--labels", str(folder / "l.csv"), "--groups", str(path)]


def test_the_command_audits_a_foreign_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = write_tables(tmp_path, planted(40))
    assert main(["audit", *arguments, "--resamples", "100", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "audit" / "audit.json").read_text())
    assert document["clips"] == 40
    assert document["warnings"] == ["1 predicted clip has no labels and is left out: =1+1"]
    assert document["scale"] == {"neuroticism": "reversed: high = emotionally stable"}
    assert set(document["metrics"]) == {"gender", "ethnicity", "ethnicity and gender"}
    assert set(document["metrics"]["ethnicity"]) == {ALL, "asian", "caucasian", "african-american"}
    assert set(document["metrics"]["gender"]["female"]) == {"agreeableness", "interview"}
    assert "Audit of p.csv" in (tmp_path / "audit" / "report.html").read_text()


def test_one_unknown_person_does_not_separate_the_clips_of_all_others(tmp_path: Path) -> None:
    arguments = write_tables(tmp_path, planted(40))
    path = tmp_path / "groups.csv"
    rows = [f"v{i}.000,{'a' if i % 2 else 'b'},{'' if i == 7 else f'p{i % 4}'}" for i in range(40)]
    path.write_text("\n".join(["clip,group_x,person", *rows]) + "\n")
    for name in ("p.csv", "l.csv"):
        table = tmp_path / name
        table.write_text(re.sub(r"^v\.(\d+)", lambda m: f"v{int(m[1])}.000", table.read_text(), flags=re.MULTILINE))
    clips = clips_of_tables(Path(arguments[1]), Path(arguments[3]), [path])
    assert (clips.cluster_kind, len(set(clips.clusters.tolist()))) == ("person", 5)


def test_groups_without_a_scored_clip_and_pairs_without_a_group_are_part_of_an_audit() -> None:
    # One clip has label and score, and no clip is known in both groupings.
    clips = small([0.5, np.nan, 0.4], [0.5, 0.5, np.nan], ["a", "b", ""], clusters=np.arange(3))
    result = audit(replace(clips, groupings={**clips.groupings, "age": ("", "", "old")}), resamples=100)
    assert result.metrics["gender"]["a"]["interview"]["clips"] == 1
    assert result.metrics["gender"]["b"] == {} and result.ratios["gender and age"] == {}
    page = render_audit_page(result, {name: png(figure) for name, figure in draw_audit_figures(result).items()})
    assert "0 clips (0.0%) of 0 source videos" in page


def test_results_never_overwrite_a_table_that_the_audit_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = write_tables(tmp_path, planted(40))
    (tmp_path / "p.csv").rename(tmp_path / "audit.csv")
    arguments[1] = str(tmp_path / "audit.csv")
    before = (tmp_path / "audit.csv").read_bytes()
    assert main(["audit", *arguments, "--out", str(tmp_path)]) == 2
    assert "audit.csv: the results would overwrite this file (name a new folder with --out)" in capsys.readouterr().err
    assert (tmp_path / "audit.csv").read_bytes() == before


def test_a_wrong_mix_of_arguments_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "run"]) == 2
    assert "needs a run with a store, or three tables" in capsys.readouterr().err


def test_a_table_of_an_audit_runs_no_formula_and_names_the_reversed_scale(tmp_path: Path) -> None:
    clips = replace(planted(), groupings={"=g": tuple(["=HYPERLINK(1)"] * 200 + ["b"] * 200)})
    write_audit(audit(clips, resamples=100), tmp_path)
    rows = list(csv.DictReader((tmp_path / "audit.csv").open(newline="")))
    assert {row["group"] for row in rows} == {ALL, "'=HYPERLINK(1)", "b"}
    assert {row["grouping"] for row in rows} == {"'=g"}
    scales = {row["target"]: row["scale"] for row in rows}
    assert scales == dict.fromkeys(TARGETS, "") | {"neuroticism": "reversed: high = emotionally stable"}


@pytest.fixture(scope="module")
def result() -> Audit:
    clips = planted(shift=-0.08, passes_on=1.0)
    hostile = ["<script>alert(1)</script>"] * 200 + ["b"] * 200
    return audit(replace(clips, groupings={**clips.groupings, "g": tuple(hostile)}), resamples=200)


def test_the_page_escapes_groups_and_says_that_neuroticism_is_reversed(result: Audit) -> None:
    pictures = {name: png(figure) for name, figure in draw_audit_figures(result).items()}
    number = list(result.clips.groupings).index("g") + 1
    assert {f"gaps-{number}", f"ratios-{number}"} <= set(pictures)
    page = render_audit_page(result, pictures)
    assert f'href="gaps-{number}.svg"' in page
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Neuroticism is reversed" in page
    assert "(high = stable)" in page


def test_the_page_shows_labels_above_scores_and_intervals_with_their_signs(result: Audit) -> None:
    page = render_audit_page(result, {})
    row = next(row for row in result.differences.found if row.grouping == "gender")
    assert range_text((row.low, row.high)) in page
    groups = sum(len(groups) - 1 for groups in result.metrics.values())
    assert page.count('<td class="of">labels</td>') == page.count('<td class="of">scores</td>') == groups


def test_the_lowest_ratio_of_the_page_is_no_accident_of_a_tiny_group() -> None:
    clips = planted(200)  # of 100 persons; three of them, none above the median, are 3% of the clips
    scores = np.where(np.arange(200)[:, None] < 6, 0.0, clips.scores)
    groups = tuple(np.where(np.arange(200) < 6, "tiny", clips.groupings["gender"]).tolist())
    result = audit(replace(clips, scores=scores, groupings={"g": groups}), resamples=100)
    assert result.ratios["g"]["tiny"]["openness"]["scores"].ratio == 0
    tiles = re.findall(r"lowest impact ratio, scores<b>(.*?)</b><span>(.*?);", render_audit_page(result, {}))
    assert tiles and tiles[0][0] != ".00" and "tiny" not in tiles[0][1]
    assert "; among groups of 10 persons or more</span>" in render_audit_page(result, {})


def test_the_page_gives_the_scoring_rates_of_a_group_that_is_left_out_of_the_ratios() -> None:
    clips = planted(200)
    truth = clips.truth.copy()
    truth[0, 5] = np.nan  # the last target has no label of the group
    scores = np.where(np.arange(200)[:, None] < 1, 1.0, clips.scores)
    groups = tuple(np.where(np.arange(200) < 1, "tiny", clips.groupings["gender"]).tolist())
    page = render_audit_page(
        audit(replace(clips, truth=truth, scores=scores, groupings={"g": groups}), resamples=2), {}
    )
    left_out = re.findall(r"Left out of the ratios:\s+(.*?)\.</p>", page)
    traits = [target_label(target) for target in TARGETS[:5]]
    rates = ", ".join(f"{trait} 1.00" for trait in traits)
    assert left_out == [f"tiny (1 of 200 clips, less than 2% of the data; scoring rates: {rates})"]
    assert "1 clip (0.5%) of 1 person<" in page
    assert 'href="audit.json"' in page


def test_the_headline_counts_what_was_found(result: Audit) -> None:
    found = [row.quantity for row in result.differences.found]
    labels, scores = found.count("label"), found.count("score")
    assert labels
    assert f"{labels} in the raters' labels and {scores} in the system's scores" in headline(result)
    nothing = audit(planted(seed=1), resamples=200)
    assert not nothing.differences.found
    assert headline(nothing).startswith("None of 24 comparisons shows a difference")


@pytest.fixture(scope="module")
def bundle_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_bundle(bundle, folder / "bundle")
    return folder


def test_a_run_is_audited_by_the_groups_of_its_store(bundle_folder: Path, store_maker: Callable[..., Path]) -> None:
    store = store_maker()
    manifest = read_manifest(store)
    rows = [replace(row, groups={"gender": "female" if i % 2 else "male"}) for i, row in enumerate(manifest.clips)]
    write_manifest(store, replace(manifest, clips=tuple(rows)))
    clips = clips_of_run(bundle_folder, store, "test")
    assert len(clips.clips) == 12
    assert set(clips.groupings) == {"gender"}
    np.testing.assert_array_equal(clips.truth, [row.scores for row in manifest.rows("test") if row.scores])
    table = store / "g.csv"
    table.write_text(
        "clip,group_age\n" + "".join(f"clip{i}.mp4,{'old' if i < 20 else 'young'}\n" for i in range(16, 28))
    )
    assert set(clips_of_run(bundle_folder, store, "test", [table]).groupings) == {"age"}


def test_a_store_without_groups_is_refused(bundle_folder: Path, store: Path) -> None:
    with pytest.raises(LabelError, match="no groups are known"):
        clips_of_run(bundle_folder, store, "test")


def test_tables_without_a_common_clip_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("clip,interview\na,.5\n")
    (tmp_path / "l.csv").write_text("clip,interview\nb,.5\n")
    with pytest.raises(LabelError, match="has none of the 1 clips"):
        clips_of_tables(tmp_path / "p.csv", tmp_path / "l.csv", [])
