"""The page of one video: one HTML file that opens offline, for a reader who has not read the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnet.bundle.bundle import Bundle
from crnet.evaluation.evaluation import SHORT_NAMES
from crnet.explain.explain import VideoExplanation
from crnet.explain.windows import Window
from crnet.explain.words import WordEffect
from crnet.fusion.conformal import INTERVAL_LEVEL
from crnet.report.figure_style import LOWERS_TINT, RAISES_TINT
from crnet.report.model_facts import STREAM_INPUTS, model_facts
from crnet.report.page_templates import MEANINGS, NEUROTICISM, data_uri, render
from crnet.report.video_pictures import FEATURES, FRAMES, Strips
from crnet.types import STREAMS, TARGETS
from crnet.utils.number_format import effect_text, percent, score_text

STRONGEST_WORDS = 3
WORD_OPACITY = 0.55  # of the word with the largest effect
NOTABLE_EFFECT = 0.01  # of a word on a score; where no effect is as large, the colours stay pale
SMALLEST_EFFECT = 0.0005  # smaller ones would be shown as 0.000
CHART_WIDTH, CHART_HEIGHT = 600.0, 120.0
SHORT_WINDOW_S = 10.0  # shorter windows begin within the same second
STRIP_NAMES = {FRAMES: "frames", FEATURES: "feature map", **{target: target for target in TARGETS}}


@dataclass(frozen=True, eq=False)
class PageMedia:
    """The pictures and the video of a page.

    Attributes:
        strips: Strips of frames and heat maps.
        sound: PNG file of the sound; None without sound.
        overlay_video: mp4 file; None without visual streams, or if the file is too large for a page.
    """

    strips: Strips
    sound: bytes | None
    overlay_video: bytes | None


@dataclass(frozen=True)
class ScoreRow:
    """One target of the page. Positions are percentages of the scale from 0 to 1."""

    target: str
    meaning: str
    text: str
    score: float
    interval: tuple[float, float] | None
    median: float


@dataclass(frozen=True)
class Bar:
    """A stream's contribution to one score: its text, and the position and length of its bar in per cent."""

    text: str
    left: float
    width: float
    raises: bool


@dataclass(frozen=True)
class Chart:
    """The scores of one target over time: the points of a polyline in pixels, and the range as text."""

    target: str
    points: str
    dots: tuple[tuple[float, float, str], ...]
    range: str


def render_video_page(explanation: VideoExplanation, bundle: Bundle, media: PageMedia, files: Sequence[str]) -> str:
    """Render the page of a video.

    Args:
        explanation: The explanation.
        bundle: The system that scored the video.
        media: Pictures and video of the page.
        files: Names of the files beside the page.
    """
    context = {
        **_score_context(explanation, bundle),
        **_stream_context(explanation, bundle),
        **_picture_context(explanation, media),
        **_sound_context(explanation, media),
        **_window_context(explanation.windows),
        "summary": explanation.summary,
        "target": explanation.target,
        "targets": TARGETS,
        "card": model_facts(bundle),
        "files": files,
    }
    return render("video.html", context, sortable=False)


def _score_context(explanation: VideoExplanation, bundle: Bundle) -> dict[str, Any]:
    prediction = explanation.prediction
    return {
        "name": Path(prediction.clip).name,
        "prediction": prediction,
        "overview": _overview(explanation),
        "rows": _score_rows(explanation, bundle),
        "level": percent(INTERVAL_LEVEL, 0),
        "no_intervals": _why_no_intervals(bundle) if prediction.intervals is None else "",
        "neuroticism": NEUROTICISM,
    }


def _overview(explanation: VideoExplanation) -> str:
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
        interval = intervals.get(target)
        band = None if interval is None else (100 * interval[0], 100 * (interval[1] - interval[0]))
        text = score_text(scores[target], interval, INTERVAL_LEVEL)
        rows.append(ScoreRow(target, MEANINGS[target], text, 100 * scores[target], band, 100 * median))
    return rows


def _why_no_intervals(bundle: Bundle) -> str:
    if bundle.calibration is None:
        return "No intervals: this system had too few validation clips to measure its error."
    return "No intervals: this system's error was measured on synthetic people, which says nothing about this video."


def _stream_context(explanation: VideoExplanation, bundle: Bundle) -> dict[str, Any]:
    return {
        "streams": {stream: STREAM_INPUTS[stream] for stream in STREAMS if stream in bundle.networks},
        "stream_scores": explanation.prediction.streams,
        "contributions": _contribution_rows(explanation),
    }


def _contribution_rows(explanation: VideoExplanation) -> list[tuple[str, str, list[Bar], str]]:
    """Return target, base, a bar for each stream, and score."""
    shares = explanation.contributions
    largest = max((abs(value) for streams in shares.streams.values() for value in streams.values()), default=0.0) or 1.0
    return [
        (
            target,
            score_text(shares.base[target]),
            [_bar(value, largest) for value in shares.streams[target].values()],
            score_text(shares.total(target)),
        )
        for target in TARGETS
    ]


