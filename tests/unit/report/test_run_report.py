"""The page of a run: complete, self-contained, safe with any text, and without frames of real people."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from crnet.bundle.bundle import Bundle
from crnet.bundle.save import save_bundle
from crnet.data.store import read_clip, write_clip
from crnet.errors import FormatError
from crnet.evaluation.evaluate import evaluate_run
from crnet.evaluation.evaluation import Evaluation
from crnet.fusion.fusion import Fusion
from crnet.metrics import describe
from crnet.report.page_templates import MEANINGS
from crnet.report.run_page import _chance_text, headline
from crnet.report.run_report import write_run_page, write_run_report
from crnet.types import TRAINED_ON_SYNTHETIC_PEOPLE
from crnet.utils.number_format import decimal

FIGURES = dict.fromkeys(("systems", "scatter", "errors", "distributions", "calibration", "loss_terms"), b"\x89PNG...")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects what a browser would show, and fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def images(self) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag == "img"]


@pytest.fixture(scope="module")
def run(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "my run"
    save_bundle(bundle, folder / "bundle")
    return folder


@pytest.fixture(scope="module")
def page(run: Path, evaluation: Evaluation, store: Path) -> Page:
    path = write_run_page(run, evaluation, store, FIGURES)
    assert path == run / "report.html"
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_says_what_the_scores_mean(page: Page) -> None:
    text = " ".join(page.text.split())
    assert "my run" in text
    assert "Do not use these scores for decisions about people." in text
    assert "impressions" in text
    assert "footnote 1" in text
    assert "calm and emotionally stable" in text
    assert "trained on synthetic people only" in text
    for target, meaning in MEANINGS.items():
        assert target in text and meaning in text


def test_the_page_shows_the_metrics(page: Page, evaluation: Evaluation) -> None:
    for system in evaluation.systems.values():
        assert decimal(system["average"]["accuracy"], digits=3) in page.text
    assert headline(evaluation) in " ".join(page.text.split())
    assert '"frames": 2' in page.text
    assert "hashed-ngrams-v1" in page.text


def test_the_page_says_what_chance_alone_does_to_the_coverage() -> None:
    """1.96 sqrt(.9 .1 / n) is .0735 for 64 clips, and .1283 for the 21 clips of a third of them."""
    assert "With 64 clips, the observed coverage can differ from a true coverage of 90% by up to 7 " in _chance_text(64)
    assert "With 21 clips, the observed coverage can differ from a true coverage of 90% by up to 13 " in _chance_text(
        21
    )
    assert _chance_text(1).startswith("With 1 clip, ")


def test_the_page_opens_offline_and_needs_no_script(page: Page, run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    assert not [tag for tag, _ in page.tags if tag in ("link", "iframe", "object", "form")]
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]  # the policy admits its hash alone
    for tag, attributes in page.tags:
        for name in ("src", "href", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith("#" if tag == "a" else "data:image/")
        assert not [name for name in attributes if name.startswith("on")]
    assert not re.search(r"https?://", text)
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_supports_print_dark_mode_and_small_screens(run: Path) -> None:
    text = (run / "report.html").read_text(encoding="utf-8")
    for needed in ("@media print", "prefers-color-scheme: dark", "width=device-width", '<html lang="en">'):
        assert needed in text


def test_every_picture_has_a_description_and_is_a_picture(page: Page) -> None:
    assert len(page.images()) == len(FIGURES) + 2 * 6  # scene and face of six clips
    for image in page.images():
        assert image["alt"]
        kind, content = str(image["src"]).split(";base64,")
        magic = {"data:image/png": b"\x89PNG", "data:image/jpeg": b"\xff\xd8"}[kind]
        assert base64.b64decode(content, validate=True).startswith(magic)


def test_frames_and_words_of_real_people_are_not_shown(
    run: Path, make_evaluation: Callable[..., Evaluation], store: Path, evaluation: Evaluation
) -> None:
    rows = tuple(replace(row, transcript="my private words") for row in evaluation.rows)
    real = make_evaluation(rows=rows, source="first-impressions-v2", warnings=(TRAINED_ON_SYNTHETIC_PEOPLE,))
    text = write_run_page(run, real, store, FIGURES).read_text(encoding="utf-8")
    page = Page(text)
    assert "image/jpeg" not in text
    assert "private" not in text
    assert "not shown" in page.text
    assert page.text.index(TRAINED_ON_SYNTHETIC_PEOPLE) < page.text.index("What the scores mean")
    assert len(page.images()) == len(FIGURES)


EVIL = '<script>alert("1")</script><img src=x onerror=alert(1)>{{ 7 * 7 }}\' " & '


def test_names_words_and_warnings_of_clips_are_never_markup(
    run: Path, make_evaluation: Callable[..., Evaluation], store: Path, evaluation: Evaluation, tmp_path: Path
) -> None:
    rows = tuple(replace(row, clip_id=EVIL + row.clip_id, transcript=EVIL, warnings=(EVIL,)) for row in evaluation.rows)
    for row in rows:
        write_clip(tmp_path / row.file, replace(read_clip(store / row.file), clip_id=row.clip_id))
    evil = make_evaluation(rows=rows, warnings=(EVIL,))
    text = write_run_page(run, evil, tmp_path, FIGURES).read_text(encoding="utf-8")
    page = Page(text)
    assert [tag for tag, _ in page.tags].count("script") == 1  # ours
    assert not [attributes for tag, attributes in page.tags if tag == "img" and "onerror" in attributes]
    assert page.text.count(EVIL) >= 6
    assert "49" not in re.sub(r"[0-9.,]*49[0-9.,]*%?", "", page.text.replace(EVIL, ""))


def test_a_configuration_cannot_break_out_either(
    run: Path, evaluation: Evaluation, store: Path, tmp_path: Path, bundle: Bundle
) -> None:
    save_bundle(replace(bundle, encoder="</pre><script>alert(1)</script>"), tmp_path / "bundle")
    page = Page(write_run_page(tmp_path, evaluation, store, FIGURES).read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1  # ours


def test_missing_clips_are_reported(run: Path, make_evaluation: Callable[..., Evaluation], store: Path) -> None:
    page = Page(write_run_page(run, make_evaluation(missing=("x", "y")), store, FIGURES).read_text(encoding="utf-8"))
    assert "n = 12" in " ".join(page.text.split())
    assert "2 annotated clips are missing" in " ".join(page.text.split())


def test_largest_and_smallest_errors_are_different_clips(page: Page, evaluation: Evaluation) -> None:
    errors = np.abs(evaluation.predictions["fusion"] - evaluation.truth)[:, :5].mean(axis=1)
    names = [evaluation.rows[i].clip_id for i in np.argsort(-errors)]
    _, _, _, largest, smallest = re.split("Largest errors|Smallest errors", page.text)  # the contents name both first
    assert all(name in largest and name not in smallest for name in names[:3])
    assert all(name in smallest and name not in largest for name in names[-3:])


def test_one_clip_is_enough_for_a_page(run: Path, make_evaluation: Callable[..., Evaluation], store: Path) -> None:
    whole = make_evaluation()
    predictions = {name: values[:1] for name, values in whole.predictions.items()}
    systems = {name: describe(whole.truth[:1], p, whole.train_medians) for name, p in predictions.items()}
    single = make_evaluation(rows=whole.rows[:1], truth=whole.truth[:1], predictions=predictions, systems=systems)
    page = Page(write_run_page(run, single, store, FIGURES).read_text(encoding="utf-8"))
    assert "with so few clips, this may be chance" in " ".join(page.text.split())


def figures(removed: float | None, interval: list[float] | None) -> dict:
    return {"fusion": {"average": {"error_removed": removed, "ci95": {"error_removed": interval}}}}


@pytest.mark.parametrize(
    ("removed", "interval", "expected"),
    [
        (
            0.303,
            [0.27, 0.33],
            "removes 30% of the error of predicting one number for everyone (95% interval 27% to 33%)",
        ),
        (0.03, [-0.02, 0.08], "does not differ significantly from predicting one number for everyone"),
        (-0.2, [-0.3, -0.1], "is worse than predicting one number for everyone: its error is 20% larger"),
        (0.5, None, "with so few clips, this may be chance"),
        (None, None, "is undefined"),
    ],
)
def test_the_headline_claims_no_more_than_the_interval_allows(
    removed: float | None, interval: list[float] | None, expected: str, make_evaluation: Callable[..., Evaluation]
) -> None:
    sentence = headline(make_evaluation(systems=figures(removed, interval)))
    assert expected in sentence
    assert sentence.startswith("On 12 clips of the test split")


def test_a_run_without_a_bundle_has_no_page(tmp_path: Path, evaluation: Evaluation, store: Path) -> None:
    with pytest.raises(FormatError, match="no trained system"):
        write_run_page(tmp_path, evaluation, store, FIGURES)
    assert not (tmp_path / "report.html").exists()


def test_evaluating_a_run_writes_figures_and_page(
    tmp_path: Path, bundle: Bundle, store: Path, visual_fusion: Fusion
) -> None:
    from safetensors.numpy import save_file

    save_bundle(bundle, tmp_path / "bundle")
    save_file(visual_fusion.to_tensors(), tmp_path / "scene+face.safetensors")
    (tmp_path / "evaluation" / "test").mkdir(parents=True)
    (tmp_path / "evaluation" / "test" / ".tmp-abc.json").touch()  # what a killed call left
    evaluation, folder = evaluate_run(tmp_path, store)
    write_run_report(str(tmp_path), str(store), evaluation, folder)
    assert folder == tmp_path / "evaluation" / "test"
    drawn = ("systems", "scatter", "errors", "distributions", "calibration")
    names = {"metrics.json", "predictions.csv", "systems.csv"} | {
        f"{name}.{suffix}" for name in drawn for suffix in ("png", "svg")
    }
    assert {path.name for path in folder.iterdir()} == names
    assert (tmp_path / "report.html").is_file()
    assert "scene+face" in evaluation.systems
