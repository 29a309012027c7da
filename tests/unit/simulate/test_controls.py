"""Two controls on stored clips, not on plans: a signal is in its own modality and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from sklearn.linear_model import RidgeCV

from crnet.data.manifest import read_manifest
from crnet.data.store import read_clip, write_clip
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store
from crnet.types import Clip

CONFIG = SimulationConfig(clips=120, seconds=1.0, fps=2, height=96, difficulty="easy", voice="built-in")


def read_clips(store: Path) -> dict[str, Clip]:
    return {row.clip_id: read_clip(store / row.file) for row in read_manifest(store).clips}


def draw(folder: Path, config: SimulationConfig) -> dict[str, Clip]:
    return read_clips(write_store(folder, config, frames_per_segment=1, pixels=16, workers=0))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("control") / "store"
    draw(folder, CONFIG)
    return folder


def audible_features(clip: Clip) -> np.ndarray:
    """Return simple features of the sound: loudness, its fluctuation, pitch and noisiness."""
    sound = clip.audio / 32768.0
    pieces = np.log(1e-4 + sound[: len(sound) // 320 * 320].reshape(-1, 320).std(1))
    crossings = np.mean(np.diff(np.sign(sound)) != 0)
    return np.array([pieces.mean(), pieces.std(), pieces.max(), np.log(crossings + 1e-3)])


def visible_features(clip: Clip) -> np.ndarray:
    """Return simple features of the picture: the first frame of scene and face, at 4x4 pixels."""
    frames = [simplejpeg.decode_jpeg(clip.jpeg(stream, 0)).astype(float) / 255 for stream in ("scene", "face")]
    return np.concatenate([frame.reshape(4, 4, 4, 4, 3).mean((1, 3)).reshape(-1) for frame in frames])


def r2(features: np.ndarray, scores: np.ndarray) -> float:
    """Return R2 of ridge regression on unseen clips, over all targets."""
    cut = len(scores) * 2 // 3
    mean, scale = features[:cut].mean(0), features[:cut].std(0) + 1e-9
    model = RidgeCV(np.logspace(-1, 4, 11)).fit((features[:cut] - mean) / scale, scores[:cut])
    residual = model.predict((features[cut:] - mean) / scale) - scores[cut:]
    return float(1 - (residual**2).mean() / scores[cut:].var(0).mean())


def features(clips: dict[str, Clip], read) -> np.ndarray:
    return np.array([read(clip) for clip in clips.values()])


def test_swapping_sound_and_transcript_affects_one_stream_only(store: Path, tmp_path: Path) -> None:
    rows = read_manifest(store).clips
    scores = np.array([row.scores for row in rows])
    clips = read_clips(store)
    others = np.random.default_rng(0).permutation(list(clips))
    swapped = {}
    for clip_id, other in zip(clips, others, strict=True):
        path = tmp_path / f"{clip_id}.safetensors"
        write_clip(path, replace(clips[clip_id], audio=clips[other].audio, text=clips[other].text))
        swapped[clip_id] = read_clip(path)
    assert r2(features(clips, audible_features), scores) > 0.35
    assert r2(features(swapped, audible_features), scores) < 0.05
    for clip_id, clip in swapped.items():  # scene and face keep their bytes, and so their scores
        np.testing.assert_array_equal(clip.scene_jpeg, clips[clip_id].scene_jpeg)
        np.testing.assert_array_equal(clip.face_jpeg, clips[clip_id].face_jpeg)


def test_silent_modalities_predict_nothing(store: Path, tmp_path: Path) -> None:
    scores = np.array([row.scores for row in read_manifest(store).clips])
    config = replace(CONFIG, silent=("face", "scene", "audio"))  # the mouth follows the voice, so audio is silent too
    silenced = draw(tmp_path / "silenced", config)
    assert list(silenced) == [row.clip_id for row in read_manifest(store).clips]
    assert (
        r2(features(silenced, visible_features), scores)
        < 0.05
        < 0.2
        < r2(features(read_clips(store), visible_features), scores)
    )
    assert r2(features(silenced, audible_features), scores) < 0.05
    assert r2(np.array([clip.text for clip in silenced.values()]), scores) > 0.1
