"""What the pages of a run, of a video and of the server have in common: their templates, and scores in words."""

from __future__ import annotations

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

NEUROTICISM = (
    "“Neuroticism” keeps the data set's name, but a high score means that the person seems calm and emotionally "
    "stable: the raters were asked who looks more comfortable, and on First Impressions v2 this score goes up and "
    "down with the job-interview score (correlation +.88)."
)

MEANINGS = {
    "extraversion": "Seems outgoing, lively and talkative (high) or reserved and quiet (low).",
    "neuroticism": "Turned round in this data: seems calm and emotionally stable (high) or tense and uneasy (low).",
    "agreeableness": "Seems friendly, warm and considerate (high) or cool and critical (low).",
    "conscientiousness": "Seems organised, careful and dependable (high) or careless and easily distracted (low).",
    "openness": "Seems curious, imaginative and open to new things (high) or conventional and down to earth (low).",
    "interview": "Strangers would (high) or would not (low) invite the person to a job interview.",
}
"""What each target says, for a reader who has not met it."""


def environment(package: str = "crnet.report") -> Environment:
    """The templates of a package; whatever comes from outside is escaped."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_uri(kind: str, content: bytes) -> str:
    """A file as an address that holds the file itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
