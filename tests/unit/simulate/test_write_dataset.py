"""A simulated dataset in the release's layout: files, splits, labels, determinism, resuming, refusals."""

from __future__ import annotations

import csv
import hashlib
import json
import pickle
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from crnet.data.sources.release_names import SIMULATED_MARKER
from crnet.errors import ConfigError, StorageError, UsageError
from crnet.media.video import SIMULATED_COMMENT
from crnet.simulate.cues import CUE_BY_NAME, CUES, middle_values
from crnet.simulate.performance import perform, render_frames
from crnet.simulate.planning import SimulationConfig, plan_clips, split_sizes
from crnet.simulate.sample_sheet import STILL_CUES, draw_sheet
from crnet.simulate.sample_tiles import MOTION_CURVES, curve_tile, voice_tile, words_tile
from crnet.simulate.speech import best_voice
from crnet.simulate.write_dataset import write_dataset
from crnet.types import TARGETS

TINY = SimulationConfig(clips=6, seconds=0.6, fps=5, height=96, difficulty="easy", voice=best_voice())
LABELS = (
    "annotation_training.pkl", "annotation_validation.pkl", "annotation_test.pkl",
    "transcription_training.pkl", "transcription_validation.pkl", "transcription_test.pkl",
    "eth_gender_annotations_dev.csv", "eth_gender_annotations_test.csv", "persons.csv", "truth.parquet",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(str(tmp_path_factory.mktemp("simulated") / "out"), TINY, workers=0)


def label_hashes(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in LABELS}


def test_layout(folder: Path) -> None:
    assert {p.name for p in folder.iterdir()} == {"train", "val", "test", SIMULATED_MARKER, *LABELS}
    assert [len(list((folder / split).glob("*.mp4"))) for split in ("train", "val", "test")] == [4, 1, 1]
    marker = json.loads((folder / SIMULATED_MARKER).read_text())
    assert marker["complete"] is True
    assert marker["config"]["clips"] == 6
    assert marker["generator"] == "crnet simulate"


def test_annotations_have_the_order_of_the_release(folder: Path) -> None:
    data = (folder / "annotation_training.pkl").read_bytes()
    assert data[:2] == b"\x80\x02"
    annotation = pickle.loads(data, encoding="latin1")
    assert list(annotation) == [
        "extraversion", "neuroticism", "agreeableness", "conscientiousness", "interview", "openness",
    ]  # fmt: skip
    names = {p.name for p in (folder / "train").glob("*.mp4")}
    for target, column in annotation.items():
        assert set(column) == names
        assert {type(score) for score in column.values()} == {np.float64 if target == "interview" else float}
    transcripts = pickle.loads((folder / "transcription_training.pkl").read_bytes())
    assert set(transcripts) == names
    assert all(len(text.split()) >= 10 for text in transcripts.values())


def test_groups_and_persons(folder: Path) -> None:
    rows = list(csv.DictReader((folder / "eth_gender_annotations_dev.csv").open(), delimiter=";"))
    assert len(rows) == 5
    assert list(rows[0]) == ["VideoName", "YouTubeID", "Ethnicity", "Gender"]
    assert all(row["VideoName"].startswith(row["YouTubeID"] + ".") and len(row["YouTubeID"]) == 11 for row in rows)
    persons = list(csv.DictReader((folder / "persons.csv").open(), delimiter=";"))
    assert len(persons) == 6
    assert len({row["Person"] for row in persons}) == len({row["VideoName"][:11] for row in persons})


def test_true_values_agree_with_the_annotation(folder: Path) -> None:
    truth = {row["clip"]: row for row in pq.read_table(folder / "truth.parquet").to_pylist()}
    annotation = pickle.loads((folder / "annotation_test.pkl").read_bytes())
    for target in TARGETS:
        for clip, score in annotation[target].items():
            assert truth[clip][f"score_{target}"] == score
            assert truth[clip]["split"] == "test"
    assert {"cue_smile", "latent_smile", "look_skin_tone", "cue_words_worry"} <= set(next(iter(truth.values())))


def test_clips_are_marked_videos_with_sound(folder: Path) -> None:
    for path in folder.rglob("*.mp4"):
        with av.open(str(path)) as container:
            assert container.metadata["comment"] == SIMULATED_COMMENT
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.width, video.height) == (170, 96)
            assert float(video.average_rate) == 5.0
            assert sum(1 for _ in container.decode(video=0)) == 3
        head = path.read_bytes()[:4096]
        assert 0 < head.find(b"moov") < 64  # faststart: the index is at the beginning


def test_workers_do_not_change_any_file(folder: Path, tmp_path: Path) -> None:
    other = write_dataset(tmp_path / "out", TINY, workers=2)
    assert label_hashes(other) == label_hashes(folder)
    for path in folder.rglob("*.mp4"):
        assert path.read_bytes() == (other / path.relative_to(folder)).read_bytes()


