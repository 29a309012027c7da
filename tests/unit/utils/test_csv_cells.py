from __future__ import annotations

import csv
import io

import pytest

from crnet.utils.csv_cells import neutral_cell, original_cell

FORMULAS = [
    '=HYPERLINK("http://example.org")',
    "=1+1.mp4",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "\uff1d1+1",  # full-width
    "\uff20SUM(1)",
    "-(1)",
    "'=1",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_text_that_a_spreadsheet_would_run_begins_with_an_apostrophe_and_reads_back(text: str) -> None:
    assert neutral_cell(text) == "'" + text
    assert original_cell(neutral_cell(text)) == text


@pytest.mark.parametrize("text", ["a=b", "-2qsCrkXdWs.001.mp4", "a.mp4", "", "'quoted'", "it's", "1e-3", "x\t=1"])
def test_other_text_stays(text: str) -> None:
    assert neutral_cell(text) == text == original_cell(text)


@pytest.mark.parametrize("value", [-0.5, 3, None, True])
def test_numbers_stay(value: object) -> None:
    assert neutral_cell(value) is value
    text = io.StringIO()
    csv.writer(text).writerow([neutral_cell(value), "x"])
    assert text.getvalue() == f"{'' if value is None else value},x\r\n"
