"""`split_validation`: the same division every time, and no person on both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnet.data.manifest import ClipRow, read_manifest
from crnet.data.splits import split_group, split_validation
from crnet.fusion.conformal import FEWEST_CALIBRATION_CLIPS
from crnet.training.stream import TrainingJob, open_split
from synthetic import write_store
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, tiny_training


def row(clip_id: str, person: str | None = None) -> ClipRow:
    return ClipRow(clip_id, f"clips/{clip_id}", "val", (0.5,) * 6, person=person)


@pytest.mark.parametrize(
    ("clip", "person", "group"),
    [
        ("J4GQm9j0JZ0.003.mp4", None, "video J4GQm9j0JZ0"),
        ("J4GQm9j0JZ0.003", None, "video J4GQm9j0JZ0"),
        ("J4GQm9j0JZ0.003.mp4", "anna", "person anna"),
        ("holiday.mp4", None, "video holiday.mp4"),
        ("a.1234.mp4", None, "video a.1234.mp4"),
    ],
)
def test_clips_are_grouped_by_person_or_video(clip: str, person: str | None, group: str) -> None:
    assert split_group(row(clip, person)) == group


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=0, max_size=160))
def test_each_clip_and_each_person_is_on_one_side(people: list[int]) -> None:
    rows = [row(f"{i}.mp4", f"p{person}") for i, person in enumerate(people)]
    selection, calibration = split_validation(rows)
    assert sorted(r.clip_id for r in (*selection, *calibration)) == sorted(r.clip_id for r in rows)
    assert not {r.person for r in selection} & {r.person for r in calibration}
    assert len(calibration) == 0 or FEWEST_CALIBRATION_CLIPS <= len(calibration) <= len(rows) / 2
    assert split_validation(rows[::-1])[1] == calibration[::-1]


def test_a_large_split_is_halved_and_a_small_one_is_not_divided() -> None:
    rows = [row(f"video{i // 6}.{i % 6:03d}.mp4") for i in range(2000)]
    assert len(split_validation(rows)[1]) == pytest.approx(1000, abs=6)
    assert split_validation(rows[: 2 * FEWEST_CALIBRATION_CLIPS - 1]) == (
        tuple(rows[: 2 * FEWEST_CALIBRATION_CLIPS - 1]),
        (),
    )
    assert split_validation([]) == ((), ())


def test_training_selects_its_network_without_the_calibration_clips(tmp_path: Path) -> None:
    store = write_store(tmp_path, clips=250, pixels=8, frames_per_segment=1, duration_s=0.05)
    manifest = read_manifest(store)
    selection, calibration = split_validation(manifest.rows("val"))
    assert calibration
    job = TrainingJob(store, manifest, tmp_path / "run", TINY_MODEL, TINY_TRANSFORMS, tiny_training())
    validation = open_split("val", "scene", job)
    assert validation is not None
    assert validation.rows == selection
    few = replace(manifest, clips=manifest.rows("val")[:9])
    assert len(open_split("val", "scene", replace(job, manifest=few)).rows) == 9
