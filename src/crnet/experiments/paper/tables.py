"""Tables 1 to 7 of the paper. docs/paper.md lists the method, the losses and the head of each row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crnet.experiments.claims import Claim
from crnet.experiments.columns import PublishedScores
from crnet.experiments.config_overrides import (
    ConfigOverride,
    chain,
    unchanged,
    with_backbone,
    with_expectation_head,
    with_fusion,
    with_losses,
    with_model,
    with_plain_head,
    with_regressed_expectation_head,
)
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.paper.published import (
    TABLE_1,
    TABLE_1_NOTES,
    TABLE_1_OWN,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5,
    TABLE_6,
    TABLE_7,
)
from crnet.experiments.rendering.csv_text import csv_text
from crnet.experiments.rendering.rendered_table import RenderedRow, RenderedTable, write_table
from crnet.experiments.score_methods import ScoreMethod
from crnet.experiments.table_experiment import Table, TablePerBackbone, TableRow
from crnet.experiments.workspace import Experiment, Section, Workspace
from crnet.training.log import read_log
from crnet.types import STREAMS, VISUAL_STREAMS, Backbone, Stream
from crnet.utils.number_format import percent

STREAM_NAMES: dict[Stream, str] = {"face": "Face", "scene": "Scene", "audio-text": "Audio + text"}
"""Groups of rows, in the order of the paper's tables."""

BACKBONE_LABELS: dict[Backbone, str] = {"r2d34": "2-D", "r3d34": "3-D"}
CR_ONLY = with_losses("l1", "mse", "classification")

HELD_OUT: ScoreMethod = "held-out fusion"
HELD_OUT_NOTE = (
    "held-out fusion: not in the paper. The trees are fitted on validation clips, and the score is the weighted sum of "
    "trees, networks and floor that is best there; the other rows of several streams are trees fitted on the training "
    "clips, as we read the paper."
)

TABLE_1_TITLE = "Table 1: the whole system beside published systems"


def table_1(backbones: tuple[Backbone, ...]) -> Table:
    """Return Table 1: the whole system with both ways to join the streams, beside the published systems."""
    rows: list[TableRow] = []
    claims: list[Claim] = []
    for backbone in backbones:
        for mode, joined in (("sum", "summed"), ("concat", "concatenated")):
            group = f"{BACKBONE_LABELS[backbone]}, features {joined}"
            override = chain(with_backbone(backbone), with_fusion(mode=mode))
            without_text = chain(override, with_model(audio_text="audio"))
            whole = TableRow(group, "all", STREAMS, override, TABLE_1["Our"])
            part = TableRow(group, "w/o text", STREAMS, without_text, TABLE_1["Our-w/o text"])
            held_out = TableRow(group, f"all, {HELD_OUT}", STREAMS, override, method=HELD_OUT)
            rows += [whole, held_out, part]
            claims.append(Claim(f"all beats w/o text ({group})", "Table 1", whole.label, part.label))
    others = (name for name in TABLE_1 if name not in TABLE_1_OWN)
    rows += [TableRow("published", name, published=TABLE_1[name]) for name in others]
    return Table("table1", TABLE_1_TITLE, tuple(rows), tuple(claims), (*TABLE_1_NOTES, HELD_OUT_NOTE), ranked=True)


def table_3(backbones: tuple[Backbone, ...]) -> Table:
    """Return Table 3: each modality alone and together."""
    rows = [row for backbone in backbones for row in _video_rows(backbone)]
    rows += [
        TableRow("Audio-text", "audio only", ("audio-text",), with_model(audio_text="audio"), TABLE_3["audio"]),
        TableRow("Audio-text", "text only", ("audio-text",), with_model(audio_text="text"), TABLE_3["text"]),
        TableRow("Audio-text", "audio + text", ("audio-text",), with_model(audio_text="both"), TABLE_3["audio+text"]),
    ]
    rows += [
        TableRow(f"All, {BACKBONE_LABELS[b]}", "video + audio + text", STREAMS, with_backbone(b), TABLE_1["Our"])
        for b in backbones
    ]
    claims = [claim for backbone in backbones for claim in _video_claims(BACKBONE_LABELS[backbone])]
    claims += [
        Claim(
            f"video + audio + text beat video alone ({kind})",
            "Sec. 5.1, Tables 1 and 3",
            f"All, {kind}: video + audio + text",
            f"Video, {kind}: multi-focus",
        )
        for kind in (BACKBONE_LABELS[backbone] for backbone in backbones)
    ]
    both, audio, text = (f"Audio-text: {name}" for name in ("audio + text", "audio only", "text only"))
    claims += [
        Claim("audio + text beats audio alone", "Table 3", both, audio),
        Claim("audio + text beats text alone", "Table 3", both, text),
        Claim("audio beats text", "Table 3", audio, text),
    ]
    notes = (
        "The paper's Table 3 has no row for video + audio + text; its numbers are those of Table 1.",
        HELD_OUT_NOTE,
    )
    return Table("table3", "Table 3: modalities", tuple(rows), tuple(claims), notes)