def test_pixels_and_sound_depend_on_the_seed_alone() -> None:
    config = SimulationConfig(clips=3, seconds=0.5, fps=4, height=96, difficulty="easy", voice=best_voice())
    once, again = (
        [
            (perform(plan, config).speech.audio, np.stack(list(render_frames(perform(plan, config), config))))
            for plan in plans
        ]
        for plans in (plan_clips(config), plan_clips(config)[::-1])
    )
    for (audio, frames), (audio_again, frames_again) in zip(once, again[::-1], strict=True):
        np.testing.assert_array_equal(audio, audio_again)
        np.testing.assert_array_equal(frames, frames_again)
    other = plan_clips(SimulationConfig(clips=3, seed=1, seconds=0.5, fps=4, height=96, difficulty="easy"))
    assert [p.scores for p in other] != [p.scores for p in plan_clips(config)]


def test_a_stopped_call_resumes(folder: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []

    def stop_after_two(task: str, done: int, total: int, note: str = "") -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "out", TINY, workers=0, progress=stop_after_two)
    assert json.loads((tmp_path / "out" / SIMULATED_MARKER).read_text())["complete"] is False
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.mp4")}
    assert len(before) == 2
    write_dataset(
        tmp_path / "out", TINY, workers=0, progress=lambda task, done, total, note="": steps.append((done, total))
    )
    assert steps == [(2, 6), (3, 6), (4, 6), (5, 6), (6, 6)]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert label_hashes(tmp_path / "out") == label_hashes(folder)


def test_other_folders_and_other_configurations_are_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        write_dataset(tmp_path, TINY, workers=0)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(ConfigError, match="another configuration"):
        write_dataset(folder, replace(TINY, seed=1), workers=0)
    with pytest.raises(UsageError, match="is a file"):
        write_dataset(tmp_path / "thesis.tex", TINY, workers=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("clips", 0), ("seed", -1), ("seconds", 0.0), ("seconds", float("nan")), ("fps", 0), ("fps", 1000),
        ("height", 97), ("height", 10), ("height", 100_000), ("difficulty", "brutal"),
        ("silent", ("smell",)), ("voice", "alto"), ("label_bias", ("gender=female",)),
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused_before_anything_is_written(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(ConfigError) as error:
        write_dataset(tmp_path / "out", replace(TINY, **{name: value}), workers=0)
    assert error.value.remedy
    assert not (tmp_path / "out").exists()


def test_negative_workers_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="-1 workers"):
        write_dataset(tmp_path / "out", TINY, workers=-1)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_no_partial_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("av.container.OutputContainer.mux", full, raising=False)
    monkeypatch.setattr("crnet.simulate.encode_video.render_frames", full)
    with pytest.raises(StorageError, match="No space left"):
        write_dataset(tmp_path / "out", TINY, workers=0)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".mp4"]


@pytest.mark.parametrize("clips", [1, 4, 5, 17, 1000])
def test_split_sizes(clips: int) -> None:
    sizes = split_sizes(clips)
    assert sum(sizes.values()) == clips
    assert sizes["val"] == sizes["test"] == clips // 5


def test_splits_share_people_as_in_the_release() -> None:
    plans = plan_clips(SimulationConfig(clips=10_000, difficulty="easy"))
    training = {plan.person for plan in plans if plan.split == "train"}
    validation = [plan.person in training for plan in plans if plan.split == "val"]
    assert len(validation) == 2000
    assert sum(validation) / 2000 == pytest.approx(1674 / 2000, abs=0.03)
    assert len({plan.video_id for plan in plans}) == pytest.approx(3050, rel=0.06)
    assert len({plan.name for plan in plans}) == 10_000


@pytest.mark.parametrize("clips", [7, 503])
def test_identity_disjoint_splits_share_no_person(clips: int) -> None:
    plans = plan_clips(SimulationConfig(clips=clips, difficulty="easy", identity_disjoint=True))
    assert len(plans) == clips
    assert {s: sum(p.split == s for p in plans) for s in ("train", "val", "test")} == split_sizes(clips)
    assert len({(plan.person, plan.split) for plan in plans}) == len({plan.person for plan in plans})


def test_the_sample_sheet_is_a_png_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnet.simulate.sample_sheet.PEOPLE", 6)
    monkeypatch.setattr("crnet.simulate.sample_sheet.STILL_CUES", ("smile", "gaze"))
    monkeypatch.setattr(
        "crnet.simulate.sample_sheet.CUES", [CUE_BY_NAME[name] for name in ("nod_rate", "loudness", "words_kind")]
    )
    sheet = draw_sheet(str(tmp_path / "sheet.png"))
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_every_cue_of_face_and_scene_has_a_still_or_a_curve() -> None:
    names = {cue.name for cue in CUES if cue.modality in ("face", "scene")}
    assert names == {*STILL_CUES, *MOTION_CURVES}


@pytest.mark.parametrize("name", [cue.name for cue in CUES if cue.name not in STILL_CUES])
def test_the_ends_of_a_cue_look_different(name: str) -> None:
    tiles = []
    for value in (CUE_BY_NAME[name].low, CUE_BY_NAME[name].high):
        cues = {**middle_values(), name: value}
        if name in MOTION_CURVES:
            tiles.append(curve_tile(name, cues, (64, 36)))
        else:
            tiles.append((voice_tile if CUE_BY_NAME[name].modality == "audio" else words_tile)(cues, (64, 36)))
    assert tiles[0].shape == (36, 64, 3) and (tiles[0] != tiles[1]).any()
