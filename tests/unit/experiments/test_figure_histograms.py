"""Fig. 9: the distribution of the scores."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from crnet.config import PRESETS
from crnet.experiments.figures.histograms import Histograms, _figure, bin_counts, class_shares
from crnet.experiments.workspace import Workspace
from crnet.types import TARGETS
from synthetic import write_store


def test_edges_belong_to_the_upper_bin_and_class() -> None:
    # 63/90 equals the float 0.7; 1.0 belongs to the last bin
    scores = np.tile(np.array([0.0, 0.49, 0.5, 0.6, 63 / 90, 1.0])[:, None], (1, 6))
    counts = bin_counts(scores)
    assert counts[0].tolist() == [1, 0, 0, 0, 1, 1, 1, 1, 0, 1]
    np.testing.assert_allclose(class_shares(scores, 4)[3], np.array([2, 1, 1, 2]) / 6)


@pytest.mark.parametrize("classes", [4, 10])
def test_the_section_holds_picture_bins_and_class_shares(classes: int, tmp_path: Path) -> None:
    from dataclasses import replace

    base = PRESETS["tiny"]
    base = replace(base, model=replace(base.model, classes=classes))
    workspace = Workspace.open(write_store(tmp_path / "store", clips=20, frames_per_segment=1), tmp_path / "out", base)
    section = Histograms().run(workspace, tmp_path)
    assert Histograms().networks(workspace) == ()
    picture, bins, shares = section.files
    assert picture.stat().st_size > 10_000
    with bins.open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 6 * 2 * 10
    assert sum(int(row["clips"]) for row in rows if row["split"] == "train") == 6 * 12
    assert sum(int(row["clips"]) for row in rows if row["target"] == "openness") == 12 + 4
    with shares.open() as lines:
        for row in csv.DictReader(lines):
            assert sum(float(row[f"class_{k}"]) for k in range(classes)) == pytest.approx(1, abs=1e-5)
    truth = workspace.truth("train")
    middle = ((truth >= 0.5) & (truth < 0.7)).mean(axis=0)[:5]
    assert f"{middle.min():.0%} to {middle.max():.0%}" in section.markdown
    assert f"The {classes} classes" in section.markdown
    assert list(section.data["train_class_shares"]) == list(TARGETS)


def test_the_picture_marks_the_reversed_target_and_its_axis_ends_at_all_clips() -> None:
    one_bin = np.tile(np.eye(10, dtype=int)[4] * 7, (6, 1))  # every score lies in the fifth bin: 100% of the clips
    panels = _figure({"train": one_bin, "test": one_bin}, np.full((6, 4), 0.25)).axes
    assert panels[1].get_title(loc="left") == "neuroticism (high = stable)"
    assert max(panels[0].get_yticks()) == 1
