"""A small system, a store and a video to explain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from crnet.bundle.bundle import Bundle
from crnet.config import Config
from crnet.data.dataset import stack_scores
from crnet.data.manifest import read_manifest
from crnet.data.transforms import TransformConfig
from crnet.fusion.fusion import Fusion, FusionConfig
from crnet.media.settings import MediaSettings
from crnet.models.config import ModelConfig
from crnet.models.inference import extract_all
from crnet.predict import Predictor
from crnet.training.config import TrainingConfig
from crnet.types import SAMPLE_RATE_HZ, STREAMS, Stream
from random_net import random_net
from synthetic import write_store

PIXELS, FRAMES, SECONDS, FPS = 32, 4, 3.0, 10
CONFIG = Config(
    transforms=TransformConfig(frames=FRAMES, pixels=PIXELS, audio_samples=SAMPLE_RATE_HZ),
    model=ModelConfig(frames=FRAMES, width=4, blocks=(1, 1, 1, 1)),
    training=TrainingConfig(workers=0, device="cpu"),
    fusion=FusionConfig(fit_on="training", trees=30),
)


def make_bundle(store: Path, config: Config = CONFIG) -> Bundle:
    rows = read_manifest(store).rows("train")
    networks = {stream: random_net(stream, config.model, seed=1).eval() for stream in config.streams}
    features, _ = extract_all(networks, store, rows, config.transforms)
    scores = stack_scores(rows)
    fusion = Fusion.fit(config.fusion, features, scores)
    media = MediaSettings(pixels=PIXELS).to_dict()
    return Bundle(config, networks, fusion, "folder", "hashed-ngrams-v1", media, np.median(scores, axis=0))


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("explain") / "store", clips=20, pixels=PIXELS)


@pytest.fixture(scope="session")
def bundle(store: Path) -> Bundle:
    return make_bundle(store)


@pytest.fixture(scope="session")
def make_system(store: Path) -> Callable[..., Predictor]:
    """Make a predictor with some streams and other model settings."""

    def make(streams: tuple[Stream, ...] = STREAMS, **changes: object) -> Predictor:
        return Predictor(make_bundle(store, replace(CONFIG, streams=streams, model=replace(CONFIG.model, **changes))))

    return make


@pytest.fixture(scope="session")
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle)


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of a moving bright spot and an interrupted tone, without a person."""
    path = tmp_path_factory.mktemp("video") / "<b>spot & tone.mp4"
    y, x = np.mgrid[:72, :128]
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=FPS)
        picture.width, picture.height, picture.pix_fmt = 128, 72, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="mono")
        for number in range(round(SECONDS * FPS)):
            level = 40 + 200 * ((x - 20 - 3 * number) ** 2 + (y - 30) ** 2 < 150)
            frame = av.VideoFrame.from_ndarray(np.repeat(level[..., None], 3, 2).astype(np.uint8), format="rgb24")
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        time_s = np.arange(round(SECONDS * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        tone = (9000 * np.sin(2 * np.pi * 220 * time_s) * (time_s % 1 < 0.5)).astype(np.int16)
        for start in range(0, len(tone), 1024):
            block = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], format="s16", layout="mono")
            block.sample_rate, block.pts = SAMPLE_RATE_HZ, start
            container.mux(sound.encode(block))
        container.mux(sound.encode(None))
    return path
