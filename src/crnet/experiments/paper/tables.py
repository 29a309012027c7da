"""Tables 1 to 7 of the paper. Which predictor, losses and head stand in which row: docs/paper.md."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crnet.experiments.config_overrides import (
    Change,
    both,
    expectation,
    expectation_and_regression,
    plain,
    unchanged,
    with_fusion,
    with_losses,
    with_model,
)
from crnet.experiments.net_spec import NetSpec, training_log
from crnet.experiments.paper.claims import Claim
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
    Printed,
)
from crnet.experiments.rendering.rendered_table import Grid, Line
from crnet.experiments.rendering.write_table import write_grid
from crnet.experiments.table import Row, Table, TablePerBackbone
from crnet.experiments.workspace import Experiment, Lab, Section
from crnet.types import STREAMS, Stream
from crnet.utils.files import write_text
from crnet.utils.number_format import percent

VISUAL: tuple[Stream, ...] = ("scene", "face")
STREAM_NAMES: dict[Stream, str] = {"face": "Face", "scene": "Scene", "audio-text": "Audio + text"}
"""In the order of the paper's tables."""

BACKBONES = {"r2d34": "2-D", "r3d34": "3-D"}
CR_ONLY = with_losses("l1", "mse", "guide")


def table_1(backbones: tuple[str, ...]) -> Table:
    """The whole system, for both readings of the fusion, beside the published ones."""
    rows: list[Row] = []
    claims: list[Claim] = []
    for backbone in backbones:
        for mode, joined in (("sum", "summed"), ("concat", "in a row")):
            group = f"{BACKBONES[backbone]}, features {joined}"
            change = both(with_model(backbone=backbone), with_fusion(mode=mode))
            rows.append(Row(group, "all", STREAMS, change, TABLE_1["Our"]))
            without = both(change, with_model(audio_text="audio"))
            rows.append(Row(group, "w/o text", STREAMS, without, TABLE_1["Our-w/o text"]))
            text = f"all beats w/o text ({group})"
            claims.append(Claim(text, "Table 1", rows[-2].key, rows[-1].key))
    published = (name for name in TABLE_1 if name not in TABLE_1_OWN)
    rows += [Row("published", name, printed=TABLE_1[name]) for name in published]
    return Table("table1", "Table 1: the whole system beside published ones", tuple(rows), tuple(claims), TABLE_1_NOTES)


def table_3(backbones: tuple[str, ...]) -> Table:
    """What each modality tells."""
    rows: list[Row] = []
    claims: list[Claim] = []
    for backbone in backbones:
        group, change = f"Video, {BACKBONES[backbone]}", with_model(backbone=backbone)
        rows += [
            Row(group, "face", ("face",), change, TABLE_3["face"]),
            Row(group, "scene", ("scene",), change, TABLE_3["scene"]),
            Row(group, "multi-focus", VISUAL, change, TABLE_3["multi-focus"]),
        ]
        face, scene, multi = (f"{group}: {name}" for name in ("face", "scene", "multi-focus"))
        kind = BACKBONES[backbone]
        claims += [
            Claim(f"multi-focus beats face ({kind})", "Sec. 5.1", multi, face),
            Claim(f"multi-focus beats scene ({kind})", "Sec. 5.1", multi, scene),
            Claim(f"scene beats face ({kind})", "Sec. 5.1", scene, face),
            Claim(
                f"face beats scene on extraversion and neuroticism ({kind})",
                "Sec. 5.1",
                face,
                scene,
                ("extraversion", "neuroticism"),
            ),
            Claim(f"video beats audio + text ({kind})", "Sec. 5.1", multi, "Audio-text: audio + text"),
        ]
    for name, heard in (("audio only", "audio"), ("text only", "text"), ("audio + text", "both")):
        printed = TABLE_3["audio+text" if heard == "both" else heard]
        rows.append(Row("Audio-text", name, ("audio-text",), with_model(audio_text=heard), printed))
    for backbone in backbones:
        kind = BACKBONES[backbone]
        row = Row(f"All, {kind}", "video + audio + text", STREAMS, with_model(backbone=backbone), TABLE_1["Our"])
        rows.append(row)
        claim = f"video + audio + text beat video alone ({kind})"
        claims.append(Claim(claim, "Sec. 5.1, Tables 1 and 3", row.key, f"Video, {kind}: multi-focus"))
    joined, audio, text = (f"Audio-text: {name}" for name in ("audio + text", "audio only", "text only"))
    claims += [
        Claim("audio + text beats audio alone", "Table 3", joined, audio),
        Claim("audio + text beats text alone", "Table 3", joined, text),
        Claim("audio beats text", "Table 3", audio, text),
    ]
    notes = ("Video + audio + text: not in the paper's Table 3; its numbers are those of Table 1.",)
    return Table("table3", "Table 3: modalities", tuple(rows), tuple(claims), notes)


