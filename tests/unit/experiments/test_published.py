"""Published numbers: their averages, and the rows that the paper prints in several tables."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from crnet.experiments.columns import PublishedScores
from crnet.experiments.paper import published as paper
from crnet.metrics import AVERAGE
from crnet.types import TRAITS

MEASURED = {n: getattr(paper, f"TABLE_{n}") for n in (1, 3, 4, 5, 6, 7)}


def test_there_are_66_rows() -> None:
    assert {n: len(rows) for n, rows in MEASURED.items()} == {1: 15, 3: 6, 4: 12, 5: 15, 6: 9, 7: 9}


@pytest.mark.parametrize("number", MEASURED)
def test_averages_are_those_of_the_five_traits(number: int) -> None:
    rows: Mapping[str, PublishedScores] = MEASURED[number]
    for name, row in rows.items():
        assert row[AVERAGE] == pytest.approx(np.mean([row[trait] for trait in TRAITS]), abs=1.01e-4), name


@pytest.mark.parametrize("stream", ["face", "scene", "audio-text"])
def test_tables_share_the_rows_that_docs_paper_lists(stream: str) -> None:
    four, five, six, seven = MEASURED[4], MEASURED[5], MEASURED[6], MEASURED[7]
    assert five[f"{stream} L1+L2"] == four[f"{stream} -"]
    assert five[f"{stream} all"] == four[f"{stream} Bell"]
    assert six[f"{stream} CR-block"] == four[f"{stream} CR"]
    assert seven[f"{stream} 4"] == four[f"{stream} CR Bell"]
    assert MEASURED[3]["audio+text" if stream == "audio-text" else stream] == four[f"{stream} CR Bell"]


def test_differences_quoted_in_section_5_2() -> None:
    four, five = MEASURED[4], MEASURED[5]
    quoted = {
        "face": (0.0073, 0.0077, 0.0066),
        "scene": (0.0048, 0.0035, 0.0011),
        "audio-text": (0.0040, 0.0039, 0.0035),
    }
    for stream, (cr_block, l2, bell) in quoted.items():
        assert four[f"{stream} CR"][AVERAGE] - four[f"{stream} -"][AVERAGE] == pytest.approx(cr_block)
        assert five[f"{stream} L2"][AVERAGE] - five[f"{stream} L1"][AVERAGE] == pytest.approx(l2)
        assert five[f"{stream} Bell"][AVERAGE] - five[f"{stream} L1+L2"][AVERAGE] == pytest.approx(bell)
