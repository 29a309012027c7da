"""A complete small training: interrupted, resumed, refused, skipped."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crnet.config import PRESETS
from crnet.data.dataset import ClipDataset, load_batches, stack_scores
from crnet.data.manifest import read_manifest, write_manifest
from crnet.errors import ConfigError, FormatError, LabelError
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.inference import extract
from crnet.models.losses import LOSSES, Loss, LossName
from crnet.train import train_system
from crnet.training import loop, text
from crnet.training.checkpoint import load_net, read_about, read_state, save_weights
from crnet.training.config import StageConfig
from crnet.training.stream import TrainingJob, train_stream
from crnet.types import TARGETS
from crnet.utils.device import BFLOAT16_FLAGS, choose_device
from synthetic import write_store
from tiny_training import TINY_MODEL, TINY_TRANSFORMS, tiny_training, train_tiny

FILES = ("last.safetensors", "best.safetensors", "log.jsonl")


class Killed(BaseException):
    """Simulates a kill: no handler catches it."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store"), clips=20, pixels=24, duration_s=0.25)


@pytest.fixture(scope="module")
def finished(store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("run")
    train_tiny(store, run)
    return run


def log_rows(run: Path, stream: str = "scene") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / stream / "log.jsonl").read_text().splitlines()]


def without_times(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("samples_per_s", "waiting_share", "seconds")} for row in rows]


def assert_same_run(a: Path, b: Path) -> None:
    """Compare weights, optimizer and metrics bit for bit."""
    for name in ("last.safetensors", "best.safetensors"):
        left, right = load_file(a / "scene" / name), load_file(b / "scene" / name)
        assert left.keys() == right.keys()
        for key, tensor in left.items():
            assert tensor.numpy().tobytes() == right[key].numpy().tobytes(), (name, key)
    assert without_times(log_rows(a)) == without_times(log_rows(b))
    assert read_about(a / "scene" / "best.safetensors") == read_about(b / "scene" / "best.safetensors")


def test_the_log_holds_every_epoch_once(finished: Path) -> None:
    rows = log_rows(finished)
    assert [(row["stage"], row["epoch"], row["epochs"]) for row in rows] == [
        (1, 1, 2),
        (1, 2, 2),
        (2, 1, 3),
        (2, 2, 3),
        (2, 3, 3),
    ]
    assert [row["lambda"] for row in rows] == [1, 1, 12, 6, 4]  # stage 2: 4 * 3 / (E + 1)
    assert [row["lr"] for row in rows] == pytest.approx([0.002, 0.002, 0.002, 0.002, 0.0002])
    for row in rows:
        for split in ("train", "val"):
            part = row[split]
            expected = part["classification"]
            if row["stage"] == 2:
                expected = part["l1"] + part["mse"] + part["bell"] + row["lambda"] * part["classification"]
            assert part["total"] == pytest.approx(expected, rel=1e-5)
            # L1 is the mean absolute error of all six targets, times 100: this computes it independently.
            mean_accuracy = np.mean([part["accuracy"][target] for target in TARGETS])
            assert part["l1"] == pytest.approx(100 * (1 - mean_accuracy), rel=1e-5)
        assert row["samples_per_s"] > 0 and 0 <= row["waiting_share"] <= 1 and row["seconds"] > 0


def test_the_best_network_has_the_best_validation_score_of_the_last_stage(finished: Path, store: Path) -> None:
    rows = [row for row in log_rows(finished) if row["stage"] == 2]
    scores = [row["val"]["accuracy"]["average"] for row in rows]
    about = read_about(finished / "scene" / "best.safetensors")
    assert about == {"stream": "scene", "stage": 2, "epoch": int(np.argmax(scores)) + 1, "score": max(scores)}
    assert not any(row["best"] for row in log_rows(finished) if row["stage"] == 1)
    # The saved network reproduces that score.
    clips = read_manifest(store).rows("val")
    net = load_net(finished / "scene" / "best.safetensors", "scene", TINY_MODEL)
    features, predicted = extract(net, load_batches(ClipDataset(store, clips, TINY_TRANSFORMS, ["scene"]), 3))
    accuracy = 1 - np.abs(predicted - stack_scores(clips)).mean(0)
    assert accuracy[:5].mean() == pytest.approx(max(scores), abs=1e-6)
    assert features.shape == (len(clips), 6, 64) and features.dtype == predicted.dtype == np.float32