def _bar(value: float, largest: float) -> Bar:
    width = 50 * abs(value) / largest
    return Bar(effect_text(value), 50.0 if value > 0 else 50 - width, width, value > 0)


def _picture_context(explanation: VideoExplanation, media: PageMedia) -> dict[str, Any]:
    return {
        "layer": explanation.frames.layer,
        "strips": [
            (
                stream,
                STREAM_INPUTS[stream],
                [(name, data_uri("image/jpeg", media.strips[stream, kind])) for kind, name in STRIP_NAMES.items()],
            )
            for stream in explanation.frames.maps
        ],
        "overlay_video": "" if media.overlay_video is None else data_uri("video/mp4", media.overlay_video),
    }


def _sound_context(explanation: VideoExplanation, media: PageMedia) -> dict[str, Any]:
    return {
        "sound": "" if media.sound is None else data_uri("image/png", media.sound),
        "sound_attribution": explanation.sound,
        "transcript": explanation.transcript,
        "timed": any(word.timed for word in explanation.words),
        "words": _coloured_words(explanation.word_effects, explanation.target),
        "strongest": _strongest_words(explanation.word_effects),
    }


def _coloured_words(effects: Sequence[WordEffect], target: str) -> list[tuple[str, str, str]]:
    """Return each word, its background colour (red raises, blue lowers), and its effect as text."""
    largest = max([abs(effect.effect[target]) for effect in effects] + [NOTABLE_EFFECT])
    words = []
    for effect in effects:
        value = effect.effect[target]
        tint = RAISES_TINT if value > 0 else LOWERS_TINT
        words.append((effect.text, f"rgba({tint}, {WORD_OPACITY * abs(value) / largest:.2f})", effect_text(value)))
    return words


def _strongest_words(effects: Sequence[WordEffect]) -> list[tuple[str, str, str]]:
    """Return the words that raise and those that lower each target most."""
    rows = []
    for target in TARGETS if effects else ():
        ordered = sorted(effects, key=lambda effect: -effect.effect[target])
        raising = [e for e in ordered[:STRONGEST_WORDS] if e.effect[target] >= SMALLEST_EFFECT]
        lowering = [e for e in ordered[::-1][:STRONGEST_WORDS] if e.effect[target] <= -SMALLEST_EFFECT]
        up, down = (
            ", ".join(f"{effect.text} ({effect_text(effect.effect[target])})" for effect in side)
            for side in (raising, lowering)
        )
        rows.append((target, up, down))
    return rows


def _window_context(windows: Sequence[Window]) -> dict[str, Any]:
    return {
        "charts": _charts(windows),
        "end": clock(windows[-1].end_s, fine=_is_short(windows[-1])) if windows else "",
        "windows": [_window_row(window) for window in windows],
        "short": SHORT_NAMES,
    }


def _charts(windows: Sequence[Window]) -> list[Chart]:
    if not windows:
        return []
    end_s = windows[-1].end_s
    middles_s = [(window.start_s + window.end_s) / 2 for window in windows]
    charts = []
    for target in TARGETS:
        values = [window.scores[target] for window in windows]
        dots = tuple(
            (
                CHART_WIDTH * middle_s / end_s,
                CHART_HEIGHT * (1 - value),
                f"{clock(middle_s, fine=True)}: {score_text(value)}",
            )
            for middle_s, value in zip(middles_s, values, strict=True)
        )
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in dots)
        charts.append(Chart(target, points, dots, f"{score_text(min(values))} to {score_text(max(values))}"))
    return charts


def _is_short(window: Window) -> bool:
    """Return whether its times need tenths of a second to differ from its neighbours'."""
    return window.end_s - window.start_s < SHORT_WINDOW_S


def _window_row(window: Window) -> dict[str, Any]:
    fine = _is_short(window)
    return {
        "time": f"{clock(window.start_s, fine=fine)} to {clock(window.end_s, fine=fine)}",
        "face": data_uri("image/jpeg", window.face_jpeg),
        "alt": "the face in this window" if window.faces.found else "no face found: the middle of the picture",
        "faces": f"{window.faces.found} of {window.faces.looked_at}",
        "text": window.text,
        "scores": [score_text(window.scores[target]) for target in TARGETS],
    }


def clock(seconds: float, *, fine: bool = False) -> str:
    """Format a time as players do, in minutes and seconds; with tenths if `fine`."""
    tenths = round(10 * seconds)
    minutes, rest = divmod(tenths if fine else tenths // 10 * 10, 600)
    return f"{minutes}:{rest / 10:04.1f}" if fine else f"{minutes}:{rest // 10:02d}"
