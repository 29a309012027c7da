"""Explain the scores of one video: numbers and arrays only; `crnet.report.video_report` turns them into files.

explanation = explain_video(crnet.load("runs/paper"), "talk.mp4")
explanation.to_dict()                                          # a JSON document
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crnet.bundle.stored_networks import why_no_gradients
from crnet.errors import UsageError
from crnet.explain.contributions import Contributions, contributions
from crnet.explain.frame_maps import FrameMaps, map_frames
from crnet.explain.layers import Layer
from crnet.explain.sound import BIN_S, SoundAttribution, attribute_sound
from crnet.explain.windows import Window, is_long, score_windows, summarise
from crnet.explain.words import Word, WordEffect, align, occlude
from crnet.media.video import probe
from crnet.predict import Predictor
from crnet.text.subtitles import Cue
from crnet.text.transcripts import find_transcript, read_cues
from crnet.types import TARGETS, Batch, Clip, Prediction, Stream
from crnet.utils.progress import Progress, no_progress

logger = logging.getLogger(__name__)

TASK = "explaining"
STEPS = ("reading the video", "scoring", "heat maps", "words", "sound", "windows")
DONE = "done"


@dataclass(frozen=True, eq=False)
class VideoExplanation:
    """The scores of a video and everything that explains them.

    Attributes:
        prediction: The scores, as `crnet predict` gives them.
        transcript: The spoken words; "" if there is no transcript.
        target: The target that the overlay video and the coloured transcript show.
        frames: The frames that the visual streams saw, with their heat maps.
        contributions: The contribution of each stream to each score.
        words: The transcript with times.
        word_effects: The effect of each word on the fused scores; empty without a transcript.
        audio: int16 [n] at 16 kHz, the part of the sound that the audio-text stream hears; empty without sound.
        sound: The effect of the sound on the audio-text stream's scores; None without sound or without that stream, and
            like the heat maps, where gradients cannot be computed.
        windows: Every window of a long video in order of time; empty for a short one.
        summary: Mean, lowest and highest score of each target over the windows; empty without windows.
    """

    prediction: Prediction
    transcript: str
    target: str
    frames: FrameMaps
    contributions: Contributions
    words: tuple[Word, ...]
    word_effects: tuple[WordEffect, ...]
    audio: NDArray[np.int16]
    sound: SoundAttribution | None
    windows: tuple[Window, ...]
    summary: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as a JSON document, without pictures and heat maps."""
        shares = self.contributions
        return {
            "prediction": self.prediction.to_dict(),
            "transcript": self.transcript,
            "layer": self.frames.layer,
            "contributions": {t: {"base": shares.base[t], **shares.streams[t]} for t in TARGETS},
            "words": [_word_document(effect) for effect in self.word_effects],
            "sound": None if self.sound is None else _sound_document(self.sound),
            "windows": [_window_document(window) for window in self.windows],
            "summary": {target: dict(values) for target, values in self.summary.items()},
        }


def explain_video(
    predictor: Predictor,
    path: Path | str,
    *,
    transcript: str | Path | None = None,
    target: str = "interview",
    layer: Layer | None = None,
    window_s: float | None = None,
    stride_s: float | None = None,
    allow_no_face: bool = False,
    progress: Progress = no_progress,
    on_scores: Callable[[Prediction], None] = lambda _: None,
) -> VideoExplanation:
    """Score a video and explain the scores.

    Args:
        predictor: The trained system.
        path: The video.
        transcript: As in `Predictor.predict`. Subtitles with times place the words exactly.
        target: The target that the overlay video and the coloured transcript show.
        layer: The backbone stage to read; by default `crnet.explain.heat_maps.default_layer`.
        window_s, stride_s: See `crnet.explain.windows.score_windows`.
        allow_no_face: As in `Predictor.predict`.
        progress: Called before every step.
        on_scores: Called with the scores as soon as they are known; the explanation takes several times as long.

    Raises:
        MediaError: The video cannot be read.
        NotScoredError: It shows no face in any frame, or is a still picture.
        LabelError: The transcript cannot be read.
        UsageError: The target does not exist.
    """
    if target not in TARGETS:
        raise UsageError(f"no target {target!r}", remedy=f"choose one of {', '.join(TARGETS)}")
    steps = _Steps(progress)
    video = _score(predictor, Path(path), transcript, steps, allow_no_face=allow_no_face)
    on_scores(video.prediction)
    return _explain(predictor, video, target, layer, window_s, stride_s, steps)


