"""Fixtures shared by the unit tests: a store of small clips and a small, untrained system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from crnet.bundle.bundle import Bundle
from crnet.config import Config
from crnet.data.dataset import stack_scores
from crnet.data.manifest import ClipRow, Manifest, write_manifest
from crnet.data.store import write_clip
from crnet.data.transforms import TransformConfig
from crnet.evaluation.evaluate import evaluate
from crnet.evaluation.evaluation import Evaluation
from crnet.fusion.fusion import Fusion, FusionConfig
from crnet.media.settings import MediaSettings
from crnet.models.config import ModelConfig
from crnet.models.inference import extract_all
from crnet.training.config import TrainingConfig
from crnet.types import STREAMS, Clip
from random_net import random_net

SEGMENTS, PIXELS, AUDIO_SAMPLES = 4, 16, 12_800  # 0.8 s
TRAIN_CLIPS, TEST_CLIPS = 16, 12
SETTINGS = MediaSettings(segments=SEGMENTS, pixels=PIXELS, frames_per_segment=2)
CONFIG = Config(
    transforms=TransformConfig(frames=2, pixels=PIXELS, audio_samples=AUDIO_SAMPLES),
    model=ModelConfig(frames=2, width=2, blocks=(1, 1, 1, 1)),
    training=TrainingConfig(workers=0, device="cpu"),
    fusion=FusionConfig(fit_on="training", trees=5),
)


def make_clip(clip_id: str = "a.mp4", seed: int = 0, **changes: object) -> Clip:
    rng = np.random.default_rng(seed)
    frames = SEGMENTS * 2
    pictures = [
        simplejpeg.encode_jpeg(rng.integers(0, 256, (PIXELS, PIXELS, 3), dtype=np.uint8), 90) for _ in range(2 * frames)
    ]
    scenes, faces = pictures[:frames], pictures[frames:]
    clip = Clip(
        clip_id=clip_id,
        scene_jpeg=np.frombuffer(b"".join(scenes), np.uint8),
        scene_offsets=np.cumsum([0, *map(len, scenes)]),
        face_jpeg=np.frombuffer(b"".join(faces), np.uint8),
        face_offsets=np.cumsum([0, *map(len, faces)]),
        time_s=np.arange(frames) / 10,
        segment=np.repeat(np.arange(SEGMENTS), 2).astype(np.int16),
        face_box=np.full((frames, 4), 3, np.float32),
        face_landmarks=np.zeros((frames, 5, 2), np.float32),
        face_score=np.ones(frames, np.float32),
        audio=rng.integers(-9999, 9999, AUDIO_SAMPLES // 2).astype(np.int16),
        text=rng.normal(size=4800).astype(np.float32),
        segments=SEGMENTS,
        duration_s=frames / 10,
        width=64,
        height=48,
        fps=10.0,
        source_sha256="",
        settings="",
        simulated=True,
        has_audio=True,
        has_transcript=True,
    )
    return replace(clip, **changes)


def write_store(folder: Path, **manifest: object) -> Path:
    rng = np.random.default_rng(5)
    rows = []
    for number in range(TRAIN_CLIPS + TEST_CLIPS):
        clip_id = f"clip{number:02d}.mp4"
        file = f"clips/{clip_id}.safetensors"
        (folder / "clips").mkdir(parents=True, exist_ok=True)
        write_clip(folder / file, make_clip(clip_id, number))
        split = "train" if number < TRAIN_CLIPS else "test"
        scores = tuple(rng.uniform(0, 1, 6).tolist())
        rows.append(
            ClipRow(clip_id, file, split, scores, transcript="hello there", faces_found=3, faces_looked_at=SEGMENTS)
        )
    rows.append(ClipRow("unlabelled.mp4", rows[0].file, "test", None))
    parts = {
        "clips": tuple(rows),
        "source": "simulated",
        "settings": SETTINGS.to_dict(),
        "fingerprint": "f",
        "encoder": "hashed-ngrams-v1",
    } | manifest
    write_manifest(folder, Manifest(**parts))
    return folder


def make_bundle(store: Path, config: Config = CONFIG) -> Bundle:
    from crnet.data.manifest import read_manifest

    rows = read_manifest(store).rows("train")
    networks = {stream: random_net(stream, config.model, seed=1).eval() for stream in config.streams}
    features, _ = extract_all(networks, store, rows, config.transforms)
    scores = stack_scores(rows)
    return Bundle(
        config=config,
        networks=networks,
        fusion=Fusion.fit(config.fusion, features, scores),
        training_source="simulated",
        encoder="hashed-ngrams-v1",
        media=SETTINGS.to_dict(),
        train_medians=np.median(scores, axis=0),
    )


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("evaluation") / "store")


@pytest.fixture(scope="session")
def bundle(store: Path) -> Bundle:
    return make_bundle(store)


@pytest.fixture(scope="session")
def visual_fusion(store: Path, bundle: Bundle) -> Fusion:
    return make_bundle(store, replace(CONFIG, streams=("scene", "face"))).fusion


@pytest.fixture(scope="session")
def evaluation(bundle: Bundle, store: Path, visual_fusion: Fusion) -> Evaluation:
    return evaluate(bundle, store, scene_face=visual_fusion, resamples=30)


@pytest.fixture
def make_evaluation(evaluation: Evaluation) -> Callable[..., Evaluation]:
    """The same evaluation with some parts changed."""
    return lambda **changes: replace(evaluation, **changes)


@pytest.fixture
def store_maker(tmp_path: Path) -> Callable[..., Path]:
    return lambda **manifest: write_store(tmp_path / "store", **manifest)


@pytest.fixture
def clip_maker() -> Callable[..., Clip]:
    return make_clip


assert CONFIG.streams == STREAMS
