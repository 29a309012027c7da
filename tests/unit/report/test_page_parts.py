"""Tests of what every page of a report has: a list of its sections, a date, and one script that its policy names."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
from pathlib import Path

import pytest

import crnet
from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from crnet.evaluation.evaluation import Evaluation
from crnet.report.page_parts import with_contents
from crnet.report.run_data import systems_csv, training_csv
from crnet.report.run_report import write_run_page


def test_sections_get_anchors_and_a_list() -> None:
    page = "<h1>T</h1><h2>A b</h2><h2>A &amp; <i>B</i></h2><h2>A b</h2><h2>§</h2>"
    assert with_contents(page) == (
        '<h1>T</h1><nav class="contents" aria-label="Contents">\n<ul>\n'
        '<li><a href="#a-b">A b</a></li>\n'
        '<li><a href="#a-b-">A &amp; <i>B</i></a></li>\n'
        '<li><a href="#a-b--">A b</a></li>\n'
        '<li><a href="#section">§</a></li>\n'
        "</ul>\n</nav>\n"
        '<h2 id="a-b">A b</h2><h2 id="a-b-">A &amp; <i>B</i></h2><h2 id="a-b--">A b</h2><h2 id="section">§</h2>'
    )


def test_a_page_of_three_sections_gets_no_list() -> None:
    assert with_contents("<h2>A</h2><h2>B</h2><h2>C</h2>") == ('<h2 id="a">A</h2><h2 id="b">B</h2><h2 id="c">C</h2>')


@pytest.fixture(scope="module")
def page(bundle: Bundle, store: Path, evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("report") / "run"
    save_bundle(bundle, run / "bundle")
    path = write_run_page(run, evaluation, store, {"systems": b"\x89PNG"}, run / "evaluation" / "my test")
    return path.read_text(encoding="utf-8")


def test_the_policy_admits_the_one_script_of_the_page_and_no_other(page: str) -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}'" in policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy and "unsafe-inline" not in policy.partition("script-src")[2]
    assert "<script" not in page.replace(f"<script>{script}</script>", "")


def test_links_lead_to_the_files_of_a_figure(page: str) -> None:
    addresses = re.findall(r'<a href="([^#"]*)"', page)
    folder = "evaluation/my%20test"
    for name in ("systems.png", "systems.svg", "systems.csv", "metrics.json", "predictions.csv"):
        assert f"{folder}/{name}" in addresses


def test_the_page_names_its_date_and_version(page: str) -> None:
    assert re.search(rf"Made on \d{{4}}-\d\d-\d\d by crnet {re.escape(crnet.__version__)}\.", page)
    assert '<a href="#all-systems-test-split-12-clips">' in page


def test_the_table_of_systems_has_every_metric_with_its_interval() -> None:
    metrics = {"mae": 0.1, "r2": None, "ci95": {"mae": [0.05, 0.2], "r2": None}}
    table = systems_csv({"=fusion": {"openness": metrics, "neuroticism": {"mae": 0.2, "ci95": {"mae": None}}}})
    assert list(csv.reader(io.StringIO(table))) == [
        ["system", "target", "metric", "value", "low", "high", "scale"],
        ["'=fusion", "openness", "mae", "0.1", "0.05", "0.2", ""],
        ["'=fusion", "openness", "r2", "", "", "", ""],
        ["'=fusion", "neuroticism", "mae", "0.2", "", "", "reversed: high = emotionally stable"],
    ]


def test_the_table_of_training_has_a_column_for_each_entry() -> None:
    logs = {
        "scene": [{"epoch": 1, "seconds": 3.5, "train": {"l1": 0.5}}, {"epoch": 2, "note": "x"}],
        "face": [{"epoch": 1}],
    }
    assert training_csv(logs).splitlines() == [  # type: ignore[arg-type]
        "stream,epoch,train.l1,note",
        "scene,1,0.5,",
        "scene,2,,x",
        "face,1,,",
    ]


def test_the_keyboard_reaches_everything_that_scrolls_sideways() -> None:
    templates = sorted((Path(crnet.__file__).parent / "report" / "templates").glob("*.html"))
    texts = [template.read_text(encoding="utf-8") for template in templates]
    boxes = [box for text in texts for box in re.findall(r'<div class="(?:plot|scroll)[^>]*>', text)]
    assert len(boxes) > 10
    assert [box for box in boxes if 'tabindex="0"' not in box] == []
