"""HTML of the results on the page. The template engine escapes everything that visitors send."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.report.page_templates import MEANINGS, NEUROTICISM, REPORT_FILE, environment
from crnet.serve.api import file_url
from crnet.serve.jobs import Job
from crnet.serve.storage import Storage
from crnet.serve.worker import OVERLAY_TARGET, PREDICTION_CSV, PREDICTION_JSON
from crnet.types import TARGETS
from crnet.utils.files import read_json

EXPLANATION_JSON = "explanation.json"
INTERVIEW = "interview"
OVERLAY_CAPTION = "Red regions raise this score; blue regions lower it."
FEATURES_CAPTION = "Strength of the network's features (Sec. 5.6 of the paper): blue is weak, red is strong."
GRADCAM_CAPTION = "Regions of each frame that raise this score (red) or lower it (blue)."
SOUND_CAPTION = (
    "The waveform and the spoken words, with the moments that raise or lower each score of the audio-text stream."
)
PICTURES = (
    ("overlay.mp4", f"Video with Grad-CAM overlay for {OVERLAY_TARGET}", OVERLAY_CAPTION),
    (f"gradcam_{OVERLAY_TARGET}.png", f"Grad-CAM for {OVERLAY_TARGET}", GRADCAM_CAPTION),
    ("scene_maps.png", "Feature maps of the scene stream", FEATURES_CAPTION),
    ("face_maps.png", "Feature maps of the face stream", FEATURES_CAPTION),
    *((f"gradcam_{t}.png", f"Grad-CAM for {t}", GRADCAM_CAPTION) for t in TARGETS if t != OVERLAY_TARGET),
    ("sound.png", "Moments in the audio that raise or lower the scores", SOUND_CAPTION),
)
"""Name, title and caption of each picture, the most informative first."""
SCORE_FILES = ((PREDICTION_JSON, "scores (JSON)"), (PREDICTION_CSV, "scores (CSV)"))
EXPLANATION_FILES = ((REPORT_FILE, "report (HTML)"), (EXPLANATION_JSON, "explanation (JSON)"))
"""Name and label of each file to download."""

ENVIRONMENT = environment("crnet.serve")


@dataclass(frozen=True)
class Row:
    """One target of a result.

    Attributes:
        target, meaning: Its name, and what it means.
        score, interval: In [0, 1].
        streams: Name and score of each stream.
        base, contributions: The explanation: base, and name and contribution of each stream.
    """

    target: str
    meaning: str
    score: float
    interval: tuple[float, float] | None
    streams: list[tuple[str, float]]
    base: float | None
    contributions: list[tuple[str, float]]


def page(template: str, **values: Any) -> str:
    """Return a page."""
    return ENVIRONMENT.get_template(template).render(**values)


def scores(job: Job, storage: Storage) -> str:
    """Return the scores of a video. The job must have them."""
    prediction = _document(job, storage, PREDICTION_JSON)
    return _render("scores.html", job, SCORE_FILES, prediction=prediction, rows=_rows(prediction, {}))


def explanation(job: Job, storage: Storage) -> str:
    """Return what drove the scores: contributions, heat maps and the report. The job must be done."""
    prediction = _document(job, storage, PREDICTION_JSON)
    rows = _rows(prediction, _document(job, storage, EXPLANATION_JSON)["contributions"])
    largest = max((abs(value) for row in rows for _, value in row.contributions), default=0.0)
    pictures = [
        {"url": file_url(job, name), "is_video": name.endswith(".mp4"), "title": title, "caption": caption}
        for name, title, caption in PICTURES
        if name in job.files
    ]
    return _render(
        "explanation.html",
        job,
        EXPLANATION_FILES,
        rows=rows,
        largest=largest or 1.0,
        pictures=pictures,
        heat_maps=any(name.startswith("gradcam") for name in job.files),
        report=file_url(job, REPORT_FILE),
    )


def comparison(jobs: tuple[Job, Job], storage: Storage) -> str:
    """Return the traits of two videos side by side.

    The page neither ranks people nor compares their chances in an interview, so it leaves that score out.
    """
    predictions = [_document(job, storage, PREDICTION_JSON) for job in jobs]
    sides = zip(*(_rows(prediction, {}) for prediction in predictions), strict=True)
    return ENVIRONMENT.get_template("comparison.html").render(
        level=INTERVAL_LEVEL,
        names=[job.request.name for job in jobs],
        rows=[(a, b, _overlap(a, b)) for a, b in sides if a.target != INTERVIEW],
        calibrated=all(prediction["intervals"] is not None for prediction in predictions),
        neuroticism=NEUROTICISM,
    )


def _render(template: str, job: Job, files: Sequence[tuple[str, str]], **values: Any) -> str:
    downloads = [(file_url(job, name), name, label) for name, label in files if name in job.files]
    return ENVIRONMENT.get_template(template).render(
        level=INTERVAL_LEVEL, neuroticism=NEUROTICISM, name=job.request.name, downloads=downloads, **values
    )


def _document(job: Job, storage: Storage, name: str) -> dict[str, Any]:
    path = storage.result_file(job.id, name) or Path(name)
    return dict(read_json(path, "a result"))


def _rows(prediction: Mapping[str, Any], shares: Mapping[str, Mapping[str, float]]) -> list[Row]:
    """Return one row of scores, stream scores and contributions for each target."""
    intervals = prediction["intervals"] or {}
    return [
        Row(
            target,
            MEANINGS[target],
            prediction["scores"][target],
            intervals.get(target),
            [(stream, values[target]) for stream, values in prediction["streams"].items()],
            shares.get(target, {}).get("base"),
            [(stream, value) for stream, value in shares.get(target, {}).items() if stream != "base"],
        )
        for target in TARGETS
    ]


def _overlap(a: Row, b: Row) -> bool:
    """Return whether the intervals of two scores overlap; without intervals nothing tells the scores apart."""
    if a.interval is None or b.interval is None:
        return True
    return max(a.interval[0], b.interval[0]) <= min(a.interval[1], b.interval[1])
