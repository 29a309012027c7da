"""Where the paper can be read in more than one way, each way measured once (docs/paper.md, section 1)."""

from __future__ import annotations

from crnet.experiments.config_overrides import unchanged, with_fusion, with_model
from crnet.experiments.paper.claims import Claim
from crnet.experiments.table import Row, Table
from crnet.types import STREAMS, Stream

OPEN_READING = "open reading"
"""Source of a claim that is not the paper's: which of two ways to read it does better."""

JOINING = "Joining the streams"
TREES_SUM, TREES_ROW = "extra-trees, features summed 7:5:3", "extra-trees, features in a row"
OUTPUTS, LEARNED = "outputs averaged 7:5:3", "outputs, weights learned on validation"

_JOINING_ROWS = (
    Row(JOINING, TREES_SUM, STREAMS, with_fusion(mode="sum")),
    Row(JOINING, TREES_ROW, STREAMS, with_fusion(mode="concat")),
    Row(JOINING, OUTPUTS, STREAMS, unchanged, predictor="weighted outputs"),
    Row(JOINING, LEARNED, STREAMS, unchanged, predictor="learned weights"),
)
_JOINING_CLAIMS = tuple(
    Claim(text, OPEN_READING, f"{JOINING}: {better}", f"{JOINING}: {worse}")
    for text, better, worse in (
        ("features in a row beat their sum", TREES_ROW, TREES_SUM),
        ("extra-trees (sum) beat the outputs averaged", TREES_SUM, OUTPUTS),
        ("extra-trees (row) beat the outputs averaged", TREES_ROW, OUTPUTS),
        ("learned weights beat 7:5:3", LEARNED, OUTPUTS),
    )
)

MEAN, WEIGHED, FILM = "2-D, mean of the frames", "2-D, learned weight per frame", "3-D"
_FRAMES = (
    (MEAN, unchanged),
    (WEIGHED, with_model(temporal="conv1x1")),
    (FILM, with_model(backbone="r3d34")),
)
_VISUAL: tuple[tuple[str, Stream], ...] = (("Frames, face", "face"), ("Frames, scene", "scene"))

readings = Table(
    "readings",
    "Readings: where the paper leaves a choice",
    (*_JOINING_ROWS, *(Row(group, name, (stream,), change) for group, stream in _VISUAL for name, change in _FRAMES)),
    (
        *_JOINING_CLAIMS,
        *(
            Claim(f"{text} ({stream})", OPEN_READING, f"{group}: {better}", f"{group}: {worse}")
            for group, stream in _VISUAL
            for text, better, worse in (
                ("learned frame weights beat the mean", WEIGHED, MEAN),
                ("3-D beats the mean of 2-D", FILM, MEAN),
            )
        ),
    ),
    (
        "Learned weights: non-negative least squares for each target on the validation clips that chose no network, or "
        "on all where those are too few.",
    ),
)
