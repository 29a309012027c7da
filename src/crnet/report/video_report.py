"""The page of one video: one HTML file that opens offline, for a reader who has not read the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.bundle.bundle import Bundle
from crnet.evaluation.evaluate import SHORT_NAMES
from crnet.explain.explain import OVERLAY_FILE, SOUND_FILE, VideoExplanation
from crnet.explain.windows import Window
from crnet.explain.words import WordEffect
from crnet.fusion.conformal import LEVEL
from crnet.report.page import MEANINGS, NEUROTICISM, data_uri, environment
from crnet.text.base import encoder_label
from crnet.types import SAMPLE_RATE_HZ, STREAMS, TARGETS, Stream
from crnet.utils.files import read_json, write_text

LARGEST_FILM_BYTES = 6 << 20  # a larger film stays beside the page
STRONGEST_WORDS = 3
WORD_OPACITY = 0.55  # of the word with the largest effect
NOTABLE_EFFECT = 0.01  # of a word on a score; where none is as large, the colours stay pale
SMALLEST_EFFECT = 0.0005  # smaller ones would be shown as 0.000
CHART_WIDTH, CHART_HEIGHT = 600.0, 120.0
SHORT_WINDOW_S = 10.0  # windows of less begin within the same second

STREAM_WORDS: dict[Stream, str] = {
    "scene": "the whole picture",
    "face": "the face",
    "audio-text": "voice and words",
}


@dataclass(frozen=True)
class ScoreRow:
    """One target of the page. Numbers that place things are percentages of the scale from 0 to 1."""

    target: str
    meaning: str
    text: str
    score: float
    band: tuple[float, float] | None
    usual: float


@dataclass(frozen=True)
class Part:
    """A stream's contribution to one score: its number as text, and where its bar begins and how long it is, in %."""

    text: str
    left: float
    width: float
    raises: bool


@dataclass(frozen=True)
class Chart:
    """The time line of one target: points of a polyline in pixels, and the score's range in words."""

    target: str
    points: str
    dots: tuple[tuple[float, float, str], ...]
    range: str


def write_video_report(explanation: VideoExplanation, bundle: Bundle) -> Path:
    """Write `report.html`.

    Raises:
        StorageError: It cannot be written.
    """
    prediction = explanation.prediction
    rows = _score_rows(explanation, bundle)
    page = (
        environment()
        .get_template("video.html")
        .render(
            name=Path(prediction.clip).name,
            prediction=prediction,
            seen=_seen(explanation),
            rows=rows,
            level=f"{100 * LEVEL:.0f}%",
            no_intervals=_why_no_intervals(bundle) if prediction.intervals is None else "",
            calibration=bundle.calibration,
            neuroticism=NEUROTICISM,
            streams={stream: STREAM_WORDS[stream] for stream in STREAMS if stream in bundle.nets},
            stream_scores=prediction.streams,
            contributions=_contribution_rows(explanation),
            layer=explanation.layer,
            strips=_strips(explanation),
            film=_film(explanation),
            target=explanation.target,
            targets=TARGETS,
            short=SHORT_NAMES,
            sound=_file(explanation, SOUND_FILE, "image/png"),
            sound_attribution=explanation.sound,
            transcript=explanation.transcript,
            timed=any(word.timed for word in explanation.words),
            words=_coloured(explanation.word_effects, explanation.target),
            strongest=_strongest(explanation.word_effects),
            charts=_charts(explanation.windows),
            end=clock(explanation.windows[-1].end_s, fine=_is_fine(explanation.windows[-1]))
            if explanation.windows
            else "",
            windows=[_window(window) for window in explanation.windows],
            summary=explanation.summary,
            card=_card(bundle),
            training_source=bundle.training_source,
            files=sorted(explanation.files),
        )
    )
    write_text(explanation.report, page)
    return explanation.report


def _seen(explanation: VideoExplanation) -> str:
    prediction, faces = explanation.prediction, explanation.prediction.faces
    parts = [f"{prediction.duration_s:.1f} s" if prediction.duration_s is not None else ""]
    if faces is not None:
        parts.append(f"face found in {faces.found} of {faces.looked_at} frames")
    words = len(explanation.transcript.split())
    parts.append(f"{words} words" if words else "no transcript")
    return ", ".join(filter(None, parts))


