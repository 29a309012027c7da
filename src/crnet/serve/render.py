"""HTML of the page. The template engine escapes everything that visitors send."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.report.page_templates import MEANINGS, NEUROTICISM, environment
from crnet.serve.job_queue import WAITING, ScoringResult
from crnet.serve.limits import Limits
from crnet.types import TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE

LAST_STEP = "done"  # the note of an explanation's last progress message
OVERLAY_CAPTION = "Red regions raise this score; blue regions lower it."
FEATURES_CAPTION = "Strength of the network's features (Sec. 5.6 of the paper): blue is weak, red is strong."
GRADCAM_CAPTION = "Regions of each frame that raise this score (red) or lower it (blue)."
SOUND_CAPTION = (
    "The waveform and the spoken words, with the moments that raise or lower each score of the audio-text stream."
)

ENVIRONMENT = environment("crnet.serve")


@dataclass
class JobProgress:
    """Progress of one video, built from the messages about it.

    Attributes:
        title: Heading, if the page scores two videos.
        videos_ahead: Number of videos ahead of this one while it waits; None once its turn has come.
        tasks: Last message of each task, in the order in which the tasks began.
        error: Reason why the video was not scored.
        elapsed_s: Total time, once the video has been scored.
    """

    title: str = ""
    videos_ahead: int | None = None
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    error: str | None = None
    elapsed_s: float | None = None
    _started_s: float = field(default_factory=time.monotonic)

    def finish(self) -> None:
        """Record that the video has been scored."""
        self.elapsed_s = time.monotonic() - self._started_s

    def update(self, message: Mapping[str, Any]) -> None:
        """Apply a progress message of `JobQueue.score`."""
        if message["task"] == WAITING:
            self.videos_ahead = message["done"]
        elif message["task"] != LAST_STEP:
            self.videos_ahead = None
            self.tasks[message["task"]] = message


def intro(system_info: Mapping[str, Any], limits: Limits) -> str:
    """Return the head of the page: what the scores are and what they are not."""
    warning = TRAINED_ON_SYNTHETIC_PEOPLE if system_info["training_source"] == "simulated" else None
    return _render("intro.html", synthetic_warning=warning, limits=limits)


def status(jobs: Sequence[JobProgress]) -> str:
    """Return the progress of the visitor's videos."""
    return _render("status.html", jobs=jobs)


def result(scored: ScoringResult) -> str:
    """Return the scores of one video, what drove them, and the files."""
    return _render("result.html", video=_video_view(scored), neuroticism=NEUROTICISM)


def comparison(left: ScoringResult, right: ScoringResult) -> str:
    """Return the scores of two videos side by side."""
    rows = [
        {"target": a["target"], "meaning": a["meaning"], "sides": (a, b), "difference": b["score"] - a["score"]}
        for a, b in zip(_rows(left), _rows(right), strict=True)
    ]
    return _render(
        "comparison.html",
        videos=(_video_view(left), _video_view(right)),
        rows=rows,
        neuroticism=NEUROTICISM,
    )


def api_guide(limits: Limits) -> str:
    """Return the instructions for using the server without the page."""
    return _render("api_guide.html", limits=limits)


def _video_view(scored: ScoringResult) -> dict[str, Any]:
    """Return the values that the templates display for one video."""
    rows = _rows(scored)
    largest = max((abs(value) for row in rows for _, value in row["contributions"]), default=0.0)
    return {
        "result": scored,
        "rows": rows,
        "calibrated": scored.prediction["intervals"] is not None,
        "largest_contribution": largest or 1.0,
        "pictures": _pictures(scored),
    }


def _pictures(scored: ScoringResult) -> list[dict[str, str]]:
    """Return the heat maps of a result, the most informative first."""
    main_target = scored.explanation["target"] if scored.explanation else ""
    gradcams = {t: (f"gradcam_{t}.png", f"Grad-CAM for {t}", GRADCAM_CAPTION) for t in TARGETS}
    main_gradcam = [gradcams.pop(main_target)] if main_target in gradcams else []
    pictures = [
        ("overlay.mp4", f"Video with Grad-CAM overlay for {main_target}", OVERLAY_CAPTION),
        *main_gradcam,
        ("scene_maps.png", "Feature maps of the scene stream", FEATURES_CAPTION),
        ("face_maps.png", "Feature maps of the face stream", FEATURES_CAPTION),
        *gradcams.values(),
        ("sound.png", "Moments in the audio that raise or lower the scores", SOUND_CAPTION),
    ]
    return [
        {"file": name, "title": title, "caption": caption} for name, title, caption in pictures if name in scored.files
    ]


def _rows(scored: ScoringResult) -> list[dict[str, Any]]:
    """Return one row of scores, stream scores and contributions for each target."""
    scores, intervals = scored.prediction["scores"], scored.prediction["intervals"] or {}
    streams = scored.prediction["streams"]
    explanation = scored.explanation or {"base": {}, "contributions": {}}
    return [
        {
            "target": target,
            "meaning": MEANINGS[target],
            "score": scores[target],
            "interval": intervals.get(target),
            "streams": [(stream, values[target]) for stream, values in streams.items()],
            "base": explanation["base"].get(target),
            "contributions": list(explanation["contributions"].get(target, {}).items()),
        }
        for target in TARGETS
    ]


def _render(template: str, **values: Any) -> str:
    return ENVIRONMENT.get_template(template).render(level=INTERVAL_LEVEL, **values)
