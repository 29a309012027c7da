"""Fingerprints of networks: they cover everything that decides the weights, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnet.config import PRESETS, Config, Preset, with_seed
from crnet.data.manifest import ClipRow, Manifest
from crnet.errors import ConfigError
from crnet.experiments.config_overrides import (
    chain,
    with_expectation_head,
    with_fusion,
    with_losses,
    with_model,
    with_plain_head,
)
from crnet.experiments.net_spec import NetSpec, data_fingerprint
from crnet.experiments.paper.extremes import extremes
from crnet.experiments.paper.open_choices import open_choices
from crnet.experiments.paper.tables import TABLES
from crnet.experiments.plan import plan
from crnet.experiments.workspace import Workspace
from crnet.types import Stream

ROWS = tuple(ClipRow(f"c{i:02d}", f"c{i:02d}.st", "train", (0.5,) * 6) for i in range(10))
TEST_ROW = ClipRow("t", "t.st", "test", (0.4,) * 6)
MANIFEST = Manifest((*ROWS, TEST_ROW), "folder", {}, "f", "e")
BASE = Config()


def fingerprint(stream: Stream, config: Config, seed: int = 0, manifest: Manifest = MANIFEST) -> str:
    return NetSpec(stream, config).fingerprint(seed, data_fingerprint(manifest))


def training(**fields: Any) -> Config:
    return replace(BASE, training=replace(BASE.training, **fields))


def stage(place: int, **fields: Any) -> Config:
    stages = list(BASE.training.stages)
    stages[place] = replace(stages[place], **fields)
    return training(stages=tuple(stages))


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
        ("audio-text", with_model(pixel_mean=(0.5, 0.5, 0.5))(BASE)),
        ("audio-text", replace(BASE, transforms=replace(BASE.transforms, pixels=56, flip=True, shift=0.1))),
        ("face", stage(1, momentum=0.5)),  # of SGD, but stage 2 uses Adam
        ("face", stage(0, betas=(0.9, 0.999))),
    ],
)
def test_settings_without_influence_on_a_stream_keep_the_fingerprint(stream: Stream, other: Config) -> None:
    assert fingerprint(stream, other) == fingerprint(stream, BASE)


def test_the_number_of_classes_does_not_matter_to_a_plain_head() -> None:
    assert fingerprint("face", chain(with_model(classes=7), with_plain_head("l1"))(BASE)) == fingerprint(
        "face", with_plain_head("l1")(BASE)
    )


def test_a_skipped_stage_does_not_matter() -> None:
    plain = with_plain_head("l1", "mse")
    for other in (stage(0, lr=0.1), stage(0, terms=("l1", "classification")), stage(0, epochs=3)):
        assert fingerprint("face", plain(other)) == fingerprint("face", plain(BASE))
        assert fingerprint("face", other) != fingerprint("face", BASE)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_plain_network_of_an_older_results_folder_keeps_its_fingerprint(preset: Preset) -> None:
    """Older folders recorded the skipped stage of the preset as it was."""
    config = with_plain_head("l1")(PRESETS[preset])
    assert NetSpec("face", config).config.training == replace(config.training, seed=0)


@pytest.mark.parametrize(
    "other",
    [
        with_model(backbone="r3d34")(BASE),
        with_model(classes=7)(BASE),
        with_losses("l1", "classification")(BASE),
        with_expectation_head(BASE),
        with_plain_head("l1", "mse", "bell")(BASE),
        training(freeze_batchnorm=True),
        stage(0, momentum=0.5),
        stage(1, betas=(0.9, 0.999)),
        replace(BASE, transforms=replace(BASE.transforms, pixels=56)),
    ],
)
def test_settings_that_decide_the_weights_change_the_fingerprint(other: Config) -> None:
    assert fingerprint("face", other) != fingerprint("face", BASE)


@pytest.mark.parametrize(
    "changed", [{"transcript": "other words"}, {"duration_s": 9.0}, {"frames": 31}, {"faces_found": 3}]
)
def test_a_clip_prepared_again_with_other_content_changes_the_fingerprint(changed: dict[str, Any]) -> None:
    manifest = replace(MANIFEST, clips=(replace(ROWS[0], **changed), *ROWS[1:], TEST_ROW))
    assert fingerprint("face", BASE, manifest=manifest) != fingerprint("face", BASE)


def test_seed_stream_and_labels_change_the_fingerprint() -> None:
    relabelled = replace(MANIFEST, clips=(replace(ROWS[0], scores=(0.6,) * 6), *MANIFEST.clips[1:]))
    fingerprints = {
        fingerprint("face", BASE),
        fingerprint("scene", BASE),
        fingerprint("face", BASE, seed=1),
        fingerprint("face", BASE, manifest=relabelled),
    }
    assert len(fingerprints) == 4
    assert NetSpec("face", BASE, 5).fingerprint(0, "d") != NetSpec("face", BASE).fingerprint(0, "d")


@given(st.integers(1, 10), st.integers(1, 10))
def test_training_subsets_are_nested_and_keep_the_other_splits(few: int, more: int) -> None:
    few, more = sorted((few, more))
    small, large = (NetSpec("face", BASE, n) for n in (few, more))
    subsets = [{row.clip_id for row in spec.training_rows(MANIFEST)} for spec in (small, large)]
    assert [len(ids) for ids in subsets] == [few, more]
    assert subsets[0] <= subsets[1]
    assert small.manifest(MANIFEST).rows("test") == (TEST_ROW,)
    assert {row.clip_id for row in small.manifest(MANIFEST).rows("train")} == subsets[0]


@pytest.mark.parametrize("count", [0, -1])
def test_a_network_needs_training_clips(count: int) -> None:
    with pytest.raises(ConfigError):
        NetSpec("face", BASE, count)


def test_more_training_clips_than_the_store_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="the store has 10"):
        NetSpec("face", BASE, 11).training_rows(MANIFEST)


def test_the_tables_need_39_networks_per_seed(workspace: Workspace) -> None:
    """The count in docs/reproduce.md: 12 in Table 4, 9 more in 5, 6 in 6, 6 in 7, sound, words, 4 for the frames."""
    planned = plan(workspace, (*TABLES, open_choices, extremes))
    assert len(planned) == 39
    assert len({net.folder for net in planned}) == 39
    two = replace(workspace, seeds=(0, 1), backbones=("r2d34",))
    assert len(plan(two, TABLES)) == 2 * 35
    counts = [len(plan(workspace, TABLES[:n])) for n in range(1, 8)]
    assert counts == [6, 6, 7, 16, 25, 31, 37]


def test_a_planned_network_lists_the_experiments_that_need_it(workspace: Workspace) -> None:
    planned = plan(workspace, TABLES)
    face = next(net for net in planned if net.spec == workspace.standard_net("face"))
    assert face.needed_by == ("table1", "table3", "table4", "table7")
    assert face.spec.summary == "face, cr-block, l1+mse+bell+classification, r2d34, 4 classes"
