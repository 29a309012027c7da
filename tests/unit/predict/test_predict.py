"""The predictor: scores, warnings, transcripts, files that cannot be scored, and the table of predictions."""

from __future__ import annotations

import copy
import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crnet import predict as predict_module
from crnet.bundle.bundle import Bundle
from crnet.bundle.runtime import open_networks
from crnet.data.dataset import collate
from crnet.data.store import as_clip_source
from crnet.data.transforms import read_sample
from crnet.errors import (
    CrnetError,
    FormatError,
    LabelError,
    MediaError,
    UsageError,
)
from crnet.fusion.fusion import system_scores
from crnet.models.inference import TorchNetworks
from crnet.predict import NO_TRANSCRIPT, Predictor
from crnet.report.prediction_csv import open_prediction_csv
from crnet.types import STREAMS, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE, Clip, Prediction
from crnet.utils.device import BFLOAT16_FLAGS, cpu_flags

MakeClip = Callable[..., Clip]


@pytest.fixture
def predictor(bundle: Bundle) -> Predictor:
    return Predictor(bundle)


@pytest.fixture
def fake_media(monkeypatch: pytest.MonkeyPatch, clip_maker: MakeClip) -> list[dict]:
    """Replace decoding: the content of a file decides what happens. Returns the list of calls."""
    calls: list[dict] = []

    def extract_clip(path: Path, **arguments: object) -> Clip:
        calls.append({"path": path, **arguments})
        if not path.is_file() or path.read_text() == "bad":
            raise MediaError("not a video", path=path, remedy="give a video")
        return clip_maker(str(arguments["clip_id"]), has_transcript=bool(arguments["transcript"]))

    monkeypatch.setattr(predict_module, "extract_clip", extract_clip)
    return calls


def test_every_stream_and_the_fusion_give_six_scores(predictor: Predictor, clip_maker: MakeClip) -> None:
    prediction = predictor.predict_clip(clip_maker("a.mp4"))
    assert prediction.clip == "a.mp4"
    assert prediction.duration_s == 0.8
    assert prediction.scores is not None
    assert tuple(prediction.scores) == TARGETS
    assert tuple(prediction.streams) == STREAMS
    for scores in (prediction.scores, *prediction.streams.values()):
        assert all(0 <= score <= 1 for score in scores.values())
    assert prediction.intervals is None
    assert prediction.error is None
    assert prediction.warnings == ()
    assert (prediction.faces.found, prediction.faces.looked_at) == (4, 4)


def test_network_outputs_outside_the_range_are_clipped(bundle: Bundle) -> None:
    features = {s: np.zeros((1, 6, 16), np.float32) for s in STREAMS}
    raw = {s: np.array([[-0.5, 0, 0.25, 1, 1.5, 0.5]], np.float32) for s in STREAMS}
    fused, streams = system_scores(bundle.fusion, features, raw)
    np.testing.assert_array_equal(streams["face"], [[0, 0, 0.25, 1, 1, 0.5]])
    assert fused.shape == (1, 6)


def test_weights_that_give_no_numbers_are_an_error_of_the_bundle(bundle: Bundle, clip_maker: MakeClip) -> None:
    networks = {stream: copy.deepcopy(net) for stream, net in bundle.networks.items()}
    for parameter in networks["face"].parameters():
        parameter.data.fill_(float("inf"))
    with pytest.raises(FormatError, match="face features are not finite") as caught:
        Predictor(replace(bundle, networks=networks, path=Path("run/bundle"))).predict_clip(clip_maker("a.mp4"))
    assert caught.value.path == Path("run/bundle")


def test_a_batch_gives_the_scores_of_its_single_clips(
    predictor: Predictor, bundle: Bundle, clip_maker: MakeClip
) -> None:
    clips = [clip_maker(f"{i}.mp4", seed=i) for i in range(3)]
    samples = [
        read_sample(as_clip_source(clip), bundle.config.transforms, None, STREAMS, clip.clip_id) for clip in clips
    ]
    fused, streams = predictor.predict_batch(collate(samples))
    for i, clip in enumerate(clips):
        alone = predictor.predict_clip(clip)
        np.testing.assert_allclose(fused[i], list(alone.scores.values()), atol=1e-5)
        np.testing.assert_allclose(streams["scene"][i], list(alone.streams["scene"].values()), atol=1e-5)
    with pytest.raises(FormatError, match="face"):
        predictor.predict_batch(collate([replace(sample, face=None) for sample in samples]))


def test_warnings_are_in_order_of_importance(predictor: Predictor, clip_maker: MakeClip) -> None:
    clip = clip_maker(simulated=False, has_transcript=False, duration_s=42.0, warnings=("there is no sound",))
    warnings = predictor.predict_clip(clip).warnings
    assert warnings[:3] == (TRAINED_ON_SYNTHETIC_PEOPLE, "there is no sound", NO_TRANSCRIPT)
    assert warnings[3].startswith("the video is 42.0 s long, but the training clips are at most 0.8 s")
    assert len(warnings) == 4


def test_a_model_of_real_people_does_not_warn_about_synthetic_people(bundle: Bundle, clip_maker: MakeClip) -> None:
    real = Predictor(replace(bundle, training_source="first-impressions-v2"))
    assert real.predict_clip(clip_maker(simulated=False, duration_s=0.3)).warnings == ()


def test_faces_are_counted_in_the_middle_frames_of_the_segments(predictor: Predictor, clip_maker: MakeClip) -> None:
    boxes = np.full((8, 4), 3, np.float32)
    boxes[:4] = np.nan
    faces = predictor.predict_clip(clip_maker(face_box=boxes)).faces
    assert (faces.found, faces.looked_at) == (2, 4)