def _score_rows(explanation: VideoExplanation, bundle: Bundle) -> list[ScoreRow]:
    scores, intervals = explanation.prediction.scores or {}, explanation.prediction.intervals or {}
    rows = []
    for target, median in zip(TARGETS, bundle.train_medians.tolist(), strict=True):
        ends = intervals.get(target)
        between = "" if ends is None else f" ({ends[0]:.2f} to {ends[1]:.2f}, {100 * LEVEL:.0f}%)"
        band = None if ends is None else (100 * ends[0], 100 * (ends[1] - ends[0]))
        text = f"{scores[target]:.2f}{between}"
        rows.append(ScoreRow(target, MEANINGS[target], text, 100 * scores[target], band, 100 * median))
    return rows


def _why_no_intervals(bundle: Bundle) -> str:
    if bundle.calibration is None:
        return "No intervals: this system had too few validation clips to learn how far it is off."
    return "No intervals: how far this system is off was learned from drawn people, and says nothing about this video."


def _contribution_rows(explanation: VideoExplanation) -> list[tuple[str, str, list[Part], str]]:
    """Target, base, a part for each stream, score."""
    parts = explanation.contributions
    reach = max((abs(value) for of in parts.streams.values() for value in of.values()), default=0.0) or 1.0
    return [
        (
            target,
            f"{parts.base[target]:.2f}",
            [_part(value, reach) for value in parts.streams[target].values()],
            f"{parts.total(target):.2f}",
        )
        for target in TARGETS
    ]


def _part(value: float, reach: float) -> Part:
    width = 50 * abs(value) / reach
    return Part(f"{value:+.3f}", 50.0 if value > 0 else 50 - width, width, value > 0)


def _strips(explanation: VideoExplanation) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Stream, what it sees, and its strips: what each shows and its picture."""
    streams = list(dict.fromkeys(stream for stream, _ in explanation.strips))
    names = {"frames": "frames", "features": "feature map", **{target: target for target in TARGETS}}
    return [
        (
            stream,
            STREAM_WORDS[stream],  # type: ignore[index]
            [(names[what], data_uri("image/jpeg", explanation.strips[stream, what])) for what in names],
        )
        for stream in streams
    ]


def _film(explanation: VideoExplanation) -> str:
    """The film as an address, "" if there is none or it is too large for a page."""
    path = explanation.files.get(OVERLAY_FILE)
    if path is None or path.stat().st_size > LARGEST_FILM_BYTES:
        return ""
    return data_uri("video/mp4", path.read_bytes())


def _file(explanation: VideoExplanation, name: str, kind: str) -> str:
    path = explanation.files.get(name)
    return "" if path is None else data_uri(kind, path.read_bytes())


def _coloured(effects: Sequence[WordEffect], target: str) -> list[tuple[str, str, str]]:
    """The words, the colour behind them (red raises, blue lowers), and the effect as text."""
    reach = max([abs(effect.effect[target]) for effect in effects] + [NOTABLE_EFFECT])
    return [
        (
            effect.text,
            f"rgba({'214, 69, 49' if (value := effect.effect[target]) > 0 else '49, 120, 200'}, "
            f"{WORD_OPACITY * abs(value) / reach:.2f})",
            f"{value:+.3f}",
        )
        for effect in effects
    ]


def _strongest(effects: Sequence[WordEffect]) -> list[tuple[str, str, str]]:
    """For each target, the words that raise it most and those that lower it most."""
    rows = []
    for target in TARGETS if effects else ():
        ordered = sorted(effects, key=lambda effect: -effect.effect[target])
        raising = [e for e in ordered[:STRONGEST_WORDS] if e.effect[target] >= SMALLEST_EFFECT]
        lowering = [e for e in ordered[::-1][:STRONGEST_WORDS] if e.effect[target] <= -SMALLEST_EFFECT]
        up, down = (", ".join(f"{e.text} ({e.effect[target]:+.3f})" for e in some) for some in (raising, lowering))
        rows.append((target, up, down))
    return rows


def _charts(windows: Sequence[Window]) -> list[Chart]:
    if not windows:
        return []
    end_s = windows[-1].end_s
    charts = []
    for target in TARGETS:
        values = [window.scores[target] for window in windows]
        middles_s = [(window.start_s + window.end_s) / 2 for window in windows]
        dots = tuple(
            (CHART_WIDTH * at / end_s, CHART_HEIGHT * (1 - value), f"{clock(at, fine=True)}: {value:.2f}")
            for at, value in zip(middles_s, values, strict=True)
        )
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in dots)
        charts.append(Chart(target, points, dots, f"{min(values):.2f} to {max(values):.2f}"))
    return charts


def _is_fine(window: Window) -> bool:
    """Whether its times need tenths of a second to be told from its neighbours'."""
    return window.end_s - window.start_s < SHORT_WINDOW_S