def _video_rows(backbone: Backbone) -> tuple[TableRow, ...]:
    group, override = f"Video, {BACKBONE_LABELS[backbone]}", with_backbone(backbone)
    return (
        TableRow(group, "face", ("face",), override, TABLE_3["face"]),
        TableRow(group, "scene", ("scene",), override, TABLE_3["scene"]),
        TableRow(group, "multi-focus", VISUAL_STREAMS, override, TABLE_3["multi-focus"]),
        TableRow(group, f"multi-focus, {HELD_OUT}", VISUAL_STREAMS, override, method=HELD_OUT),
    )


def _video_claims(kind: str) -> tuple[Claim, ...]:
    face, scene, multi = (f"Video, {kind}: {name}" for name in ("face", "scene", "multi-focus"))
    traits = ("extraversion", "neuroticism")
    return (
        Claim(f"multi-focus beats face ({kind})", "Sec. 5.1", multi, face),
        Claim(f"multi-focus beats scene ({kind})", "Sec. 5.1", multi, scene),
        Claim(f"scene beats face ({kind})", "Sec. 5.1", scene, face),
        Claim(f"face beats scene on extraversion and neuroticism ({kind})", "Sec. 5.1", face, scene, traits),
        Claim(f"video beats audio + text ({kind})", "Sec. 5.1", multi, "Audio-text: audio + text"),
    )


def _by_stream(
    overrides: Mapping[str, tuple[str, ConfigOverride]], published: Mapping[str, PublishedScores]
) -> tuple[TableRow, ...]:
    """Return the same rows for each stream; `overrides` maps the paper's name of a row to our name and the override."""
    return tuple(
        TableRow(group, name, (stream,), override, published[f"{stream} {paper_name}"])
        for stream, group in STREAM_NAMES.items()
        for paper_name, (name, override) in overrides.items()
    )


def _claims(source: str, *claims: tuple[str, str, str]) -> tuple[Claim, ...]:
    """Return the claims for each stream; a claim is its text, the name of the better row and that of the worse row."""
    return tuple(
        Claim(f"{text} ({group.lower()})", source, f"{group}: {better}", f"{group}: {worse}")
        for text, better, worse in claims
        for group in STREAM_NAMES.values()
    )


BASE_ROW, CR_ROW, BELL_ROW, FULL_ROW = "baseline", "CR-block", "Bell loss", "CR-block and Bell loss"

TABLE_4_ROWS = {
    "-": (BASE_ROW, with_plain_head("l1", "mse")),
    "CR": (CR_ROW, CR_ONLY),
    "Bell": (BELL_ROW, with_plain_head("l1", "mse", "bell")),
    "CR Bell": (FULL_ROW, unchanged),
}

table_4 = Table(
    "table4",
    "Table 4: CR-block and Bell loss",
    _by_stream(TABLE_4_ROWS, TABLE_4),
    _claims(
        "Sec. 5.2",
        ("CR-block beats the baseline", CR_ROW, BASE_ROW),
        ("Bell loss beats the baseline", BELL_ROW, BASE_ROW),
        ("Bell loss beats CR-block", BELL_ROW, CR_ROW),
    )
    + _claims(
        "Table 4",
        ("both beat CR-block alone", FULL_ROW, CR_ROW),
        ("both beat Bell loss alone", FULL_ROW, BELL_ROW),
    ),
    (
        "baseline: the backbone and one linear layer with the losses L1 and L2, no classes, no stage 1. Bell loss: the "
        "baseline with Bell as a third loss.",
    ),
)


