"""Parts shared by the pages of a run, a video and the server: templates, and scores explained in words."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from crnet.types import target_label
from crnet.utils.number_format import effect_text, percent, score_text

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
    templates.filters["label"] = target_label
    return templates


def sentence(text: str) -> str:
    """Return a text with a capital letter at its beginning and a full stop at its end."""
    return text[:1].upper() + text[1:] + ("" if text.rstrip().endswith((".", "!", "?")) else ".")


def data_uri(kind: str, content: bytes) -> str:
    """Return a file as a URI that holds the whole file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
