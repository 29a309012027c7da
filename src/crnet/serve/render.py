"""What the page shows, as HTML. Everything that comes from outside is escaped by the template engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crnet.fusion.conformal import LEVEL
from crnet.report.page import MEANINGS, NEUROTICISM, environment
from crnet.serve.job_queue import WAITING, Result
from crnet.serve.limits import Limits
from crnet.types import TARGETS

LAST_STEP = "done"  # an explanation's way to say that it has ended
FILM_CAPTION = "Red raises the score of this target, blue lowers it."
FEATURES_CAPTION = "Where the features of the network are strong (Sec. 5.6 of the paper): blue weak, red strong."
GRADCAM_CAPTION = "What in each frame raises this score (red) or lowers it (blue)."
SOUND_CAPTION = "The sound with its words, and which moments raise or lower each score."

ENVIRONMENT = environment("crnet.serve")


@dataclass
class Stages:
    """How far a video is, from the messages about it.

    Attributes:
        of: Which video, where there are two.
        before: Videos before this one while it waits; None once it is its turn.
        tasks: Each task's last message, in the order in which they began.
        error: Why it ended without scores.
        seconds: How long it took, once it has ended well.
    """

    of: str = ""
    before: int | None = None
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    error: str | None = None
    seconds: float | None = None
    _began_s: float = field(default_factory=time.monotonic)

    def finish(self) -> None:
        """It has ended well."""
        self.seconds = time.monotonic() - self._began_s

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of `Desk.score`."""
        if message["task"] == WAITING:
            self.before = message["done"]
        elif message["task"] != LAST_STEP:
            self.before = None
            self.tasks[message["task"]] = message


def intro(facts: Mapping[str, Any], limits: Limits) -> str:
    """The head of the page: what the scores are and are not."""
    return _render("intro.html", drawn=facts["training_source"] == "simulated", limits=limits)


def status(stages: Sequence[Stages]) -> str:
    """How far the visitor's videos are."""
    return _render("status.html", all_stages=stages)


def result(one: Result) -> str:
    """Scores, what explains them, and the files."""
    return _render("result.html", one=_side(one), neuroticism=NEUROTICISM)


def comparison(left: Result, right: Result) -> str:
    """Two videos' scores side by side."""
    rows = [
        {"target": a["target"], "meaning": a["meaning"], "sides": (a, b), "difference": b["score"] - a["score"]}
        for a, b in zip(_rows(left), _rows(right), strict=True)
    ]
    return _render(
        "comparison.html",
        sides=(_side(left), _side(right)),
        rows=rows,
        neuroticism=NEUROTICISM,
    )


def guide(limits: Limits) -> str:
    """How to use the server without the page."""
    return _render("guide.html", limits=limits)


def _side(one: Result) -> dict[str, Any]:
    """What the templates show of a result."""
    rows = _rows(one)
    largest = max((abs(value) for row in rows for _, value in row["added"]), default=0.0)
    return {
        "result": one,
        "rows": rows,
        "calibrated": one.prediction["intervals"] is not None,
        "largest": largest or 1.0,
        "pictures": _pictures(one),
    }


def _pictures(one: Result) -> list[dict[str, str]]:
    """The heat maps of a result, those first that say most at a glance."""
    target = one.explanation["target"] if one.explanation else ""
    maps = {t: (f"gradcam_{t}.png", f"Grad-CAM for {t}", GRADCAM_CAPTION) for t in TARGETS}
    first = [maps.pop(target)] if target in maps else []
    shown = [
        ("overlay.mp4", f"Grad-CAM for {target} over the video", FILM_CAPTION),
        *first,
        ("scene_maps.png", "Feature maps of the scene stream", FEATURES_CAPTION),
        ("face_maps.png", "Feature maps of the face stream", FEATURES_CAPTION),
        *maps.values(),
        ("sound.png", "What in the sound raises and lowers the scores", SOUND_CAPTION),
    ]
    return [{"file": name, "title": title, "caption": caption} for name, title, caption in shown if name in one.files]


def _rows(one: Result) -> list[dict[str, Any]]:
    scores, intervals = one.prediction["scores"], one.prediction["intervals"] or {}
    streams = one.prediction["streams"]
    explanation = one.explanation or {"base": {}, "contributions": {}}
    return [
        {
            "target": target,
            "meaning": MEANINGS[target],
            "score": scores[target],
            "interval": intervals.get(target),
            "streams": [(stream, values[target]) for stream, values in streams.items()],
            "base": explanation["base"].get(target),
            "added": list(explanation["contributions"].get(target, {}).items()),
        }
        for target in TARGETS
    ]


def _render(template: str, **values: Any) -> str:
    return ENVIRONMENT.get_template(template).render(level=LEVEL, **values)
