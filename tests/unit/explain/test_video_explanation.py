"""The explanation of a small video: numbers, files and page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from crnet.bundle.bundle import Bundle
from crnet.bundle.load import load_bundle
from crnet.bundle.save import save_bundle
from crnet.cli import main as cli
from crnet.errors import LabelError, MediaError, NotScoredError, UsageError
from crnet.explain.explain import VideoExplanation, explain_video
from crnet.fusion.conformal import Calibration
from crnet.fusion.interval_width import ClipFacts
from crnet.predict import Predictor
from crnet.report.page_templates import MEANINGS
from crnet.report.video_page import clock
from crnet.report.video_report import VideoReport, write_video_report
from crnet.types import STREAMS, TARGETS, TRAINED_ON_SYNTHETIC_PEOPLE, Stream
from synthetic import make_clip

SUBTITLES = """WEBVTT

00:00.100 --> 00:00.900
we are <script>alert(1)</script> happy

00:02.000 --> 00:02.800
about "it" & more
"""


def calibrated(bundle: Bundle) -> Bundle:
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=(60, 6))
    distances = {stream: np.full(60, 1.0) for stream in STREAMS}
    calibration = Calibration.fit(truth, ClipFacts(truth + 0.1 * rng.standard_normal((60, 6)), {}, distances), "German")
    return replace(bundle, calibration=calibration)


@pytest.fixture(scope="module")
def explained(bundle: Bundle, video: Path, tmp_path_factory: pytest.TempPathFactory) -> VideoExplanation:
    subtitles = tmp_path_factory.mktemp("subtitles") / "talk.vtt"
    subtitles.write_text(SUBTITLES)
    return explain_video(Predictor(calibrated(bundle)), video, transcript=subtitles, allow_no_face=True)


@pytest.fixture(scope="module")
def report(
    explained: VideoExplanation, bundle: Bundle, video: Path, tmp_path_factory: pytest.TempPathFactory
) -> VideoReport:
    return write_video_report(explained, video, calibrated(bundle), tmp_path_factory.mktemp("report") / "deep" / "er")


@pytest.fixture(scope="module")
def page(report: VideoReport) -> str:
    return report.page.read_text()


def test_the_report_writes_every_file_it_promises(report: VideoReport) -> None:
    names = {"scene_maps.png", "face_maps.png", "overlay.mp4", "sound.png", "explanation.json"}
    names |= {f"gradcam_{target}.png" for target in TARGETS}
    assert set(report.files) == names
    for name, path in report.files.items():
        assert path.is_file() and path.name == name
        assert not name.endswith("png") or path.read_bytes().startswith(b"\x89PNG")
    assert report.page.is_file()
    with av.open(str(report.files["overlay.mp4"])) as overlay:
        stream = overlay.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert (stream.width, stream.height) == (2 * 128, 72)
        assert sum(1 for _ in overlay.decode(stream)) == 30


def test_the_numbers_agree_with_prediction(explained: VideoExplanation, bundle: Bundle, video: Path) -> None:
    plain = Predictor(calibrated(bundle)).predict(video, explained.transcript, allow_no_face=True)
    assert plain.scores == pytest.approx(explained.prediction.scores)
    for target in TARGETS:
        assert explained.contributions.total(target) == pytest.approx(explained.prediction.scores[target], abs=1e-6)
        low, high = explained.prediction.intervals[target]
        assert low <= explained.prediction.scores[target] <= high


def test_subtitles_place_the_words(explained: VideoExplanation) -> None:
    assert [word.text for word in explained.words] == ["we", "are", "alert(1)", "happy", "about", '"it"', "&", "more"]
    assert explained.words[4].start_s == 2.0 and explained.words[4].timed
    assert len(explained.word_effects) == 8
    assert [round(window.start_s, 1) for window in explained.windows] == [0, 0.5, 1, 1.5, 2]
    assert "happy" in explained.windows[0].text and "more" in explained.windows[-1].text


def test_the_document_is_json_with_everything_in_it(explained: VideoExplanation, report: VideoReport) -> None:
    document = json.loads(report.files["explanation.json"].read_text())
    assert document == json.loads(json.dumps(report.document))
    assert document == {**json.loads(json.dumps(explained.to_dict())), "files": sorted(report.files)}
    assert list(document["prediction"]["scores"]) == list(TARGETS)
    for target in TARGETS:
        parts = document["contributions"][target]
        assert list(parts) == ["base", *STREAMS]
        assert sum(parts.values()) == pytest.approx(document["prediction"]["scores"][target], abs=1e-6)
    assert len(document["windows"]) == 5 and document["sound"]["bin_s"] == 0.1


def test_the_page_stands_alone_and_escapes_text_from_outside(explained: VideoExplanation, page: str) -> None:
    assert "<b>spot" not in page and "&lt;b&gt;spot" in page
    assert "<script" not in page
    # Nothing is fetched: every address holds its file.
    assert all(address.startswith(("data:", "#")) for address in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.findall(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page
    for target, meaning in MEANINGS.items():
        assert f"<h3>{target}" in page and meaning in page
    score, (low, high) = explained.prediction.scores["openness"], explained.prediction.intervals["openness"]
    assert f"{score:.2f} ({low:.2f} to {high:.2f}, 90%)" in page
    for heading in (
        "Scores",
        "Over time",
        "What drove the scores",
        "Heat maps",
        "Sound and words",
        "Model card",
    ):
        assert re.search(rf'<h2 id="[a-z0-9-]+">{heading}</h2>', page)
    assert "not their" not in page and "Do not use these scores for decisions" in page
    assert "high score means that the person seems calm" in page
    assert "{{" not in page and "{%" not in page and "None" not in page


def test_the_time_line_can_be_read_without_its_caption(explained: VideoExplanation, page: str) -> None:
    assert '<th scope="row">0:00.5 to 0:01.5</th>' in page  # windows of a second begin within the same one
    assert page.count(">0:03.0</text>") == len(TARGETS)  # the charts' axes
    # The video shows no person, so nothing is called a face.
    assert 'alt="the face' not in page
    assert page.count('alt="no face found: the middle of the picture"') == len(explained.windows)


def test_scrolling_parts_can_be_reached_with_the_keyboard(page: str) -> None:
    scrollers = re.findall(r'<div class="(?:scroll|strips)"([^>]*)>', page)
    assert len(scrollers) == 7
    names = [re.search(r'aria-label="([^"]+)"', rest)[1] for rest in scrollers if 'tabindex="0"' in rest]
    assert len(set(names)) == len(scrollers)


@pytest.mark.parametrize(
    ("seconds", "plain", "fine"),
    [(0.0, "0:00", "0:00.0"), (59.96, "1:00", "1:00.0"), (61.25, "1:01", "1:01.2"), (3599.0, "59:59", "59:59.0")],
)
def test_times_are_written_as_players_do(seconds: float, plain: str, fine: str) -> None:
    assert (clock(seconds), clock(seconds, fine=True)) == (plain, fine)


@pytest.mark.parametrize("changes", [{"backbone": "r3d34", "audio_text": "text"}, {"audio_text": "audio"}])
def test_other_systems_are_explained_too(
    make_system: Callable[..., Predictor], video: Path, tmp_path: Path, changes: dict[str, str]
) -> None:
    system = make_system(**changes)
    explanation = explain_video(system, str(video), transcript="so it is", window_s=9.0, allow_no_face=True)
    assert explanation.windows == () and explanation.summary == {}
    assert (explanation.sound is None) == (changes.get("audio_text") == "text")
    assert bool(explanation.word_effects) == (changes.get("audio_text") != "audio")
    page = write_video_report(explanation, str(video), system.bundle, str(tmp_path)).page.read_text()
    assert "No intervals: this system had too few validation clips" in page


class FakeRecogniser:
    name = "fake"
    calls = 0

    def transcribe(self, audio: np.ndarray) -> str:
        self.calls += 1
        return "so it is"


def test_recognised_words_are_explained(make_system: Callable[..., Predictor], video: Path) -> None:
    system = make_system(("audio-text",))
    expected = system.predict(video, "so it is", allow_no_face=True)
    recogniser = system.recogniser = FakeRecogniser()
    heard = explain_video(system, video, window_s=9.0, allow_no_face=True)
    assert (heard.transcript, recogniser.calls) == ("so it is", 1)
    assert heard.prediction.scores == expected.scores
    assert [effect.text for effect in heard.word_effects] == ["so", "it", "is"]
    assert "the words are from speech recognition (fake) and may be wrong" in heard.prediction.warnings
    silent = explain_video(system, video, transcript="", window_s=9.0, allow_no_face=True)
    assert (silent.transcript, silent.word_effects, recogniser.calls) == ("", (), 1)


@pytest.mark.parametrize("stream", ["face", "audio-text"])
def test_a_single_stream_is_explained(
    make_system: Callable[..., Predictor], video: Path, tmp_path: Path, stream: Stream
) -> None:
    system = make_system((stream,))
    explanation = explain_video(system, video, transcript="", window_s=9.0, allow_no_face=True)
    report = write_video_report(explanation, video, system.bundle, tmp_path)
    assert ("overlay.mp4" in report.files) == (stream == "face")
    scores = explanation.prediction.scores
    assert all(explanation.contributions.total(t) == pytest.approx(scores[t]) for t in TARGETS)


def test_a_system_trained_on_synthetic_people_gives_no_intervals_for_others(
    explained: VideoExplanation, bundle: Bundle, video: Path, tmp_path: Path
) -> None:
    synthetic = replace(calibrated(bundle), training_source="simulated")
    real = Predictor(synthetic).predict_clip(make_clip("real.mp4", pixels=32))
    assert real.intervals is None and real.warnings[0] == TRAINED_ON_SYNTHETIC_PEOPLE
    simulated = Predictor(synthetic).predict_clip(replace(make_clip("simulated.mp4", pixels=32), simulated=True))
    assert simulated.intervals is not None and TRAINED_ON_SYNTHETIC_PEOPLE not in simulated.warnings
    page = write_video_report(replace(explained, prediction=real), video, synthetic, tmp_path).page.read_text()
    assert TRAINED_ON_SYNTHETIC_PEOPLE in page and "measured on synthetic people" in page and 'class="band"' not in page


def test_warnings_name_what_is_unlike_the_training_clips(bundle: Bundle, video: Path) -> None:
    near = calibrated(bundle)
    strict = replace(near, calibration=replace(near.calibration, distance_limit=dict.fromkeys(STREAMS, 1e-9)))
    text = "I have to say that we are so happy about this and the people in it"
    warnings = Predictor(strict).predict(video, text, allow_no_face=True).warnings
    assert "the transcript seems to be in English, but most training transcripts are in German" in warnings
    assert sum(" is unlike th" in warning and "in the training clips" in warning for warning in warnings) == 3
    wide = replace(
        near, calibration=replace(near.calibration, distance_limit=dict.fromkeys(STREAMS, 1e9), language=None)
    )
    warnings = Predictor(wide).predict(video, text, allow_no_face=True).warnings
    assert not any("training clips" in warning for warning in warnings if "long" not in warning)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"target": "charm"}, UsageError), ({"transcript": "gone.srt"}, LabelError), ({"path": "gone.mp4"}, MediaError)],
)
def test_bad_input_is_refused(
    predictor: Predictor, video: Path, arguments: dict[str, str], error: type[Exception]
) -> None:
    path = Path(arguments.get("path", video))
    with pytest.raises(error):
        explain_video(predictor, path, **{name: value for name, value in arguments.items() if name != "path"})


def test_a_video_without_a_face_is_not_explained_unless_asked_for(predictor: Predictor, video: Path) -> None:
    with pytest.raises(NotScoredError, match="no face was found in any of 4 frames"):
        explain_video(predictor, video)


def test_a_refused_video_leaves_no_folder(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "run" / "bundle")
    assert cli.main(["explain", str(tmp_path / "run"), "gone.mp4", "--out", str(tmp_path / "out")]) == 2
    assert not (tmp_path / "out").exists()


def test_the_batch_is_scored_once(predictor: Predictor, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    features = predictor.features
    monkeypatch.setattr(predictor, "features", lambda batch: calls.append(len(batch)) or features(batch))
    explain_video(predictor, video, transcript="so it is", window_s=9.0, allow_no_face=True)
    assert calls == [1]


def test_the_command_explains_videos_and_stores(
    bundle: Bundle, store: Path, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_bundle(calibrated(bundle), tmp_path / "run" / "bundle")
    assert load_bundle(tmp_path / "run").calibration == calibrated(bundle).calibration
    words = ["explain", str(tmp_path / "run")]
    assert cli.main([*words, str(video)]) == 2
    assert "no face was found in any of 4 frames" in capsys.readouterr().err
    options = ["--out", str(tmp_path / "out"), "--window-s", "9", "--allow-no-face"]
    assert cli.main([*words, str(video), *options]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"openness +0\.\d\d \(0\.\d\d to \d\.\d\d, 90%\)", shown) and "report.html" in shown
    assert cli.main([*words, str(store), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"] == 96
    assert cli.main([*words, str(store)]) == 0
    assert "73.96%" in capsys.readouterr().out
    assert cli.main([*words, str(tmp_path / "gone.mp4")]) == 2