@dataclass(frozen=True, eq=False)
class _ScoredVideo:
    """A video after scoring, with everything that its explanation needs.

    Attributes:
        path: The video.
        clip: The decoded video.
        text, cues: The transcript, and the subtitles that it comes from, if any.
        batch: The clip as the networks see it.
        features: [1, 6, F] for each stream.
        stream_scores: [1, 6] for each stream, not clipped.
        prediction: The scores.
    """

    path: Path
    clip: Clip
    text: str
    cues: Sequence[Cue]
    batch: Batch
    features: Mapping[Stream, NDArray[np.float32]]
    stream_scores: Mapping[Stream, NDArray[np.float32]]
    prediction: Prediction


def _score(
    predictor: Predictor, path: Path, transcript: str | Path | None, steps: _Steps, *, allow_no_face: bool
) -> _ScoredVideo:
    """Read and score a video; the networks run once."""
    steps.next()
    written = find_transcript(path, transcript)
    cues = () if written.file is None else read_cues(written.file)
    clip = predictor.read(path, written, allow_no_face=allow_no_face)
    text = written.text or clip.recognised
    steps.next()
    batch = predictor.batch(clip)
    features, stream_scores = predictor.features(batch)
    prediction = predictor.report(clip, features, stream_scores, text)
    return _ScoredVideo(path, clip, text, cues, batch, features, stream_scores, prediction)


def _cues_of_clip(video: _ScoredVideo) -> list[Cue]:
    """Return the subtitles on the clock of the clip, whose zero is the first picture."""
    if not video.cues:
        return []
    late_s = probe(video.path).timeline.late_picture_s
    return [replace(cue, start_s=cue.start_s - late_s, end_s=cue.end_s - late_s) for cue in video.cues]


def _explain(
    predictor: Predictor,
    video: _ScoredVideo,
    target: str,
    layer: Layer | None,
    window_s: float | None,
    stride_s: float | None,
    steps: _Steps,
) -> VideoExplanation:
    clip, bundle, progress = video.clip, predictor.bundle, steps.progress
    steps.next()
    no_gradients = why_no_gradients(bundle.networks)
    if no_gradients is not None:
        logger.warning("no heat maps, and no effect of the sound: %s", no_gradients)
    frames = map_frames(bundle, clip, video.batch, layer, gradients=no_gradients is None)
    steps.next()
    words = align(video.text, _cues_of_clip(video), clip.audio, clip.duration_s)
    word_effects = occlude(predictor, video.batch, video.features, video.stream_scores, words, progress)
    steps.next()
    sound = None if no_gradients else _attribute_sound(predictor, clip, video.batch, progress)
    steps.next()
    windows: tuple[Window, ...] = ()
    if is_long(predictor, clip.duration_s, window_s):
        windows = score_windows(predictor, video.path, clip.duration_s, words, window_s, stride_s, progress)
    steps.next()
    return VideoExplanation(
        prediction=video.prediction,
        transcript=video.text,
        target=target,
        frames=frames,
        contributions=contributions(bundle, video.features, video.stream_scores),
        words=words,
        word_effects=word_effects,
        audio=clip.audio[: bundle.config.transforms.audio_samples],
        sound=sound,
        windows=windows,
        summary=summarise(windows) if windows else {},
    )


class _Steps:
    """Reports the current step of an explanation."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._names = iter((*enumerate(STEPS), (len(STEPS), DONE)))

    def next(self) -> None:
        number, name = next(self._names)
        self.progress(TASK, number, len(STEPS), name)


def _attribute_sound(predictor: Predictor, clip: Clip, batch: Batch, progress: Progress) -> SoundAttribution | None:
    """Return the effect of the sound, or None without sound or in a system that does not hear."""
    bundle = predictor.bundle
    if not clip.has_audio or "audio-text" not in bundle.networks or bundle.config.model.audio_text == "text":
        return None
    net = bundle.networks["audio-text"]
    audio_samples = min(len(clip.audio), batch.audio.shape[1]) if batch.audio is not None else 0
    return attribute_sound(net, batch.to(next(net.parameters()).device), audio_samples, progress=progress)


def _word_document(effect: WordEffect) -> dict[str, Any]:
    return {
        "words": effect.text,
        "start_s": effect.words[0].start_s,
        "end_s": effect.words[-1].end_s,
        "timed": effect.words[0].timed,
        "effect": dict(effect.effect),
    }


def _sound_document(sound: SoundAttribution) -> dict[str, Any]:
    return {
        "bin_s": BIN_S,
        "bins": dict(zip(TARGETS, sound.bins.tolist(), strict=True)),
        "total": dict(zip(TARGETS, sound.total.tolist(), strict=True)),
        "gap": sound.gap,
    }


def _window_document(window: Window) -> dict[str, Any]:
    return {
        "start_s": window.start_s,
        "end_s": window.end_s,
        "scores": dict(window.scores),
        "faces": {"found": window.faces.found, "looked_at": window.faces.looked_at},
        "text": window.text,
    }
