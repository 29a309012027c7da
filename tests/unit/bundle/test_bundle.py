"""A trained system on disk: loading restores what was saved, and refuses damaged and foreign files."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save
from safetensors.torch import save as weights_to_bytes

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import load_bundle, open_bundle, read_training_config
from crnet.bundle.save import save_bundle
from crnet.bundle.stored_networks import graphs
from crnet.bundle.verify import document_sha256
from crnet.data.dataset import ClipDataset, load_batches
from crnet.data.manifest import read_manifest
from crnet.errors import FormatError
from crnet.fusion.stack import Stack
from crnet.models.crnet import StreamNet
from crnet.models.load_net import load_net
from crnet.predict import Predictor
from crnet.types import Stream
from crnet.utils.files import read_json, sha256, write_bytes, write_json
from random_net import random_net


@pytest.fixture
def saved(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, tmp_path / "run" / "bundle")
    return tmp_path / "run" / "bundle"


def test_a_loaded_system_gives_the_same_scores(bundle: Bundle, saved: Path, store: Path) -> None:
    loaded = load_bundle(saved)
    rows = read_manifest(store).rows("test")[:3]
    batch = next(iter(load_batches(ClipDataset(store, rows, bundle.config.transforms, bundle.config.streams), 3)))
    before, after = Predictor(bundle).predict_batch(batch), Predictor(loaded).predict_batch(batch)
    np.testing.assert_array_equal(before[0], after[0])
    for stream, scores in before[1].items():
        np.testing.assert_array_equal(scores, after[1][stream])
    assert loaded.config == bundle.config
    assert (loaded.encoder, loaded.training_source, loaded.media) == (bundle.encoder, "simulated", bundle.media)
    np.testing.assert_array_equal(loaded.train_medians, bundle.train_medians)


def test_a_system_from_a_relative_path_works_from_another_working_directory(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent)
    loaded = open_bundle(saved.name)
    monkeypatch.chdir(tmp_path)  # as the service does for every video, before the networks are read
    loaded.networks["scene"]
    assert graphs(loaded.networks, loaded.config)["face"]().get_parameters()


def test_loading_uses_no_random_numbers(saved: Path) -> None:
    before = torch.get_rng_state()
    load_bundle(saved)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "plain"},
        {"head": "expectation"},
        {"temporal": "conv1x1"},
        {"backbone": "r3d34"},
        {"audio_text": "text"},
    ],
)
@pytest.mark.parametrize("stream", ["scene", "audio-text"])
def test_a_loaded_network_has_the_tensors_of_the_saved_one(
    bundle: Bundle, tmp_path: Path, stream: Stream, changes: dict[str, str]
) -> None:
    config = replace(bundle.config.model, **changes)
    saved_net = random_net(stream, config, seed=3)
    write_bytes(tmp_path / f"{stream}.safetensors", weights_to_bytes(saved_net.state_dict()))
    net = load_net(stream, config, tmp_path / f"{stream}.safetensors")
    assert not net.training
    for tensors in (StreamNet.named_parameters, StreamNet.named_buffers):
        expected, loaded = dict(tensors(saved_net)), dict(tensors(net))
        assert set(loaded) == set(expected)
        for name, tensor in loaded.items():
            assert torch.equal(tensor, expected[name]) and tensor.requires_grad == expected[name].requires_grad


def test_a_run_folder_is_as_good_as_its_bundle(saved: Path) -> None:
    assert load_bundle(saved.parent).path == saved


def test_paths_may_be_strings(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, str(tmp_path / "run" / "bundle"))
    assert load_bundle(str(tmp_path / "run")).path == tmp_path / "run" / "bundle"
    assert read_training_config(str(tmp_path / "run")) == (bundle.config, bundle.protocol)


def test_saving_twice_gives_the_same_bytes(bundle: Bundle, saved: Path, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "again")
    for path in saved.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_half_written_bundle_is_refused(bundle: Bundle, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crnet.bundle.save.sha256", fail)
    with pytest.raises(KeyboardInterrupt):
        save_bundle(bundle, saved)
    with pytest.raises(FormatError, match="no trained system"):
        load_bundle(saved)


def test_loading_does_not_need_the_initial_weights_of_training(bundle: Bundle, tmp_path: Path) -> None:
    config = replace(bundle.config, model=replace(bundle.config.model, init=Path("gone.safetensors")))
    save_bundle(replace(bundle, config=config), tmp_path / "b")
    assert load_bundle(tmp_path / "b").config.model.init == Path("gone.safetensors")


FILES = ("scene", "face", "audio-text", "fusion", "trees")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / f"{name}.safetensors").unlink()
    with pytest.raises(FormatError, match=f"{name}.safetensors.*missing"):
        load_bundle(saved)


@pytest.mark.parametrize("name", FILES)
def test_a_file_with_one_flipped_bit_is_named(saved: Path, name: str) -> None:
    path = saved / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(FormatError, match=f"{name}.safetensors.*damaged"):
        load_bundle(saved)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", [f"{name}.safetensors" for name in FILES] + ["bundle.json"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_special_file_is_refused_and_not_opened(saved: Path, name: str, kind: str) -> None:
    (saved / name).unlink()
    if kind == "pipe":
        os.mkfifo(saved / name)
    else:
        (saved / name).symlink_to("/dev/zero")
    reason = "no trained system here" if name == "bundle.json" else f"{name}.*missing"
    with pytest.raises(FormatError, match=reason):
        load_bundle(saved)


def _rename_targets(document: dict[str, object]) -> None:
    document["targets"] = ["a"] * 6


EDITS: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "another format": (lambda d: d.update(format=2), "format 2"),
    "another program": (lambda d: d.update(kind="other"), "not a bundle"),
    "other targets": (_rename_targets, "targets"),
    "no configuration": (lambda d: d.pop("config"), "'config'"),
    "unknown source": (lambda d: d.update(training_source="dreams"), "dreams"),
    "unknown field": (lambda d: d["config"].update(colour="red"), "colour"),  # type: ignore[attr-defined]
    "medians that are not scores": (lambda d: d.update(train_medians=[2.0] * 6), "medians"),
    "a billion blocks": (lambda d: d["config"]["model"].update(blocks=[1e9] * 4), "blocks"),  # type: ignore[index]
    "huge frames": (lambda d: d["config"]["transforms"].update(pixels=10**6), "pixels"),  # type: ignore[index]
    "huge sound": (lambda d: d["config"]["transforms"].update(audio_samples=10**12), "audio_samples"),  # type: ignore[index]
    "too many pixels in all": (lambda d: d["config"]["transforms"].update(pixels=1024, frames=32), "pixels"),  # type: ignore[index]
    "a billion trees": (lambda d: d["config"]["fusion"].update(trees=10**9), "trees"),  # type: ignore[index]
    "a file outside": (lambda d: d["config"].update(streams=["../../etc"]), "streams"),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("edit", EDITS)
def test_a_foreign_description_is_refused_by_name(saved: Path, edit: str) -> None:
    change, reason = EDITS[edit]
    document = json.loads((saved / "bundle.json").read_text())
    change(document)
    write_json(saved / "bundle.json", {**document, "sha256": document_sha256(document)})
    with pytest.raises(FormatError, match=f"bundle.json.*{reason}"):
        load_bundle(saved)


@pytest.mark.parametrize(
    ("before", "after"),
    [('"scene": 7.0', '"scene": 5.0'), ('"training_source": "simulated"', '"training_source": "folder"')],
)
def test_an_edited_description_is_refused(saved: Path, before: str, after: str) -> None:
    text = (saved / "bundle.json").read_text()
    assert before in text
    (saved / "bundle.json").write_text(text.replace(before, after))
    with pytest.raises(FormatError, match=r"bundle\.json.*damaged"):
        load_bundle(saved)


def test_the_training_fingerprint_is_read_under_its_former_name(bundle: Bundle, saved: Path) -> None:
    save_bundle(replace(bundle, training_fingerprint="abc"), saved)
    document = read_json(saved / "bundle.json", "a bundle")
    document["training_digest"] = document.pop("training_fingerprint")
    write_json(saved / "bundle.json", {**document, "sha256": document_sha256(document)})
    assert load_bundle(saved).training_fingerprint == "abc"


def test_the_fusion_of_an_old_bundle_predicts_as_before(bundle: Bundle, saved: Path) -> None:
    """Bundles of version 0.1 do not name the clips that the fusion was fitted on: the training clips."""
    document = read_json(saved / "bundle.json", "a bundle")
    assert document["config"]["fusion"].pop("fit_on") == "training"
    write_json(saved / "bundle.json", {**document, "sha256": document_sha256(document)})
    loaded = load_bundle(saved)
    assert loaded.config == bundle.config
    features = {s: np.random.default_rng(0).normal(size=(4, *m.shape)) for s, m in bundle.fusion.mean.items()}
    assert bundle.fusion.forest is not None
    expected = bundle.fusion.forest.predict(bundle.fusion.fuse(features))
    np.testing.assert_array_equal(loaded.fusion.predict(features, {}), expected)


def test_a_bundle_whose_fusion_has_no_trees(bundle: Bundle, tmp_path: Path) -> None:
    config = replace(bundle.config, fusion=replace(bundle.config.fusion, fit_on="held-out"))
    stack = Stack(bundle.train_medians, {"scene": 0.5, "face": 0.25, "audio-text": 0.0})
    fusion = replace(bundle.fusion, config=config.fusion, forest=None, stack=stack)
    save_bundle(replace(bundle, config=config, fusion=fusion), tmp_path / "b")
    loaded = load_bundle(tmp_path / "b").fusion
    assert loaded.forest is None and loaded.summary == ".50 scene + .25 face + .25 floor"
    assert (tmp_path / "b" / "trees.safetensors").stat().st_size < 100


def test_weights_of_another_network_are_refused_even_with_the_right_hash(saved: Path) -> None:
    path = saved / "scene.safetensors"
    write_bytes(path, save({"conv1.weight": np.zeros(3, np.float32)}))
    document = read_json(saved / "bundle.json", "a bundle")
    document["files"][path.name] = sha256(path)
    write_json(saved / "bundle.json", {**document, "sha256": document_sha256(document)})
    with pytest.raises(FormatError, match=r"scene.safetensors.*do not fit"):
        load_bundle(saved)


@pytest.mark.parametrize("content", ["", "[]", "{", '"text"'])
def test_a_file_that_is_not_a_bundle_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "bundle.json").write_text(content)
    with pytest.raises(FormatError, match=r"bundle\.json"):
        load_bundle(tmp_path)
