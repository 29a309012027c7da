"""Networks are named by what decides them, and by nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.config import Config, with_seed
from crnet.data.manifest import ClipRow, Manifest
from crnet.errors import ConfigError
from crnet.experiments.config_overrides import both, expectation, plain, with_fusion, with_losses, with_model
from crnet.experiments.net_spec import NetSpec, digest_of
from crnet.experiments.paper.extremes import extremes
from crnet.experiments.paper.open_choices import readings
from crnet.experiments.paper.tables import TABLES
from crnet.experiments.plan import plan
from crnet.experiments.workspace import Lab
from crnet.types import Stream

ROWS = tuple(ClipRow(f"c{i:02d}", f"c{i:02d}.st", "train", (0.5,) * 6) for i in range(10))
TEST_ROW = ClipRow("t", "t.st", "test", (0.4,) * 6)
MANIFEST = Manifest((*ROWS, TEST_ROW), "folder", {}, "f", "e")
BASE = Config()


def key(stream: Stream, config: Config, seed: int = 0, manifest: Manifest = MANIFEST) -> str:
    return NetSpec(stream, config).key(seed, digest_of(manifest))


def training(**fields: Any) -> Config:
    return replace(BASE, training=replace(BASE.training, **fields))


@pytest.mark.parametrize(
    ("stream", "other"),
    [
        ("face", with_fusion(mode="concat")(BASE)),
        ("face", with_model(audio_text="audio")(BASE)),
        ("face", replace(BASE, streams=("face",))),
        ("face", with_seed(BASE, 7)),
        ("face", training(device="cpu", threads=3, workers=0)),
        ("audio-text", with_model(backbone="r3d34")(BASE)),
        ("audio-text", with_model(temporal="conv1x1", init=Path("w.safetensors"))(BASE)),
    ],
)
def test_what_has_no_influence_on_a_stream_changes_nothing(stream: Stream, other: Config) -> None:
    assert key(stream, other) == key(stream, BASE)


def test_a_plain_head_knows_no_classes() -> None:
    assert key("face", both(with_model(classes=7), plain("l1"))(BASE)) == key("face", plain("l1")(BASE))


@pytest.mark.parametrize(
    "other",
    [
        with_model(backbone="r3d34")(BASE),
        with_model(classes=7)(BASE),
        with_losses("l1", "guide")(BASE),
        expectation(BASE),
        plain("l1", "mse", "bell")(BASE),
        training(freeze_batchnorm=True),
        replace(BASE, transforms=replace(BASE.transforms, pixels=56)),
    ],
)
def test_what_decides_the_weights_decides_the_name(other: Config) -> None:
    assert key("face", other) != key("face", BASE)


@pytest.mark.parametrize(
    "changed", [{"transcript": "other words"}, {"duration_s": 9.0}, {"frames": 31}, {"faces_found": 3}]
)
def test_a_clip_prepared_anew_with_another_content_decides_the_name(changed: dict[str, Any]) -> None:
    anew = replace(MANIFEST, clips=(replace(ROWS[0], **changed), *ROWS[1:], TEST_ROW))
    assert key("face", BASE, manifest=anew) != key("face", BASE)


def test_seed_stream_and_labels_decide_the_name() -> None:
    relabelled = replace(MANIFEST, clips=(replace(ROWS[0], scores=(0.6,) * 6), *MANIFEST.clips[1:]))
    names = {key("face", BASE), key("scene", BASE), key("face", BASE, seed=1), key("face", BASE, manifest=relabelled)}
    assert len(names) == 4
    assert NetSpec("face", BASE, 5).key(0, "d") != NetSpec("face", BASE).key(0, "d")


@given(st.integers(1, 10), st.integers(1, 10))
def test_training_subsets_are_nested_and_leave_other_splits_alone(few: int, more: int) -> None:
    few, more = sorted((few, more))
    small, large = (NetSpec("face", BASE, n) for n in (few, more))
    chosen = [{row.clip_id for row in spec.training_rows(MANIFEST)} for spec in (small, large)]
    assert [len(ids) for ids in chosen] == [few, more]
    assert chosen[0] <= chosen[1]
    assert small.manifest(MANIFEST).rows("test") == (TEST_ROW,)
    assert {row.clip_id for row in small.manifest(MANIFEST).rows("train")} == chosen[0]


@pytest.mark.parametrize("count", [0, -1])
def test_no_training_clips_make_no_network(count: int) -> None:
    with pytest.raises(ConfigError):
        NetSpec("face", BASE, count)


def test_more_training_clips_than_there_are_are_refused() -> None:
    with pytest.raises(ConfigError, match="the store has 10"):
        NetSpec("face", BASE, 11).training_rows(MANIFEST)


def test_the_tables_need_39_networks_a_seed(lab: Lab) -> None:
    """docs/reproduce.md counts them; Table 4's 12, 5's 9 more, 6's 6, 7's 6, sound, words, and 4 for the frames."""
    planned = plan(lab, (*TABLES, readings, extremes))
    assert len(planned) == 39
    assert len({net.folder for net in planned}) == 39
    two = replace(lab, seeds=(0, 1), backbones=("r2d34",))
    assert len(plan(two, TABLES)) == 2 * 35
    counts = [len(plan(lab, TABLES[:n])) for n in range(1, 8)]
    assert counts == [6, 6, 7, 16, 25, 31, 37]


def test_a_network_lists_who_needs_it(lab: Lab) -> None:
    planned = plan(lab, TABLES)
    face = next(net for net in planned if net.spec == lab.standard("face"))
    assert face.needed_by == ("table1", "table3", "table4", "table7")
    assert face.spec.summary == "face, cr-block, l1+mse+bell+guide, r2d34, 4 classes"
