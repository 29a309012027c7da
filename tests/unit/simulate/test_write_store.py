"""Clips written directly into a store: equal to those from videos, and readable by all readers of stores."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from crnet.data.ceiling_file import CEILING_NAME, read_ceiling
from crnet.data.dataset import ClipDataset
from crnet.data.manifest import read_manifest
from crnet.data.prepare import prepare
from crnet.data.sources.release_names import SIMULATED_MARKER
from crnet.data.store import read_clip
from crnet.data.transforms import TransformConfig
from crnet.errors import ConfigError, UsageError
from crnet.media.settings import MediaSettings
from crnet.simulate.drawing import PersonRenderer
from crnet.simulate.performance import perform
from crnet.simulate.planning import SimulationConfig, plan_clips
from crnet.simulate.write_dataset import write_dataset
from crnet.simulate.write_store import render_clip, write_store
from crnet.types import STREAMS

TINY = SimulationConfig(clips=5, seconds=2.0, fps=16, height=180, difficulty="easy", voice="built-in")
SMALL = {"frames_per_segment": 1, "pixels": 48}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(str(tmp_path_factory.mktemp("stored") / "store"), TINY, workers=0, **SMALL)


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_training_can_read_the_store(store: Path) -> None:
    manifest = read_manifest(store)
    assert manifest.source == "simulated"
    assert [len(manifest.rows(split)) for split in ("train", "val", "test")] == [3, 1, 1]
    assert manifest.settings["pixels"] == 48
    assert manifest.encoder == "hashed-ngrams-v1"
    clips = ClipDataset(store, manifest.rows("train"), TransformConfig(8, 32, 16_000), STREAMS, training=True)
    sample = clips[0]
    assert sample.scene.shape == sample.face.shape == (8, 3, 32, 32)
    assert sample.audio.std() > 0
    assert sample.text.any()


def test_rows_match_the_plans(store: Path) -> None:
    plans = {plan.name: plan for plan in plan_clips(TINY)}
    for row in read_manifest(store).clips:
        plan = plans[row.clip_id]
        assert (row.scores, row.split, row.transcript) == (plan.scores, plan.split, plan.transcript)
        assert row.groups["gender"] == plan.look.gender
        assert row.groups["ethnicity"] == plan.look.ethnicity.lower()
        assert row.faces_found == row.faces_looked_at == 32
        clip = read_clip(store / row.file)
        assert clip.simulated
        assert clip.warnings == ()
        assert len(clip.time_s) == row.frames == 32
        assert len(clip.audio) == 32_000
        assert np.isfinite(clip.face_box).all()


def test_clips_equal_those_extracted_from_videos(store: Path, tmp_path: Path) -> None:
    """The detector finds faces at the drawn boxes, and the pictures differ only by compression."""
    pytest.importorskip("av")
    people = write_dataset(tmp_path / "people", TINY, workers=0)
    (people / CEILING_NAME).write_text('{"format": 1, "splits": {}}')
    settings = MediaSettings(pixels=48, frames_per_segment=1)
    assert not prepare(people, tmp_path / "store", workers=0, settings=settings).failures
    extracted, drawn = read_manifest(tmp_path / "store"), read_manifest(store)
    assert extracted.settings == drawn.settings
    assert read_ceiling(tmp_path / "store") == {"format": 1, "splits": {}}  # copied by prepare
    for extracted_row, drawn_row in zip(extracted.clips, drawn.clips, strict=True):
        assert replace(extracted_row, warnings=(), faces_found=0) == replace(drawn_row, warnings=(), faces_found=0)
        a, b = read_clip(tmp_path / "store" / extracted_row.file), read_clip(store / drawn_row.file)
        np.testing.assert_allclose(a.time_s, b.time_s, atol=1e-6)
        np.testing.assert_array_equal(a.segment, b.segment)
        np.testing.assert_array_equal(a.text, b.text)
        side = (b.face_box[:, 2:] - b.face_box[:, :2]).max()
        assert np.abs(np.median(a.face_box - b.face_box, axis=0)).max() < 0.15 * side
        for stream in ("scene", "face"):
            first, second = (simplejpeg.decode_jpeg(clip.jpeg(stream, 9)).astype(float) for clip in (a, b))
            assert np.abs(first - second).mean() < (6 if stream == "scene" else 20)


def test_landmarks_are_on_the_drawn_features() -> None:
    plan = plan_clips(replace(TINY, height=360))[0]
    cues = {**plan.cues, "gaze": 1.0, "smile": 0.0, "eye_opening": 1.0, "room_brightness": 1.0}
    look = replace(plan.look, glasses=0, lip=(200, 20, 30), hair_style="short", beard=0.0)
    renderer = PersonRenderer(look, cues, 640, 360)
    motion = perform(plan, TINY).motion
    picture = renderer.render(motion, 5).astype(int)
    box, landmarks = renderer.locate_face(motion, 5)
    ys, xs = np.nonzero(picture[..., 0] - picture[..., 1] > 90)
    inside = (xs > box[0]) & (xs < box[2]) & (ys > box[1]) & (ys < box[3])
    xs, ys = xs[inside], ys[inside]
    mouth = landmarks[3:].mean(axis=0)
    assert np.abs([xs.mean() - mouth[0], ys.mean() - mouth[1]]).max() < 0.06 * renderer.head_px
    eyes = landmarks[:2].mean(axis=0)
    assert eyes[1] < landmarks[2, 1] < mouth[1]


def test_workers_and_interruptions_do_not_change_any_file(store: Path, tmp_path: Path) -> None:
    steps: list[int] = []

    def stop_after_two(task: str, done: int, total: int, note: str = "") -> None:
        steps.append(done)
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "store", TINY, workers=0, progress=stop_after_two, **SMALL)
    assert not (tmp_path / "store" / "manifest.parquet").exists()
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.safetensors")}
    assert len(finished) == 2
    write_store(tmp_path / "store", TINY, workers=2, **SMALL)
    assert read_files(tmp_path / "store") == read_files(store)
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())


def test_a_damaged_clip_file_is_drawn_again(store: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(store, tmp_path / "store")
    damaged, changed = list(copy.rglob("*.safetensors"))[:2]
    damaged.write_bytes(b"half")
    content = bytearray(changed.read_bytes())
    content[-1] ^= 1  # one bit of the content; the file still opens
    changed.write_bytes(content)
    damaged.with_name(".tmp-abc.safetensors").write_bytes(b"left by a killed run")
    write_store(copy, TINY, workers=0, **SMALL)
    assert read_files(copy) == read_files(store)


def test_frames_per_segment() -> None:
    plan = plan_clips(TINY)[0]
    config = replace(TINY, seconds=4.0)
    for per_segment, frames in ((1, 32), (2, 64), (None, 64)):
        assert len(render_clip(plan, config, MediaSettings(pixels=16, frames_per_segment=per_segment)).time_s) == frames


def test_other_folders_configurations_and_bad_values_are_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="another configuration"):
        write_store(store, replace(TINY, seed=3), workers=0, **SMALL)
    with pytest.raises(ConfigError, match="another configuration"):
        write_store(store, TINY, workers=0, frames_per_segment=2, pixels=48)
    with pytest.raises(ConfigError, match="another configuration"):
        write_dataset(store, TINY, workers=0)
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        write_store(tmp_path, TINY, workers=0)
    with pytest.raises(UsageError, match="-1 workers"):
        write_store(tmp_path / "new", TINY, workers=-1)
    with pytest.raises(ConfigError):
        write_store(tmp_path / "new", TINY, frames_per_segment=0, workers=0)
    assert not (tmp_path / "new").exists()


def test_no_media_library_is_imported(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "for name in ('av', 'soxr', 'mtcnn'): sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from crnet.simulate.planning import SimulationConfig\n"
        "from crnet.simulate.write_store import write_store\n"
        "config = SimulationConfig(clips=1, seconds=0.5, fps=4, height=96, difficulty='easy', voice='built-in')\n"
        "write_store(Path(sys.argv[1]), config, workers=0, frames_per_segment=1, pixels=16)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "store")], check=True)
    assert (tmp_path / "store" / SIMULATED_MARKER).is_file()
