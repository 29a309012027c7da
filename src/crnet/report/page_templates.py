"""Parts shared by the pages of a run, a video and the server: templates, and scores explained in words."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from crnet.report.page_parts import with_contents
from crnet.types import target_label
from crnet.utils.number_format import counted, effect_text, percent, score_text
from crnet.version import __version__

REPORT_FILE = "report.html"  # in a run, or beside the files of a video report

NEUROTICISM = (
    "Neuroticism is reversed in First Impressions v2: it keeps its name, but a high score means that the person seems "
    "calm and emotionally stable, because the raters were asked who looked more comfortable. There, its correlation "
    "with the job-interview score is +.88."
)

MEANINGS = {
    "extraversion": "Seems outgoing, lively and talkative (high) or reserved and quiet (low).",
    "neuroticism": "Reversed: seems calm and emotionally stable (high) or tense and uneasy (low).",
    "agreeableness": "Seems friendly, warm and considerate (high) or cool and critical (low).",
    "conscientiousness": "Seems organised, careful and dependable (high) or careless and easily distracted (low).",
    "openness": "Seems curious, imaginative and open to new things (high) or conventional and down to earth (low).",
    "interview": "Strangers would (high) or would not (low) invite the person to a job interview.",
}
"""The meaning of each target, for a reader who does not know it."""


def environment(package: str = "crnet.report") -> Environment:
    """Return the templates of a package; all text from outside is escaped."""
    templates = Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"score": score_text, "effect": effect_text, "percent": percent, "sentence": sentence}
    templates.filters |= {"label": target_label, "counted": counted}
    return templates


def render(template: str, context: Mapping[str, Any], *, sortable: bool = True) -> str:
    """Render a page of this package, with a list of its sections and the date.

    Args:
        template: Name of the template.
        context: Its values.
        sortable: Add the script that sorts tables. The page's policy admits it by its hash, and no other script.
    """
    made = f"{datetime.now(UTC):%Y-%m-%d} by crnet {__version__}"
    script = _sorting_script() if sortable else {}
    return with_contents(environment().get_template(template).render({"made": made, **script, **context}))


def _sorting_script() -> dict[str, str]:
    script = files("crnet.report").joinpath("templates/sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return {"script": Markup(script), "script_policy": Markup(f"; script-src 'sha256-{digest}'")}  # noqa: S704 - ours


def sentence(text: str) -> str:
    """Return a text with a capital letter at its beginning and a full stop at its end."""
    return text[:1].upper() + text[1:] + ("" if text.rstrip().endswith((".", "!", "?")) else ".")


def data_uri(kind: str, content: bytes) -> str:
    """Return a file as a URI that holds the whole file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