def _by_stream(changes: dict[str, tuple[str, Change]], printed: Mapping[str, Printed]) -> tuple[Row, ...]:
    """The same rows for each stream; `changes` maps the key of the printed row to the row's name and change."""
    return tuple(
        Row(group, name, (stream,), change, printed[f"{stream} {key}"])
        for stream, group in STREAM_NAMES.items()
        for key, (name, change) in changes.items()
    )


def _claims(source: str, *claims: tuple[str, str, str]) -> tuple[Claim, ...]:
    """For each stream: text, name of the better row, name of the worse one."""
    return tuple(
        Claim(f"{text} ({group.lower()})", source, f"{group}: {better}", f"{group}: {worse}")
        for text, better, worse in claims
        for group in STREAM_NAMES.values()
    )


BASE_ROW, CR_ROW, BELL_ROW, FULL_ROW = "neither", "CR-block", "Bell loss", "CR-block and Bell loss"

TABLE_4_ROWS = {
    "-": (BASE_ROW, plain("l1", "mse")),
    "CR": (CR_ROW, CR_ONLY),
    "Bell": (BELL_ROW, plain("l1", "mse", "bell")),
    "CR Bell": (FULL_ROW, unchanged),
}

table_4 = Table(
    "table4",
    "Table 4: CR-block and Bell loss",
    _by_stream(TABLE_4_ROWS, TABLE_4),
    _claims(
        "Sec. 5.2",
        ("CR-block beats neither", CR_ROW, BASE_ROW),
        ("Bell loss beats neither", BELL_ROW, BASE_ROW),
        ("Bell loss beats CR-block", BELL_ROW, CR_ROW),
    )
    + _claims(
        "Table 4",
        ("both beat CR-block alone", FULL_ROW, CR_ROW),
        ("both beat Bell loss alone", FULL_ROW, BELL_ROW),
    ),
    ("Without CR-block: the backbone and one linear layer, L1 and L2, no classes and no first stage.",),
)


def outside_bell(lab: Lab, rows: tuple[Row, ...]) -> tuple[str, ...]:
    """What share of the training scores Bell alone did not pull at, in the first and in the last epoch."""
    shares = []
    for row in rows:
        if row.name != "Bell":
            continue
        logs = [training_log(lab.folder(spec, seed)) for spec in row.nets(lab) for seed in lab.seeds]
        if all(logs):
            first, last = (np.mean([log[place]["train"]["outside_bell"] for log in logs]) for place in (0, -1))
            shares.append(f"{row.group.lower()} {percent(first)} and {percent(last)}")
    if not shares:
        return ()
    return (
        f"Scores beyond the Bell's reach (4 sigma) in the first and last epoch of Bell alone: {'; '.join(shares)}.",
    )


table_5 = Table(
    "table5",
    "Table 5: losses",
    _by_stream(
        {
            "L1": ("L1", plain("l1")),
            "L2": ("L2", plain("mse")),
            "L1+L2": ("L1 + L2", plain("l1", "mse")),
            "Bell": ("Bell", plain("bell")),
            "all": ("all three", plain("l1", "mse", "bell")),
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
        "Every score starts at its training mean. At 0, where the paper may have started, Bell has no gradient.",
    ),
    outside_bell,
)

table_6 = Table(
    "table6",
    "Table 6: classification and regression together",
    _by_stream(
        {
            "expectation": ("expectation", expectation),
            "expectation+reg": ("expectation + regression", expectation_and_regression),
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
    ("No row has the Bell loss. A class's centre is the training mean of its scores, for each target apart.",),
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
class Constants:
    """A table of printed words and numbers, without anything measured."""

    name: str
    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def nets(self, lab: Lab) -> tuple[NetSpec, ...]:
        """None."""
        return ()

    def run(self, lab: Lab, folder: Path) -> Section:
        """Write it down."""
        grid = Grid(self.title, self.header, tuple(Line(cells) for cells in self.lines), words=3)
        files = write_grid(folder, self.name, grid)
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.lines])
        write_text(folder / f"{self.name}.csv", text.getvalue())
        return Section(self.title, grid.to_markdown(), (*files, folder / f"{self.name}.csv"))


table_2 = Constants(
    "table2",
    "Table 2: what the compared methods are made of (as printed)",
    ("method", "modality", "network", "networks", "average"),
    TABLE_2,
)

TABLES: tuple[Experiment, ...] = (
    TablePerBackbone("table1", "Table 1: the whole system beside published ones", table_1),
    table_2,
    TablePerBackbone("table3", "Table 3: modalities", table_3),
    table_4,
    table_5,
    table_6,
    table_7,
)