def test_every_epoch_of_both_stages_draws_other_frames(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(ClipDataset, "set_epoch", lambda self, epoch: epochs.append(epoch))
    train_tiny(store, tmp_path)
    assert epochs == [0, 1, 2, 3, 4]


def test_classification_alone_does_not_change_the_regression(store: Path, tmp_path: Path) -> None:
    train_tiny(store, tmp_path, epochs=(1, 0))
    weights = load_file(tmp_path / "scene" / "best.safetensors")
    initial = StreamNet("scene", TINY_MODEL, seed=0).state_dict()
    means = stack_scores(read_manifest(store).rows("train")).mean(0)
    assert torch.equal(weights["head.score_weight"], initial["head.score_weight"])
    assert weights["head.score_bias"].numpy() == pytest.approx(means, abs=1e-7)
    assert not torch.equal(weights["head.class_weight"], initial["head.class_weight"])
    assert (
        read_about(tmp_path / "scene" / "best.safetensors")["score"] == -log_rows(tmp_path)[0]["val"]["classification"]
    )


def huber_loss(prediction: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.huber_loss(100 * prediction, 100 * target, delta=1e9)


def test_a_loss_added_to_the_table_is_trained_and_logged(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LOSSES, "huber", Loss(huber_loss))  # type: ignore[misc]
    terms: tuple[LossName, ...] = ("l1", "huber")  # type: ignore[assignment]
    first, second = tiny_training(epochs=(1, 1)).stages
    training = replace(tiny_training(), stages=(first, replace(second, terms=terms)))
    train_stream("scene", TrainingJob(store, read_manifest(store), tmp_path, TINY_MODEL, TINY_TRANSFORMS, training))
    stage_1, stage_2 = log_rows(tmp_path)
    for split in ("train", "val"):
        assert stage_1[split]["total"] == pytest.approx(stage_1[split]["classification"])
        losses = stage_2[split]
        # Below its delta, Huber's loss is half the squared error.
        assert losses["huber"] == pytest.approx(losses["mse"] / 2, rel=1e-5)
        assert losses["total"] == pytest.approx(losses["l1"] + losses["huber"], rel=1e-5)


def test_the_seed_determines_the_run(store: Path, finished: Path, tmp_path: Path) -> None:
    train_tiny(store, tmp_path / "again", workers=1)
    assert_same_run(finished, tmp_path / "again")
    train_tiny(store, tmp_path / "other", seed=1)
    assert log_rows(tmp_path / "other")[-1]["train"] != log_rows(finished)[-1]["train"]


def boundaries(epochs: int) -> list[tuple[str, int, str]]:
    calls = [("save_weights", 1), *(("save_state", n) for n in range(1, epochs + 1))]
    calls += [("train_epoch", n) for n in range(1, epochs + 1)]
    return [(name, n, moment) for name, n in calls for moment in ("before", "after")]


@pytest.mark.parametrize(("name", "call", "moment"), boundaries(5))
def test_a_run_interrupted_anywhere_ends_like_an_uninterrupted_one(
    store: Path,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    call: int,
    moment: str,
) -> None:
    real: Callable[..., Any] = getattr(loop, name)
    calls = 0

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and moment == "before":
            raise Killed
        result = real(*args, **kwargs)
        if calls == call and moment == "after":
            raise Killed
        return result

    with monkeypatch.context() as patched:
        patched.setattr(loop, name, interrupted)
        with pytest.raises(Killed):
            train_tiny(store, tmp_path)
    train_tiny(store, tmp_path)
    assert_same_run(finished, tmp_path)


def test_a_run_interrupted_repeatedly_in_mid_epoch_still_ends(store: Path, finished: Path, tmp_path: Path) -> None:
    steps_before_kill = 3  # an epoch has two steps
    attempts = 0

    def kill_after(task: str, done: int, total: int, note: str = "") -> None:
        nonlocal steps
        steps += 1
        if steps == steps_before_kill:
            raise Killed

    while True:
        attempts += 1
        steps = 0
        try:
            train_tiny(store, tmp_path, progress=kill_after)
            break
        except Killed:
            assert attempts < 20
    assert attempts > 3
    assert_same_run(finished, tmp_path)


def test_partial_files_are_deleted_and_a_torn_log_is_repaired(store: Path, finished: Path, tmp_path: Path) -> None:
    def kill(task: str, done: int, total: int, note: str = "") -> None:
        if "stage 2" in task:
            raise Killed

    with pytest.raises(Killed):
        train_tiny(store, tmp_path, progress=kill)
    (tmp_path / "scene" / ".tmp-abc.safetensors").write_bytes(b"half")
    with (tmp_path / "scene" / "log.jsonl").open("a") as log:
        log.write('{"stage": 2, "epoch": 1}\n{"sta')
    train_tiny(store, tmp_path)
    assert_same_run(finished, tmp_path)
    assert not list((tmp_path / "scene").glob(".tmp-*"))


def test_a_finished_stream_is_not_trained_again(store: Path, finished: Path) -> None:
    before = {name: (finished / "scene" / name).stat().st_mtime_ns for name in FILES}

    def never(task: str, done: int, total: int, note: str = "") -> None:
        raise AssertionError("training had already finished")

    assert train_tiny(store, finished, progress=never) == finished / "scene" / "best.safetensors"
    assert {name: (finished / "scene" / name).stat().st_mtime_ns for name in FILES} == before


def test_settings_without_influence_may_change(store: Path, finished: Path) -> None:
    train_tiny(store, finished, workers=2, device="auto", tensorboard=True)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 3}, r"training\.seed was 0 and is now 3"),
        ({"batch_size": 4}, r"training\.stages\.0\.batch_size was 6 and is now 4"),
        ({"epochs": (2, 4)}, r"training\.stages\.1\.epochs was 3 and is now 4"),
        ({"model": replace(TINY_MODEL, width=16)}, r"model\.width was 8 and is now 16"),
        ({"transforms": replace(TINY_TRANSFORMS, pixels=20)}, r"transforms\.pixels was 24 and is now 20"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value.split(" ")[0],
)
def test_another_configuration_is_refused_and_the_field_is_named(
    store: Path, finished: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        train_tiny(store, finished, **changes)
    assert caught.value.path == finished / "scene" / "config.json" and caught.value.remedy


def test_other_labels_are_refused(store: Path, finished: Path) -> None:
    manifest = read_manifest(store)
    first = replace(manifest.clips[0], scores=(0.5,) * 6)
    other = replace(manifest, clips=(first, *manifest.clips[1:]))
    with pytest.raises(ConfigError, match=r"data\.labels_sha256"):
        train_stream("scene", TrainingJob(store, other, finished, TINY_MODEL, TINY_TRANSFORMS, tiny_training()))


def test_a_damaged_state_is_reported_with_a_remedy(store: Path, finished: Path, tmp_path: Path) -> None:
    (tmp_path / "scene").mkdir()
    (tmp_path / "scene" / "config.json").write_bytes((finished / "scene" / "config.json").read_bytes())
    state = tmp_path / "scene" / "last.safetensors"
    state.write_bytes((finished / "scene" / "last.safetensors").read_bytes()[:1000])
    with pytest.raises(FormatError, match="damaged") as caught:
        train_tiny(store, tmp_path)
    assert caught.value.path == state and "delete the folder" in str(caught.value)
    state.unlink()  # as the remedy says
    train_tiny(store, tmp_path)
    assert_same_run(finished, tmp_path)


def test_a_finished_run_without_its_best_weights_is_refused(store: Path, tmp_path: Path) -> None:
    train_tiny(store, tmp_path, epochs=(0, 1))
    (tmp_path / "scene" / "best.safetensors").unlink()
    with pytest.raises(FormatError, match=r"best\.safetensors: not found"):
        train_tiny(store, tmp_path, epochs=(0, 1))


def relabelled(store: Path, folder: Path, **changes: Any) -> Path:
    """Write a manifest in which one split's clips have no split or no scores."""
    manifest = read_manifest(store)
    clips = tuple(
        replace(row, split=None)
        if row.split == changes.get("without")
        else replace(row, scores=None)
        if row.split == changes.get("unscored")
        else row
        for row in manifest.clips
    )
    (folder / "clips").parent.mkdir(parents=True, exist_ok=True)
    (folder / "clips").symlink_to(store / "clips")
    write_manifest(folder, replace(manifest, clips=clips))
    return folder


def test_without_a_validation_split_the_last_network_is_kept(
    store: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train_tiny(relabelled(store, tmp_path / "store", without="val"), tmp_path / "run", epochs=(1, 2))
    assert "no clip belongs to the validation split" in caplog.text
    assert read_about(tmp_path / "run" / "scene" / "best.safetensors") == {
        "stream": "scene",
        "stage": 2,
        "epoch": 2,
        "score": None,
    }
    last = load_file(tmp_path / "run" / "scene" / "last.safetensors")
    for name, tensor in load_file(tmp_path / "run" / "scene" / "best.safetensors").items():
        assert torch.equal(tensor, last[f"model.{name}"])
    assert [row["val"] for row in log_rows(tmp_path / "run")] == [None] * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"without": "train"}, "no clip belongs to the training split"),
        ({"unscored": "train"}, "12 of 12 clips have no scores, the first is clip0000.mp4"),
        ({"unscored": "val"}, "4 of 4 clips have no scores"),
    ],
    ids=["no training split", "no training scores", "no validation scores"],
)
def test_unusable_labels(store: Path, tmp_path: Path, changes: dict[str, str], reason: str) -> None:
    with pytest.raises(LabelError, match=reason):
        train_tiny(relabelled(store, tmp_path / "store", **changes), tmp_path / "run")