def outside_bell(workspace: Workspace, rows: tuple[TableRow, ...]) -> tuple[str, ...]:
    """Return a note on the share of training scores beyond the reach of Bell, in the first and the last epoch."""
    shares = []
    for row in rows:
        if row.name != "Bell":
            continue
        folders = [workspace.folder(spec, seed) for spec in row.networks(workspace) for seed in workspace.seeds]
        logs = [read_log(folder) for folder in folders]
        if all(logs):
            first, last = (np.mean([log[epoch]["train"]["outside_bell"] for log in logs]) for epoch in (0, -1))
            shares.append(f"{row.group.lower()} {percent(first)} and {percent(last)}")
    if not shares:
        return ()
    return (
        "Training with Bell alone, share of scores beyond its reach (4 sigma) in the first and the last epoch: "
        f"{'; '.join(shares)}.",
    )


table_5 = Table(
    "table5",
    "Table 5: losses",
    _by_stream(
        {
            "L1": ("L1", with_plain_head("l1")),
            "L2": ("L2", with_plain_head("mse")),
            "L1+L2": ("L1 + L2", with_plain_head("l1", "mse")),
            "Bell": ("Bell", with_plain_head("bell")),
            "all": ("all three", with_plain_head("l1", "mse", "bell")),
        },
        TABLE_5,
    ),
    _claims(
        "Sec. 5.2",
        ("L2 beats L1", "L2", "L1"),
        ("L1 + L2 beats L1", "L1 + L2", "L1"),
        ("L1 + L2 beats L2", "L1 + L2", "L2"),
        ("Bell beats L1 + L2", "Bell", "L1 + L2"),
        ("all three beat Bell", "all three", "Bell"),
    ),
    (
        "All rows: the backbone and one linear layer, no CR-block, no classes.",
        "Predictions start at the training means. At 0, where the paper may have started, Bell has no gradient.",
    ),
    outside_bell,
)

table_6 = Table(
    "table6",
    "Table 6: classification and regression together",
    _by_stream(
        {
            "expectation": ("expectation", with_expectation_head),
            "expectation+reg": ("expectation + regression", with_regressed_expectation_head),
            "CR-block": ("CR-block", CR_ONLY),
        },
        TABLE_6,
    ),
    _claims(
        "Sec. 5.3",
        ("regression on the expectation beats the expectation", "expectation + regression", "expectation"),
        ("CR-block beats expectation + regression", "CR-block", "expectation + regression"),
        ("CR-block beats expectation", "CR-block", "expectation"),
    ),
    ("No row has the Bell loss. The centre of a class is the mean of its training scores, for each target.",),
)

table_7 = Table(
    "table7",
    "Table 7: number of classes",
    _by_stream({str(n): (f"{n} classes", with_model(classes=n)) for n in (4, 7, 10)}, TABLE_7),
    _claims(
        "Sec. 5.4", ("4 classes beat 7", "4 classes", "7 classes"), ("7 classes beat 10", "7 classes", "10 classes")
    ),
)


@dataclass(frozen=True)
class PrintedTable:
    """A table of the paper that we print without measuring anything."""

    name: str
    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def networks(self, workspace: Workspace) -> tuple[NetSpec, ...]:
        """Return no networks."""
        return ()

    def run(self, workspace: Workspace, folder: Path) -> Section:
        """Write the table."""
        table = RenderedTable(self.title, self.header, tuple(map(RenderedRow, self.rows)), text_columns=3)
        files = write_table(folder, self.name, table, csv_text(self.header, self.rows))
        return Section(self.title, table.to_markdown(), tuple(files))


table_2 = PrintedTable(
    "table2",
    "Table 2: components of the compared systems (as printed)",
    ("method", "modality", "network", "networks", "average"),
    TABLE_2,
)

TABLES: tuple[Experiment, ...] = (
    TablePerBackbone("table1", TABLE_1_TITLE, table_1),
    table_2,
    TablePerBackbone("table3", "Table 3: modalities", table_3),
    table_4,
    table_5,
    table_6,
    table_7,
)
