"""Clips of two tables by name, and tables of groups: paths of other lengths, several tables, contradictions."""

from __future__ import annotations

from pathlib import Path

import pytest

from crnet.data.clip_tables import match_clips
from crnet.data.group_tables import join_groups, read_groups
from crnet.data.score_tables import join_scores, read_predictions, read_truth
from crnet.errors import LabelError

HERE = Path("other.csv")


def test_a_name_matches_itself_before_a_longer_path_to_it() -> None:
    assert match_clips(["x", "y"], ["videos/x", "x"], HERE) == {"x": "x"}


def test_a_path_matches_its_end_in_either_direction_and_folders_count_whole() -> None:
    assert match_clips(["x.000", "/a/b/y.000", "z"], ["v/test/x.000", "b/y.000", "az"], HERE) == {
        "x.000": "v/test/x.000",
        "/a/b/y.000": "b/y.000",
    }
    assert match_clips(["anna/01"], ["ben/01"], HERE) == {}


def test_a_name_that_could_be_two_clips_is_refused() -> None:
    with pytest.raises(LabelError, match=r"other\.csv: clip 01 could be anna/01 or ben/01 \(name clips alike"):
        match_clips(["01"], ["anna/01", "ben/01"], HERE)
    with pytest.raises(LabelError, match=r"clip 01 could be anna/01 or ben/01"):
        match_clips(["anna/01", "ben/01"], ["01"], HERE)


def table(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_scores_of_files_are_joined_to_labels_by_name(tmp_path: Path) -> None:
    labels = table(tmp_path / "l.csv", "clip,interview\nx.000,.5\ny.000.mp4,.25\nz,.75\n")
    scored = table(tmp_path / "p.csv", "clip,interview\n/v/y.000.mp4,.2\n/v/x.000.mp4,.4\n/v/w.mp4,.1\n")
    joined = join_scores(read_truth(labels), read_predictions(scored))
    assert joined.clips == ("x.000", "y.000")
    assert joined.scores[:, 5].tolist() == [0.4, 0.2]
    assert joined.warnings == (
        "1 labelled clip has no predictions and is left out: z",
        "1 predicted clip has no labels and is left out: /v/w",
    )


def test_what_other_programs_write_for_a_missing_value_is_no_group_and_no_person(tmp_path: Path) -> None:
    path = table(tmp_path / "g.csv", "clip,group_gender,person\nv,female,NA\nw,NA,nan\nx,nan,p\ny,null,NULL\n")
    groups, persons = join_groups(["v", "w", "x", "y"], [read_groups(path)])
    assert groups == [{"gender": "female"}, {}, {}, {}]
    assert persons == ["", "", "p", ""]
    labels = table(tmp_path / "l.csv", "clip,interview,person\nv,.5,NA\nw,NA,q\nx,.5,p\n")
    assert read_truth(labels).persons == ("", "p")


@pytest.mark.parametrize("name", ["p.jsonl", "p.XLSX", "p.parquet"])
def test_a_table_of_another_format_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"PK\x03\x04\xff")
    with pytest.raises(
        LabelError, match=r"is not a CSV \(save the table as CSV; crnet predict --out p\.csv writes one"
    ):
        read_predictions(path)


def test_an_interval_upside_down_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "p.csv", "clip,openness,openness.low,openness.high\nv,.5,.4,.6\nw,.5,.6,.4\n")
    with pytest.raises(
        LabelError, match=r"line 3 has an interval upside down: openness\.low 0\.6 is above openness\.high"
    ):
        read_predictions(path)


def test_tables_of_groups_complete_each_other(tmp_path: Path) -> None:
    gender = table(tmp_path / "gender.csv", "clip,group_gender,person\nx,female,\ny,male,p1\n")
    age = table(tmp_path / "age.csv", "clip,group_age,person\nvideos/x.mp4,young,p0\nw,old,\n")
    groups, persons = join_groups(["x", "y", "z"], [read_groups(gender), read_groups(age)])
    assert groups == [{"gender": "female", "age": "young"}, {"gender": "male"}, {}]
    assert persons == ["p0", "p1", ""]


def test_tables_of_groups_that_contradict_each_other_or_name_other_clips_are_refused(tmp_path: Path) -> None:
    first = read_groups(table(tmp_path / "g.csv", "clip,group_gender,person\nx,female,p\n"))
    second = read_groups(table(tmp_path / "h.csv", "clip,group_gender\nx,male\n"))
    third = read_groups(table(tmp_path / "i.csv", "clip,group_age,person\nx,old,q\n"))
    with pytest.raises(LabelError, match=r"h\.csv: gives clip x the gender male, and a table before it female"):
        join_groups(["x"], [first, second])
    with pytest.raises(LabelError, match=r"i\.csv: gives clip x the person q, and a table before it p"):
        join_groups(["x"], [first, third])
    with pytest.raises(LabelError, match=r"g\.csv: has none of the 1 clips, such as a; its first clip is x"):
        join_groups(["a"], [first])