def test_a_diverged_training_stops_before_it_replaces_the_state(store: Path, tmp_path: Path) -> None:
    training = tiny_training(epochs=(1, 1))
    diverging = replace(training, stages=(training.stages[0], replace(training.stages[1], lr=1e30)))
    job = TrainingJob(store, read_manifest(store), tmp_path, TINY_MODEL, TINY_TRANSFORMS, diverging)
    with pytest.raises(ConfigError, match="not a finite number in stage 2, epoch 1"):
        train_stream("scene", job)
    assert read_state(tmp_path / "scene" / "last.safetensors").stage == 1
    assert len(log_rows(tmp_path)) == 1


def test_frozen_batch_norm_keeps_its_statistics(store: Path, tmp_path: Path) -> None:
    train_tiny(store, tmp_path, epochs=(1, 0), freeze_batchnorm=True)
    weights = load_file(tmp_path / "scene" / "best.safetensors")
    assert torch.equal(weights["backbone.bn1.running_mean"], torch.zeros(8))
    assert not torch.equal(weights["backbone.bn1.weight"], torch.ones(8))


def test_a_network_that_only_gets_worse_is_not_kept(store: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The start of stage 2 scores the training means; every later epoch is made to look worse than that."""
    measured, calls = loop.validate, []

    def validate(*arguments: Any, **options: Any) -> Any:
        metrics = measured(*arguments, **options)
        calls.append(None)
        return replace(metrics, scores=metrics.scores + (2 if len(calls) > 1 else 0))

    monkeypatch.setattr(loop, "validate", validate)
    weights = train_tiny(store, tmp_path, epochs=(0, 2))
    assert len(calls) == 3
    assert read_about(weights)["epoch"] == 0 and not any(row["best"] for row in log_rows(tmp_path))
    means = stack_scores(read_manifest(store).rows("train")).mean(axis=0)
    kept = load_file(weights)
    np.testing.assert_allclose(kept["head.score_bias"].numpy(), means, atol=1e-6)
    assert not kept["head.score_weight"].any()


def test_the_start_is_not_kept_without_a_validation_split(tmp_path: Path) -> None:
    folder = write_store(tmp_path / "store", clips=8, pixels=24, duration_s=0.25)
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, clips=manifest.rows("train")))
    assert read_about(train_tiny(folder, tmp_path / "run", epochs=(0, 1)))["epoch"] == 1


@pytest.mark.parametrize(("patience", "epochs"), [(None, 4), (1, 1), (2, 2)])
def test_patience_ends_the_final_stage(
    store: Path, tmp_path: Path, monkeypatch: Any, patience: int | None, epochs: int
) -> None:
    """The start of stage 2 is the best network (epoch 0), so a patience of 2 ends after epoch 2."""
    scores = iter(range(9, 0, -1))
    monkeypatch.setattr(loop, "selection_score", lambda row, stage: next(scores))
    weights = train_tiny(store, tmp_path, epochs=(0, 4), patience=patience)
    assert len(log_rows(tmp_path)) == epochs
    assert read_state(tmp_path / "scene" / "last.safetensors").finished
    assert train_tiny(store, tmp_path, epochs=(0, 4), patience=patience) == weights  # finished: no score is left


def test_a_resumed_training_keeps_its_text_regression(store: Path, tmp_path: Path, monkeypatch: Any) -> None:
    model = replace(TINY_MODEL, text_path="vector")
    job = TrainingJob(store, read_manifest(store), tmp_path, model, TINY_TRANSFORMS, tiny_training(epochs=(1, 1)))

    def killed(*_: Any) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(loop, "run_epoch", killed)
        with pytest.raises(Killed):
            train_stream("audio-text", job)
    fit = (tmp_path / "audio-text" / "text_regression.safetensors").read_bytes()
    monkeypatch.setattr(text, "fit_ridge", killed)
    train_stream("audio-text", job)
    assert (tmp_path / "audio-text" / "text_regression.safetensors").read_bytes() == fit


def test_a_damaged_text_regression_names_its_file(store: Path, tmp_path: Path) -> None:
    model = replace(TINY_MODEL, text_path="vector")
    job = TrainingJob(store, read_manifest(store), tmp_path, model, TINY_TRANSFORMS, tiny_training(epochs=(1, 1)))
    (tmp_path / "audio-text").mkdir()
    (tmp_path / "audio-text" / "text_regression.safetensors").write_bytes(b"no arrays")
    with pytest.raises(FormatError, match=r"text_regression.safetensors: not a text regression"):
        train_stream("audio-text", job)


@pytest.mark.parametrize(
    ("stream", "model"),
    [
        ("face", TINY_MODEL),
        ("audio-text", TINY_MODEL),
        ("audio-text", replace(TINY_MODEL, audio_text="text")),
        ("audio-text", replace(TINY_MODEL, text_path="vector")),
        ("audio-text", replace(TINY_MODEL, audio_text="text", text_path="vector")),
        ("scene", replace(TINY_MODEL, temporal="conv1x1")),
        ("scene", replace(TINY_MODEL, backbone="r3d34")),
    ],
    ids=["face", "audio-text", "text", "text vector beside sound", "text vector", "conv1x1", "r3d34"],
)
def test_every_kind_of_stream_trains(store: Path, tmp_path: Path, stream: Any, model: ModelConfig) -> None:
    calls = []
    train_tiny(store, tmp_path, stream, lambda *arguments: calls.append(arguments), model=model, epochs=(1, 1))
    assert calls[0] == (f"{stream}: stage 1", 1, 2, "epoch 1/1")
    assert [arguments[:3] for arguments in calls[1:]] == [
        (f"{stream}: stage 1", 2, 2),
        (f"{stream}: stage 2", 1, 2),
        (f"{stream}: stage 2", 2, 2),
    ]
    rows = log_rows(tmp_path, stream)
    assert len(rows) == 2 and rows[0]["train"]["classification"] != rows[1]["train"]["classification"]


def test_bfloat16_trains_and_scores_in_float32(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.utils.device.cpu_flags", lambda: BFLOAT16_FLAGS)  # slow without, but the same
    train_tiny(store, tmp_path, epochs=(1, 1), precision="bfloat16")
    weights = load_file(tmp_path / "scene" / "best.safetensors")
    assert {tensor.dtype for tensor in weights.values()} <= {torch.float32, torch.int64}


def test_a_stage_with_its_own_losses(store: Path, tmp_path: Path) -> None:
    stages = (StageConfig(epochs=0), StageConfig(terms=("l1",), epochs=1, batch_size=6))
    train_tiny(store, tmp_path, stages=stages)
    (row,) = log_rows(tmp_path)
    assert row["train"]["total"] == pytest.approx(row["train"]["l1"])


def test_features_need_clips_in_evaluation_order(store: Path) -> None:
    rows = read_manifest(store).rows("train")
    for clips, training in ((rows, True), ((), False)):
        data = ClipDataset(store, clips, TINY_TRANSFORMS, ["scene"], training=training)
        with pytest.raises(LabelError, match="evaluation order"):
            extract(StreamNet("scene", TINY_MODEL), load_batches(data, 3))


@pytest.mark.parametrize("width", [4, 12])
def test_a_cpu_refuses_to_train_a_width_that_is_not_a_multiple_of_8(store: Path, tmp_path: Path, width: int) -> None:
    with pytest.raises(ConfigError, match=f"width {width} cannot be trained safely on a CPU") as caught:
        train_tiny(store, tmp_path / "run", model=replace(TINY_MODEL, width=width))
    assert caught.value.remedy is not None and "multiple of 8" in caught.value.remedy
    assert not (tmp_path / "run").exists()
    ModelConfig(width=width).require_trainable_on(torch.device("cuda").type)


def test_a_narrow_network_still_loads_and_predicts(store: Path, tmp_path: Path) -> None:
    narrow = replace(TINY_MODEL, width=4)
    save_weights(tmp_path / "best.safetensors", StreamNet("scene", narrow), {"stream": "scene"})
    net = load_net(tmp_path / "best.safetensors", "scene", narrow)
    clips = ClipDataset(store, read_manifest(store).rows("val"), TINY_TRANSFORMS, ["scene"])
    assert np.isfinite(extract(net, load_batches(clips, 3))[1]).all()


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == torch.device("cpu")
        with pytest.raises(ConfigError, match="no CUDA GPU"):
            choose_device("cuda")


def test_a_store_without_splits_names_the_option_that_assigns_them(store: Path, tmp_path: Path) -> None:
    without = relabelled(store, tmp_path / "store", without="train")
    with pytest.raises(LabelError, match="or let --protocol video-disjoint or identity-disjoint assign them to splits"):
        train_system(without, tmp_path / "run", PRESETS["tiny"])
