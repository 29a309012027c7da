"""Whether Grad-CAM looks at the face for scores that the face decides, on synthetic people and a trained network.

CRNET_TEST_GRADCAM=1 pytest -s tests/e2e/test_gradcam_of_simulated_people.py     # simulates and trains: minutes

The smile decides three of the targets and the pitch of the voice the other three. Scene, sound and words are noise, so
nothing visible reveals the pitch. `tests/unit/explain/test_heat_maps.py` has a small version with simple drawn heads,
which every test run can afford.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from crnet.data.dataset import ClipDataset, collate, load_batches, stack_scores
from crnet.data.manifest import ClipRow, Manifest, read_manifest
from crnet.data.store import as_clip_source, read_clip
from crnet.data.transforms import TransformConfig, choose_frames, read_sample
from crnet.explain.frame_maps import face_squares
from crnet.explain.heat_maps import compute_heat_maps, mass_inside
from crnet.media.settings import MediaSettings
from crnet.metrics import r2
from crnet.models.config import ModelConfig
from crnet.models.crnet import StreamNet
from crnet.models.inference import extract
from crnet.simulate.planning import SimulationConfig
from crnet.simulate.write_store import write_store
from crnet.training.checkpoint import load_net
from crnet.training.config import CLASSIFICATION, JOINT, TrainingConfig
from crnet.training.stream import TrainingJob, train_stream
from random_net import random_net

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("CRNET_TEST_GRADCAM" not in os.environ, reason="takes minutes: set CRNET_TEST_GRADCAM=1"),
]
PEOPLE = SimulationConfig(
    1200, seconds=1.0, fps=3.0, height=180, difficulty="easy", silent=("scene", "audio", "text"), voice="built-in"
)
FACE_CUE, VOICE_CUE = "smile", "pitch_level"
FACE_TARGETS, VOICE_TARGETS = slice(0, None, 2), slice(1, None, 2)
TRANSFORMS = TransformConfig(frames=2, pixels=56, audio_samples=16_000)
MODEL = ModelConfig(width=16, blocks=(1, 1, 1, 1), frames=2)
JOINT_STAGE = replace(
    JOINT, epochs=12, batch_size=16, lr_step_epochs=7, lr_factor=0.2, weight_decay=5e-4, betas=(0.9, 0.999)
)
TRAINING = TrainingConfig(
    stages=(replace(CLASSIFICATION, epochs=0), JOINT_STAGE), workers=0, device="cpu", threads=1, tensorboard=False
)
CLIPS, CONTROLS = 40, range(100, 104)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("people") / "store", PEOPLE, frames_per_segment=1)


@pytest.fixture(scope="module")
def manifest(store: Path) -> Manifest:
    """The store's clips with scores that follow from the two cues."""
    truth = pq.read_table(store / "truth.parquet")
    cues = np.column_stack([truth[f"latent_{name}"].to_numpy() for name in (FACE_CUE, VOICE_CUE) * 3])
    scores = np.clip(0.52 + 0.15 * cues / cues.std(axis=0), 0.01, 0.99).tolist()
    scores_by_clip = dict(zip(truth["clip"].to_pylist(), map(tuple, scores), strict=True))
    simulated = read_manifest(store)
    return replace(simulated, clips=tuple(replace(row, scores=scores_by_clip[row.clip_id]) for row in simulated.clips))


def mass_on_faces(net: StreamNet, store: Path, rows: tuple[ClipRow, ...]) -> tuple[float, float, float]:
    """Return the mean share of Grad-CAM's magnitude on the face for each cue's targets, and the face's area."""
    shares, area = [], []
    place = (np.arange(TRANSFORMS.pixels) + 0.5) / TRANSFORMS.pixels
    for row in rows:
        clip = read_clip(store / row.file)
        frames = choose_frames(as_clip_source(clip), TRANSFORMS.frames, None)
        crops = face_squares(clip, frames, MediaSettings().face_margin)
        x0, y0, x1, y1 = ((clip.face_box[frames] - crops[:, [0, 1, 0, 1]]) / (crops[:, 2:3] - crops[:, 0:1])).T
        across = (x0[:, None] < place) & (place < x1[:, None])
        down = (y0[:, None] < place) & (place < y1[:, None])
        face = down[:, :, None] & across[:, None, :]
        cams = compute_heat_maps(
            net, collate([read_sample(as_clip_source(clip), TRANSFORMS, None, ["face"], row.clip_id)])
        ).gradcam
        shares.append([mass_inside(cam, face) for cam in cams])
        area.append(face.mean())
    by_target = np.mean(shares, axis=0)
    return float(by_target[FACE_TARGETS].mean()), float(by_target[VOICE_TARGETS].mean()), float(np.mean(area))


def test_gradcam_finds_the_face_of_simulated_people(store: Path, manifest: Manifest, tmp_path: Path) -> None:
    weights = train_stream("face", TrainingJob(store, manifest, tmp_path, MODEL, TRANSFORMS, TRAINING))
    net, test = load_net(weights, "face", MODEL).eval(), manifest.rows("test")
    _, predicted = extract(net, load_batches(ClipDataset(store, test, TRANSFORMS, ["face"]), 16))
    r2_smile, r2_pitch = (r2(stack_scores(test)[:, i], predicted[:, i]) for i in (0, 1))  # one target of each cue
    face_share, voice_share, area = mass_on_faces(net, store, test[:CLIPS])
    untrained = [mass_on_faces(random_net("face", MODEL, seed=seed).eval(), store, test[:CLIPS]) for seed in CONTROLS]
    gaps = [face - voice for face, voice, _ in untrained]
    print(f"R2 {r2_smile:.2f} of the smile, {r2_pitch:.2f} of the pitch")
    print(f"on the face: {face_share:.3f} (smile), {voice_share:.3f} (pitch); the face is {area:.3f} of the crop")
    print("random weights:", ", ".join(f"{face:.3f} and {voice:.3f}" for face, voice, _ in untrained))
    assert r2_smile > 0.6
    assert r2_pitch < 0.1
    assert face_share > area + 0.15
    assert face_share > voice_share + 0.08
    assert face_share - voice_share > max(np.abs(gaps)) + 0.02
    assert face_share > max(face for face, _, _ in untrained) + 0.05
