"""Folders that version 0.1 wrote before the packages were rearranged: the current code resumes them.

The documents are copies of what that version wrote. They are literals on purpose: a renamed field must not refuse them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from crnet.config import Config, from_dict, read_config, to_dict
from crnet.data.manifest import ClipRow, Manifest
from crnet.data.prepare import STORE_FOLDER, settings_fingerprint, store_settings
from crnet.errors import ConfigError
from crnet.experiments.net_spec import NetSpec
from crnet.experiments.reproduce import RESULTS_FOLDER
from crnet.media.settings import MediaSettings
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.simulate.dataset_folder import begin_folder
from crnet.simulate.planning import SimulationConfig
from crnet.text.hashed_ngrams import HashedNgrams
from crnet.text.skip_thoughts.training import ENCODER_FOLDER, SkipThoughtsConfig, run_settings
from crnet.train import RUN_FOLDER, describe_run
from crnet.training.checkpoint import TrainState, read_state, save_state
from crnet.training.log import read_log
from crnet.training.loop import STATE_NAME
from crnet.training.stream import TrainingJob, check_configuration, describe, result_settings
from crnet.utils.files import write_json
from crnet.utils.resumable import as_json

STORE_SETTINGS = {
    "media": {
        "segments": 32, "frames_per_segment": None, "pixels": 112, "jpeg_quality": 90, "face_margin": 0.2,
        "max_audio_s": 60.0,
        "detection": {
            "every_s": 0.25, "afresh_s": 2.0, "long_side": 400, "min_face": 0.12, "far_face": 0.055, "max_gap_s": 1.0,
            "min_sightings": 3,
        },
    },
    "media fingerprint": "84006a53db65c168", "encoder": "hashed-ngrams-v1", "format": 1,
    "fingerprint": "de21ed788f238610",
}  # fmt: skip
STAGE = {
    "optimizer": "adam", "epochs": 10, "batch_size": 10, "lr": 0.002, "lr_step_epochs": 4, "lr_factor": 0.1,
    "weight_decay": 0.005, "momentum": 0.9, "betas": [0.5, 0.999],
}  # fmt: skip
MODEL = {
    "backbone": "r2d34", "temporal": "mean", "width": 16, "blocks": [1, 1, 1, 1], "classes": 4, "frames": 8,
    "pixel_mean": [0.485, 0.456, 0.406], "pixel_std": [0.229, 0.224, 0.225], "audio_text": "both", "init": None,
    "head": "cr-block",
}  # fmt: skip
TRANSFORMS = {"frames": 8, "pixels": 56, "audio_samples": 40960, "flip": False, "shift": 0.0}
DECISIVE_TRAINING = {
    "stages": [
        {**STAGE, "terms": ["guide"], "optimizer": "sgd", "epochs": 3},
        {**STAGE, "terms": ["l1", "mse", "bell", "guide"]},
    ],
    "seed": 0, "precision": "auto", "freeze_batchnorm": False,
}  # fmt: skip
TRAINING = {**DECISIVE_TRAINING, "workers": 0, "threads": 1, "device": "auto", "tensorboard": True}
FUSION = {
    "mode": "sum", "trees": 1000, "max_features": 512, "weights": {"scene": 7.0, "face": 5.0, "audio-text": 3.0},
    "seed": 0,
}  # fmt: skip
CONFIG = {
    "streams": ["scene", "face", "audio-text"], "transforms": TRANSFORMS, "model": MODEL, "training": TRAINING,
    "fusion": FUSION,
}  # fmt: skip
ROWS = [("a.mp4", "train", [0.5] * 6), ("b.mp4", "train", [0.25] * 6), ("c.mp4", "val", [0.75] * 6)]
MANIFEST = Manifest(
    tuple(
        ClipRow(clip_id=clip, file=f"clips/{clip}", split=split, scores=tuple(scores), duration_s=1.0, frames=8)  # type: ignore[arg-type]
        for clip, split, scores in ROWS
    ),
    "simulated",
    STORE_SETTINGS["media"],  # type: ignore[arg-type]
    "de21ed788f238610",
    "hashed-ngrams-v1",
)


def config() -> Config:
    return from_dict(Config, CONFIG, Path("run.json"))


def test_a_store() -> None:
    assert store_settings(MediaSettings(), HashedNgrams(), earlier=True) == STORE_SETTINGS


def test_a_store_that_is_half_prepared(tmp_path: Path) -> None:
    # The reader has another version now: `prepare` accepts the store, and compares its clips one by one.
    write_json(tmp_path / "prepare.json", STORE_SETTINGS)
    assert STORE_FOLDER.check(tmp_path, store_settings(MediaSettings(), HashedNgrams(), earlier=True))
    assert settings_fingerprint(STORE_SETTINGS) == STORE_SETTINGS["fingerprint"]


def run_document(**data: Any) -> dict[str, Any]:
    data = {
        "store": "/data/store", "source": "simulated", "fingerprint": "de21ed788f238610",
        "encoder": "hashed-ngrams-v1", "train_clips": 2, "val_clips": 1, **data,
    }  # fmt: skip
    return {"config": CONFIG, "data": data, "versions": {"crnet": "0.1.0"}, "git_revision": None}


@pytest.mark.parametrize("data", [{"protocol": "official"}, {}])
def test_a_run(tmp_path: Path, data: dict[str, str]) -> None:
    write_json(tmp_path / "run.json", run_document(**data))
    assert RUN_FOLDER.check(tmp_path, describe_run(tmp_path, MANIFEST, config()))
    write_json(tmp_path / "run.json", run_document(protocol="video-disjoint"))
    with pytest.raises(ConfigError, match="protocol was 'video-disjoint' and is now 'official'"):
        RUN_FOLDER.check(tmp_path, describe_run(tmp_path, MANIFEST, config()))


def test_the_fusion_of_a_run_was_fitted_on_its_training_clips(tmp_path: Path) -> None:
    assert config().fusion.fit_on == "training"
    write_json(tmp_path / "run.json", run_document())
    assert read_config(tmp_path / "run.json", Config()).fusion.fit_on == "training"
    held_out = replace(config(), fusion=replace(config().fusion, fit_on="held-out"))
    with pytest.raises(ConfigError, match=r"fusion\.fit_on was 'training' and is now 'held-out'"):
        RUN_FOLDER.check(tmp_path, describe_run(tmp_path, MANIFEST, held_out))


def test_a_stream(tmp_path: Path) -> None:
    data = {
        "source": "simulated", "fingerprint": "de21ed788f238610", "encoder": "hashed-ngrams-v1", "train_clips": 2,
        "val_clips": 1, "choosing_clips": 1, "labels_sha256": hashlib.sha256(json.dumps(ROWS).encode()).hexdigest(),
    }  # fmt: skip
    run = {"stream": "scene", "model": MODEL, "transforms": TRANSFORMS, "training": DECISIVE_TRAINING, "data": data}
    write_json(tmp_path / "config.json", {"run": run, "made_with": {"crnet": "0.1.0"}})
    (tmp_path / STATE_NAME).touch()
    current = config()
    job = TrainingJob(tmp_path, MANIFEST, tmp_path, current.model, current.transforms, current.training)
    assert check_configuration(tmp_path, describe("scene", job))


def test_a_network_of_an_experiment() -> None:
    # Version 0.1 started G at random weights, so the folder that it named 283edd6959fdedd4 holds another network.
    assert NetSpec("scene", config()).fingerprint(0, "data") == "cf139ebc72c5eb28"


def test_simulated_data(tmp_path: Path) -> None:
    settings = {
        "clips": 320, "seed": 0, "seconds": 2.5, "fps": 10.0, "height": 240, "difficulty": "easy",
        "identity_disjoint": False, "label_bias": [], "silent": [], "voice": "espeak",
    }  # fmt: skip
    marker = {
        "format": 1, "generator": "crnet simulate", "seed": 0, "config": settings, "versions": {"crnet": "0.1.0"},
        "complete": False,
    }  # fmt: skip
    write_json(tmp_path / "simulated.json", marker)
    (tmp_path / "train").mkdir()
    config = SimulationConfig(clips=320, seconds=2.5, fps=10, height=240, difficulty="easy", voice="espeak")
    assert as_json(config.to_dict()) == settings  # part of the fingerprint of every clip in a store
    assert len(begin_folder(tmp_path, config)) == 320


def test_a_text_encoder(tmp_path: Path) -> None:
    settings = {
        "uni": 16, "bi": 8, "word_dimensions": 12, "words": 300, "longest": 30, "epochs": 3, "batch_size": 16,
        "lr": 0.01, "clip_norm": 10.0, "save_every": 4, "seed": 0,
    }  # fmt: skip
    about = {"config": settings, "text_sha256": "00", "a_sentence_a_line": False}
    write_json(tmp_path / "run.json", {"run": about, "words": 300, "sentences": 200, "made_with": {"crnet": "0.1.0"}})
    (tmp_path / "state-uni.safetensors").touch()
    now = SkipThoughtsConfig(
        uni=16, bi=8, word_dimensions=12, words=300, epochs=3, batch_size=16, lr=0.01, save_every=4
    )
    assert ENCODER_FOLDER.check(tmp_path, {"run": run_settings(now, "00", sentence_per_line=False)})


def test_a_training_state_and_a_log_with_old_names(tmp_path: Path) -> None:
    losses = {"total": 9.0, "l1": 1.0, "mse": 2.0, "bell": 3.0, "guide": 8.0}
    row = {"stage": 1, "epoch": 1, "epochs": 3, "lambda": 1.0, "train": losses, "val": losses, "overfitting": None}
    (tmp_path / "log.jsonl").write_text(json.dumps(row) + "\n")
    net = StreamNet("scene", ModelConfig(width=8, blocks=(1, 1, 1, 1)))
    save_state(tmp_path / STATE_NAME, TrainState(1, 1, log=[row]), net, torch.optim.SGD(net.parameters()))
    for (current,) in (read_log(tmp_path), read_state(tmp_path / STATE_NAME).log):
        assert current["train"]["classification"] == 8.0 and "guide" not in current["val"]


def test_results_of_reproduce(tmp_path: Path) -> None:
    recorded = {"config": {**CONFIG, "training": DECISIVE_TRAINING}, "protocol": "official", "data": "00"}
    write_json(tmp_path / RESULTS_FOLDER.settings_file, recorded)  # `reproduce` renames lab.json before the check
    training = result_settings(to_dict(config())["training"])
    current = {"config": {**to_dict(config()), "training": training}, "protocol": "official", "data": "00"}
    assert RESULTS_FOLDER.check(tmp_path, current)