@pytest.mark.parametrize(
    ("frames_per_segment", "frames", "expected"),
    [(None, 2, (2, 1)), (2, 4, (4, 1)), (2, 2, (4, 2)), (1, 2, (4, 1)), (None, 4, (4, 1))],
)
def test_reading_keeps_only_the_frames_that_the_networks_see(
    bundle: Bundle, frames_per_segment: int | None, frames: int, expected: tuple[int, int]
) -> None:
    config = replace(
        bundle.config,
        transforms=replace(bundle.config.transforms, frames=frames),
        model=replace(bundle.config.model, frames=frames),
    )
    predictor = Predictor(
        replace(bundle, config=config, media=dict(bundle.media) | {"frames_per_segment": frames_per_segment})
    )
    settings = predictor.media_settings()
    assert (settings.segments, settings.frames_per_segment) == expected
    assert settings.pixels == bundle.media["pixels"]


def test_media_settings_of_another_version_are_refused(bundle: Bundle) -> None:
    with pytest.raises(FormatError, match="configuration"):
        Predictor(replace(bundle, media=dict(bundle.media) | {"zoom": 3})).media_settings()


@pytest.mark.parametrize(
    ("transcript", "words"),
    [
        (None, ""),
        ("", ""),
        ("hello there", "hello there"),
        ("hello [laughs]\n there ", "hello there"),
        ("words.txt", "from a file"),
        (Path("words.txt"), "from a file"),
        ("two words.srt", "and subtitles"),
        ("I wrote it in notes.txt", "I wrote it in notes.txt"),
    ],
)
def test_a_transcript_is_a_text_or_a_file(
    transcript: str | Path | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predictor: Predictor,
    fake_media: list[dict],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("from a file")
    Path("two words.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nand subtitles\n")
    Path("video.mp4").write_text("good")
    prediction = predictor.predict("video.mp4", transcript)
    assert fake_media[0]["transcript"] == words
    assert (NO_TRANSCRIPT in prediction.warnings) == (not words)
    assert prediction.clip == "video.mp4"


def test_a_given_transcript_takes_precedence_over_a_file_beside_the_video(
    tmp_path: Path, predictor: Predictor, fake_media: list[dict]
) -> None:
    video = tmp_path / "talk.mp4"
    video.write_text("good")
    video.with_suffix(".txt").write_text("beside")
    for transcript in (None, "given", ""):
        predictor.predict(video, transcript)
    assert [call["transcript"] for call in fake_media] == ["beside", "given", ""]


@pytest.mark.parametrize("transcript", ["nowhere.txt", Path("nowhere.txt"), Path("video.mp4")])
def test_a_transcript_that_cannot_be_read_is_an_error(
    transcript: str | Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    predictor: Predictor,
    fake_media: list[dict],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("video.mp4").write_text("good")
    with pytest.raises(LabelError):
        predictor.predict("video.mp4", transcript)


def test_a_long_text_is_never_a_file_name(predictor: Predictor, tmp_path: Path, fake_media: list) -> None:
    (tmp_path / "v.mp4").write_text("good")
    text = "word " * 5_000 + "end.txt"
    predictor.predict(tmp_path / "v.mp4", text)
    assert fake_media[0]["transcript"] == text


def test_a_folder_is_not_a_video(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        predictor.predict(tmp_path)


def test_the_table_of_predictions(tmp_path: Path, predictor: Predictor, clip_maker: MakeClip) -> None:
    good = predictor.predict_clip(clip_maker('a "b", c.mp4', simulated=False))
    bad = Prediction("bad.mp4", None, None, error="bad.mp4: not a video")
    formula = Prediction("=1+1.mp4", None, None, error="=1+1.mp4: not a video")
    path = tmp_path / "out" / "scores.csv"
    with open_prediction_csv(path) as write:
        write(good)
        assert len(path.read_text().splitlines()) == 2  # on disk before the next prediction
        write(bad)
        write(formula)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["clip"] == 'a "b", c.mp4'
    assert float(rows[0]["openness"]) == good.scores["openness"]
    assert float(rows[0]["audio-text.interview"]) == good.streams["audio-text"]["interview"]
    assert rows[0]["warnings"].startswith(TRAINED_ON_SYNTHETIC_PEOPLE)
    assert rows[0]["error"] == ""
    assert rows[1]["error"] == "bad.mp4: not a video"
    assert rows[1]["openness"] == rows[1]["faces_found"] == ""
    assert (rows[2]["clip"], rows[2]["error"]) == ("'=1+1.mp4", "'=1+1.mp4: not a video")


@pytest.mark.skipif(not cpu_flags() & BFLOAT16_FLAGS, reason="this CPU has no bfloat16 instructions")
def test_bfloat16_changes_scores_slightly(bundle: Bundle, clip_maker: MakeClip) -> None:
    clip = clip_maker("a.mp4")
    scores = [
        Predictor(bundle, open_networks(bundle, "cpu", precision)).predict_clip(clip).streams["face"]
        for precision in ("float32", "bfloat16")
    ]
    float32, bfloat16 = (np.array(list(by_target.values())) for by_target in scores)
    assert 0 < np.abs(float32 - bfloat16).max() < 0.02  # bfloat16 has 8 bits: 0.004 of a value


def test_networks_that_pytorch_runs_are_in_evaluation_mode(bundle: Bundle) -> None:
    networks = {stream: copy.deepcopy(net).train() for stream, net in bundle.networks.items()}
    TorchNetworks(networks, torch.device("cpu"))
    assert all(not net.training for net in networks.values())


def test_an_unknown_encoder_is_an_error_when_the_system_is_loaded(bundle: Bundle) -> None:
    with pytest.raises(CrnetError, match="encoder"):
        Predictor(replace(bundle, encoder="skip-thoughts"))
