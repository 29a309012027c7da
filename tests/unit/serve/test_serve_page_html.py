"""Tests of the page's HTML."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from serve_client import Client, StartService
from serve_fakes import FakeWorkerClient, prediction

from crnet.serve import render
from crnet.serve.jobs import Job, JobRequest
from crnet.serve.storage import Storage, new_token
from crnet.types import TARGETS

NewJob = Callable[..., Job]


class Text(HTMLParser):
    """Text and tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def new_job(storage: Storage, tmp_path: Path) -> NewJob:
    """A function that makes a job with a result."""

    def make(name: str = "talk.mp4", **changes: object) -> Job:
        job = Job(new_token(), JobRequest(name, "", explain=False), state="done", has_scores=True)
        (tmp_path / "video").touch()
        storage.new_job(job.id, tmp_path / "video", is_upload=True)
        out = storage.job_folder(job.id) / "out"
        out.mkdir()
        (out / "prediction.json").write_text(json.dumps({**prediction(name), **changes}))
        job.files = ("prediction.json",)
        return job

    return make


def test_scores_come_with_intervals_and_their_level(new_job: NewJob, storage: Storage) -> None:
    page = render.scores(new_job(), storage)
    text = Text(page).text
    assert "true score for 90% of videos" in text
    assert "0.30 0.20 to 0.40" in text  # extraversion
    assert "0.80 0.70 to 0.90" in text  # interview
    assert 'class="band" y="2" height="6" x="20.0" width="20.0"' in page
    assert "face found in 7 of 8 frames" in text
    assert "No transcript" in text
    assert "high score means that the person seems calm" in text


def test_an_uncalibrated_system_says_that_the_error_is_unknown(new_job: NewJob, storage: Storage) -> None:
    text = Text(render.scores(new_job(intervals=None), storage)).text
    assert "%" not in text
    assert "the error of these scores is unknown" in text


def test_contributions_and_heat_maps_appear_with_the_explanation(http: Client) -> None:
    job_id = http.submit(explain=True)
    http.wait(job_id)
    page = http.get(f"/fragments/jobs/{job_id}/explanation").text
    text = Text(page).text
    assert "What drove the scores" in text
    assert "−0.200" in text
    assert "+0.050" in text
    assert f'<img src="/v1/jobs/{job_id}/files/gradcam_interview.png" alt="Grad-CAM for interview"' in page
    assert f'href="/v1/jobs/{job_id}/files/report.html"' in page
    assert 'class="down" y="2" height="6" x="0.0" width="50.0"' in page  # the largest contribution, -0.2
    assert 'class="up" y="2" height="6" x="50.0" width="12.5"' in page  # 0.05 / 0.2 of a half


def test_parts_of_the_result_exist_once_they_are_known(start_service: StartService) -> None:
    http = start_service(worker=FakeWorkerClient(seconds=60))
    running, waiting = http.submit(explain=True), http.submit()
    assert http.get(f"/fragments/jobs/{running}/scores").status_code == 200
    assert http.get(f"/fragments/jobs/{running}/explanation").status_code == 409
    assert http.get(f"/fragments/jobs/{waiting}/scores").status_code == 409
    assert http.get(f"/fragments/compare/{running}/{waiting}").status_code == 409
    assert http.get("/fragments/jobs/0/scores").status_code == 404


def test_html_from_visitors_is_escaped(new_job: NewJob, storage: Storage) -> None:
    evil = "<script>alert('x')</script>"
    hostile = new_job(evil, warnings=[evil])
    for page in (render.scores(hostile, storage), render.comparison((hostile, new_job()), storage)):
        assert "<script" not in page
        assert "&lt;script&gt;" in page


def test_two_videos_are_compared_without_ranking_people(new_job: NewJob, storage: Storage) -> None:
    high = dict.fromkeys(TARGETS, 0.9)
    intervals = {target: [0.85, 0.95] for target in TARGETS}
    text = Text(render.comparison((new_job("a.mp4"), new_job("b.mp4", scores=high, intervals=intervals)), storage)).text
    assert "interview" not in text.split("Neuroticism is reversed")[0].lower()
    for word in ("better", "best", "winner", "difference of", "higher"):
        assert word not in text.lower()
    assert text.count("intervals do not overlap") == 5  # openness ends at 0.80, and the others before
    assert "intervals overlap" in Text(render.comparison((new_job(), new_job()), storage)).text


def test_forms_do_nothing_until_the_script_runs(http: Client) -> None:
    """Without a script, a browser would send the transcript as a part of the address."""
    for path, forms in (("/", 1), ("/compare", 2)):
        page = http.get(path).text
        assert page.count("<form") == page.count("<fieldset disabled>") == forms
    assert render.page("login.html", current="", limits=None).count("<fieldset disabled>") == 1


def test_the_first_screen_says_what_the_scores_are_not_for(http: Client) -> None:
    for path in ("/", "/compare"):
        page = http.get(path).text
        assert page.index("Do not use the scores to make decisions about people.") < page.index("Choose a video")
        assert "trained on synthetic people" in page
        assert "Limits: 1 MB" in Text(page).text


@pytest.mark.parametrize("recognises_speech", [True, False])
def test_the_page_mentions_speech_recognition_if_it_is_on(start_service: StartService, recognises_speech: bool) -> None:
    http = start_service(worker=FakeWorkerClient(recognises_speech=recognises_speech))
    assert ("speech recognition" in http.get("/").text) is recognises_speech


@pytest.mark.parametrize("heat_maps", [True, False])
def test_the_page_promises_heat_maps_only_if_the_system_computes_them(
    start_service: StartService, heat_maps: bool
) -> None:
    http = start_service(worker=FakeWorkerClient(heat_maps=heat_maps))
    assert ("heat maps" in Text(http.get("/").text).text.lower()) is heat_maps


def test_an_explanation_without_heat_maps_says_why(http: Client) -> None:
    job_id = http.submit(explain=True)
    http.wait(job_id)
    job = http.service.job_queue.get(job_id)
    assert "There are no heat maps" not in render.explanation(job, http.service.job_queue.storage)
    job.files = tuple(name for name in job.files if not name.startswith("gradcam"))  # as of an exported system
    assert "There are no heat maps" in render.explanation(job, http.service.job_queue.storage)


def test_the_api_page_has_the_real_address_and_every_route(http: Client) -> None:
    text = Text(http.get("/docs", headers={"Host": "localhost:7861"}).text).text
    assert "SERVER=http://localhost:7861" in text
    for path in http.get("/openapi.json").json()["paths"]:
        assert path in text
    assert "Authorization: Bearer" not in text
