"""What the page shows, as HTML. Everything that comes from outside is escaped by the template engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from crnet.app.desk import WAITING, Result
from crnet.app.limits import Limits
from crnet.explain.report import NEUROTICISM
from crnet.schema import TARGETS

MEANINGS = {
    "extraversion": "outgoing and lively, rather than reserved",
    "neuroticism": "calm and emotionally stable, rather than tense: a high score means stable",
    "agreeableness": "friendly and kind, rather than cold",
    "conscientiousness": "organised and reliable, rather than careless",
    "openness": "curious and imaginative, rather than conventional",
    "interview": "would be invited to a job interview",
}
"""How a high score reads: the person strikes strangers as ..."""

ENVIRONMENT = Environment(
    loader=PackageLoader("crnet.app"),
    autoescape=select_autoescape(default=True, default_for_string=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass
class Stages:
    """How far a video is, from the messages about it.

    Attributes:
        of: Which video, where there are two.
        before: Videos before this one while it waits; None once it is its turn.
        tasks: Each task's last message, in the order in which they began.
        error: Why it ended without scores.
        finished: Whether it ended.
    """

    of: str = ""
    before: int | None = None
    tasks: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    error: str | None = None
    finished: bool = False

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take a message of `Desk.score`."""
        if message["task"] == WAITING:
            self.before = message["done"]
        else:
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
    return _render("result.html", result=one, rows=_rows(one), neuroticism=NEUROTICISM)


def comparison(left: Result, right: Result) -> str:
    """Two videos' scores side by side."""
    rows = [
        {"target": a["target"], "meaning": a["meaning"], "sides": (a, b), "difference": b["score"] - a["score"]}
        for a, b in zip(_rows(left), _rows(right), strict=True)
    ]
    return _render(
        "comparison.html",
        results=(left, right),
        sides=((left, _rows(left)), (right, _rows(right))),
        rows=rows,
        calibrated=left.prediction["intervals"] and right.prediction["intervals"],
        neuroticism=NEUROTICISM,
    )


def guide(limits: Limits) -> str:
    """How to use the server without the page."""
    return _render("guide.html", limits=limits)


def _rows(one: Result) -> list[dict[str, Any]]:
    scores, intervals = one.prediction["scores"], one.prediction["intervals"] or {}
    streams = one.prediction["streams"]
    return [
        {
            "target": target,
            "meaning": MEANINGS[target],
            "score": scores[target],
            "interval": intervals.get(target),
            "streams": [(stream, values[target]) for stream, values in streams.items()],
        }
        for target in TARGETS
    ]


def _render(template: str, **values: Any) -> str:
    return ENVIRONMENT.get_template(template).render(**values)