def _window(window: Window) -> dict[str, Any]:
    fine = _is_fine(window)
    return {
        "when": f"{clock(window.start_s, fine=fine)} to {clock(window.end_s, fine=fine)}",
        "face": data_uri("image/jpeg", window.face_jpeg),
        "alt": "the face in this window" if window.faces.found else "no face was found: the middle of the picture",
        "faces": f"{window.faces.found} of {window.faces.looked_at}",
        "text": window.text,
        "scores": [f"{window.scores[target]:.2f}" for target in TARGETS],
    }


def clock(seconds: float, *, fine: bool = False) -> str:
    """Minutes and seconds, as players show them; with tenths if `fine`."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths if fine else tenths // 10 * 10, 600)
    return f"{minutes}:{rest / 10:04.1f}" if fine else f"{minutes}:{rest // 10:02d}"


def _card(bundle: Bundle) -> list[tuple[str, str]]:
    """What the system is, and how good it was where it was measured."""
    config = bundle.config
    source = {
        "simulated": "drawn people (simulated): its scores of real people are meaningless",
        "first-impressions-v2": "ChaLearn First Impressions v2: YouTube clips of 15 s, judged by strangers",
        "folder": "a data set of its owner's",
    }
    facts = [
        ("trained on", source[bundle.training_source]),
        ("streams", ", ".join(f"{s} ({STREAM_WORDS[s]})" for s in config.streams)),
        (
            "sees",
            f"{config.transforms.frames} frames of {config.transforms.pixels} x {config.transforms.pixels} pixels",
        ),
        (
            "hears",
            f"{(config.transforms.audio_samples or 0) / SAMPLE_RATE_HZ:.1f} s of sound at 16 kHz, words as "
            f"{encoder_label(bundle.encoder)}",
        ),
        ("networks", f"{config.model.backbone}, width {config.model.width}, {config.model.classes} classes a target"),
        ("fusion", f"{config.fusion.mode} of the streams, {config.fusion.trees} extra-trees a target"),
        ("meant for", "research on first impressions, and on what such models pick up"),
        ("not meant for", "decisions about people: hiring, admission, diagnosis, dating, moderation"),
    ]
    if bundle.calibration is not None:
        clips = bundle.calibration.clips
        facts.insert(6, ("intervals", f"split conformal, from {clips} clips that took no part in training"))
    return facts + _measured(bundle)


def _measured(bundle: Bundle) -> list[tuple[str, str]]:
    """The figures of the run's own test, if it was evaluated."""
    if bundle.path is None:
        return []
    path = bundle.path.parent / "evaluation" / "test" / "metrics.json"
    if not path.is_file():
        return []
    document = read_json(path, "the figures of an evaluation")
    average: Mapping[str, Any] = document.get("systems", {}).get("fusion", {}).get("average", {})
    if not all(isinstance(average.get(name), float) for name in ("accuracy", "floor_accuracy", "error_removed")):
        return []
    return [
        (
            "on its test clips",
            f"1 - MAE {average['accuracy']:.3f} over {document.get('clips')} clips, where one number for everyone gets "
            f"{average['floor_accuracy']:.3f}: {100 * average['error_removed']:.0f}% of that error removed",
        )
    ]
