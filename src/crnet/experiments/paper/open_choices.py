"""Points that the paper leaves open; each way to read them is measured (docs/paper.md, section 1)."""

from __future__ import annotations

from crnet.experiments.claims import OPEN_CHOICE, Claim
from crnet.experiments.config_overrides import chain, unchanged, with_backbone, with_fusion, with_model
from crnet.experiments.table_experiment import Table, TableRow
from crnet.types import STREAMS, Stream

JOINING = "Joining the streams"
TREES_SUM, TREES_CONCAT = "extra-trees, features summed 7:5:3", "extra-trees, features concatenated"
OUTPUTS_MEAN, OUTPUTS_LEARNED = "outputs averaged 7:5:3", "outputs, weights learned on validation"

_JOINING_ROWS = (
    TableRow(JOINING, TREES_SUM, STREAMS, with_fusion(mode="sum")),
    TableRow(JOINING, TREES_CONCAT, STREAMS, with_fusion(mode="concat")),
    TableRow(JOINING, OUTPUTS_MEAN, STREAMS, unchanged, method="weighted outputs"),
    TableRow(JOINING, OUTPUTS_LEARNED, STREAMS, unchanged, method="learned weights"),
)
_JOINING_CLAIMS = tuple(
    Claim(text, OPEN_CHOICE, f"{JOINING}: {better}", f"{JOINING}: {worse}")
    for text, better, worse in (
        ("concatenated features beat summed features", TREES_CONCAT, TREES_SUM),
        ("extra-trees (summed) beat averaged outputs", TREES_SUM, OUTPUTS_MEAN),
        ("extra-trees (concatenated) beat averaged outputs", TREES_CONCAT, OUTPUTS_MEAN),
        ("learned weights beat 7:5:3", OUTPUTS_LEARNED, OUTPUTS_MEAN),
    )
)

FRAME_MEAN, FRAME_WEIGHTS, THREE_D = "2-D, mean of the frames", "2-D, learned weight per frame", "3-D"
_FRAME_OVERRIDES = (
    (FRAME_MEAN, chain(with_backbone("r2d34"), with_model(temporal="mean"))),
    (FRAME_WEIGHTS, chain(with_backbone("r2d34"), with_model(temporal="conv1x1"))),
    (THREE_D, with_backbone("r3d34")),
)
_FRAME_GROUPS: tuple[tuple[str, Stream], ...] = (("Frames, face", "face"), ("Frames, scene", "scene"))
_FRAME_ROWS = tuple(
    TableRow(group, name, (stream,), override) for group, stream in _FRAME_GROUPS for name, override in _FRAME_OVERRIDES
)
_FRAME_CLAIMS = tuple(
    Claim(f"{text} ({stream})", OPEN_CHOICE, f"{group}: {better}", f"{group}: {worse}")
    for group, stream in _FRAME_GROUPS
    for text, better, worse in (
        ("learned frame weights beat the mean", FRAME_WEIGHTS, FRAME_MEAN),
        ("3-D beats the mean of 2-D", THREE_D, FRAME_MEAN),
    )
)

open_choices = Table(
    "open-choices",
    "Open choices: where the paper can be read in several ways",
    (*_JOINING_ROWS, *_FRAME_ROWS),
    (*_JOINING_CLAIMS, *_FRAME_CLAIMS),
    (
        "Learned weights: non-negative least squares for each target on the validation clips that did not select a "
        "network, or on all validation clips if too few of those remain.",
    ),
)
