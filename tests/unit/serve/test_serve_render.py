"""Tests of the page's HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from serve_fakes import prediction

from crnet.explain.explain import DONE
from crnet.serve import render
from crnet.serve.job_queue import WAITING, ScoringResult
from crnet.serve.limits import Limits
from crnet.serve.render import JobProgress
from crnet.types import STREAMS, TARGETS

FILES = ("gradcam_interview.png", "gradcam_openness.png", "overlay.mp4", "prediction.json", "report.html")
EXPLANATION = {
    "base": dict.fromkeys(TARGETS, 0.5),
    "contributions": {target: dict(zip(STREAMS, (-0.2, 0.05, 0.0), strict=True)) for target in TARGETS},
    "target": "interview",
}
RESULT = ScoringResult("talk.mp4", prediction("talk.mp4"), None, "0" * 32, FILES)


class Text(HTMLParser):
    """Text and tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text, self.tags = "", []
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_scores_come_with_intervals_and_their_level() -> None:
    text = Text(render.result(RESULT)).text
    assert "0.30 (0.20 to 0.40, 90%)" in text  # extraversion
    assert "0.80 (0.70 to 0.90, 90%)" in text  # interview
    assert "face found in 7 of 8 frames" in text
    assert "No transcript" in text
    assert "high score means that the person seems calm" in text


def test_an_uncalibrated_system_says_that_the_error_is_unknown() -> None:
    text = Text(render.result(replace(RESULT, prediction=prediction("a", intervals=False)))).text
    assert "%)" not in text
    assert "the error of these scores is unknown" in text


def test_contributions_and_heat_maps_appear_with_an_explanation() -> None:
    assert "What drove the scores" not in render.result(RESULT)
    page = Text(render.result(replace(RESULT, explanation=EXPLANATION)))
    assert "What drove the scores" in page.text
    assert "−0.200" in page.text
    assert "+0.050" in page.text
    sources = [attrs.get("src") for tag, attrs in page.tags if tag in ("img", "video")]
    assert sources == [f"results/{'0' * 32}/{name}" for name in (FILES[2], FILES[0], FILES[1])]
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")


def test_html_from_visitors_is_escaped() -> None:
    evil = "<script>alert('x')</script>"
    hostile = prediction(evil, warnings=(evil,))
    progress = JobProgress(title=evil, error=evil)
    pages = [
        render.result(replace(RESULT, name=evil, prediction=hostile)),
        render.comparison(replace(RESULT, name=evil, prediction=hostile), RESULT),
        render.status([progress]),
    ]
    for page in pages:
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_the_difference_is_second_minus_first() -> None:
    other = prediction("b")
    other["scores"] = {target: score + 0.25 for target, score in other["scores"].items()}
    text = Text(render.comparison(RESULT, replace(RESULT, name="b", prediction=other))).text
    assert text.count("+0.25") == len(TARGETS)
    text = Text(render.comparison(replace(RESULT, name="b", prediction=other), RESULT)).text
    assert text.count("−0.25") == len(TARGETS)


def test_status_shows_the_queue_then_the_tasks_then_the_end() -> None:
    progress = JobProgress()
    assert "Waiting" in render.status([progress])
    progress.update({"task": WAITING, "done": 2, "total": 2, "note": ""})
    assert "2 videos ahead of yours" in render.status([progress])
    progress.update({"task": "reading", "done": 0, "total": 1, "note": ""})
    progress.update({"task": "mapping", "done": 3, "total": 8, "note": ""})
    page = render.status([progress])
    assert "ahead of yours" not in page
    assert re.findall(r"[✓…]", page) == ["✓", "…"]
    assert '<progress max="8" value="3"' in page
    progress.finish()
    page = render.status([progress])
    assert "Done in 0 s" in page
    assert re.findall(r"[✓…]", page) == ["✓", "✓"]


def test_the_end_of_an_explanation_is_not_a_task() -> None:
    progress = JobProgress()
    progress.update({"task": DONE, "done": 1, "total": 1, "note": ""})
    assert progress.tasks == {}


def test_an_error_is_announced_to_screen_readers() -> None:
    page = render.status([JobProgress(error="not a video (check it)")])
    assert 'role="alert"' in page
    assert "Not scored:</strong> not a video (check it)." in page


@pytest.mark.parametrize(("source", "warned"), [("simulated", True), ("first-impressions-v2", False)])
def test_a_model_of_synthetic_people_is_labelled_at_the_top(source: str, warned: bool) -> None:
    page = render.intro({"training_source": source}, Limits(max_upload_mb=7, max_duration_s=9))
    assert ("trained on synthetic people" in page) == warned
    assert "Limits: 7 MB and" in page
