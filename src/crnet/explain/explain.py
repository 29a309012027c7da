"""Everything that can be told about the scores of one video: what `crnet explain RUN VIDEO` does.

    explanation = explain_video(crnet.load("runs/paper"), Path("talk.mp4"), Path("talk-explained"))

Leaves in the folder:

    report.html              all of it on one page
    explanation.json         the same as numbers
    scene_maps.png           feature maps (Sec. 5.6) of every frame, one sheet a visual stream
    face_maps.png
    gradcam_<target>.png     Grad-CAM of every frame of both visual streams, one sheet a target
    overlay.mp4              the video under Grad-CAM
    sound.png                the sound, its words, and which moments raise or lower each score
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crnet.data.store import source_of
from crnet.data.transforms import choose_frames
from crnet.errors import UsageError
from crnet.explain.contributions import Contributions, contributions
from crnet.explain.heat_maps import Layer, Maps, default_layer, look
from crnet.explain.sound import BIN_S, SoundAttribution, attribute_sound, sound_figure
from crnet.explain.windows import Window, is_long, score_windows, summary
from crnet.explain.words import Word, WordEffect, align, occlude
from crnet.models.crnet import StreamNet
from crnet.predict import Predictor
from crnet.report.overlay_video import Heat, face_squares, write_film
from crnet.report.pictures import Picture, Row, contact_sheet, jpeg_of, png_of, strip, with_feature_map, with_gradcam
from crnet.report.style import png
from crnet.text.transcripts import find_transcript, read_cues
from crnet.types import TARGETS, Batch, Clip, Prediction, Stream
from crnet.utils.files import write_bytes, write_json
from crnet.utils.progress import Progress, no_progress

EXPLANATION_FILE = "explanation.json"
OVERLAY_FILE = "overlay.mp4"
SOUND_FILE = "sound.png"
STRIP_FRAMES = 8  # of a sheet, shown on the page
STEPS = 8

FEATURE_NOTE = (
    "Below each frame its feature map, mean of {layer}'s channels, each scaled to its own range: blue to red."
)
GRADCAM_NOTE = "Red raises the score of this target, blue lowers it; read from {layer}, to one scale over the clip."


@dataclass(frozen=True, eq=False)
class VideoExplanation:
    """What was found, and where it lies.

    Attributes:
        prediction: The scores, as `crnet predict` gives them.
        transcript: What is said.
        target: The target that the overlay film and the coloured transcript show.
        layer: The stage of the backbones that the maps are read from.
        contributions: What each stream brought to each score.
        words: The transcript with times.
        word_effects: What each word brings to the fused scores; empty without a transcript.
        sound: What the sound brings to the audio-text stream's scores; None without sound or that stream.
        windows: Of a long video, every window in order of time; empty for a short one.
        summary: Of a long video, mean, lowest and highest score of each target over the windows.
        files: What was written, by name.
        report: The page.
        strips: Pictures of the page, JPEG files by (stream, target or "features").
    """

    prediction: Prediction
    transcript: str
    target: str
    layer: Layer
    contributions: Contributions
    words: tuple[Word, ...]
    word_effects: tuple[WordEffect, ...]
    sound: SoundAttribution | None
    windows: tuple[Window, ...]
    summary: Mapping[str, Mapping[str, float]]
    files: Mapping[str, Path]
    report: Path
    strips: Mapping[tuple[str, str], bytes] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """The document that `explanation.json` holds."""
        parts = self.contributions
        return {
            "prediction": self.prediction.to_dict(),
            "transcript": self.transcript,
            "layer": self.layer,
            "contributions": {t: {"base": parts.base[t], **parts.streams[t]} for t in TARGETS},
            "words": [
                {
                    "words": effect.text,
                    "start_s": effect.words[0].start_s,
                    "end_s": effect.words[-1].end_s,
                    "timed": effect.words[0].timed,
                    "effect": dict(effect.effect),
                }
                for effect in self.word_effects
            ],
            "sound": None
            if self.sound is None
            else {
                "bin_s": BIN_S,
                "bins": dict(zip(TARGETS, self.sound.bins.tolist(), strict=True)),
                "total": dict(zip(TARGETS, self.sound.total.tolist(), strict=True)),
                "gap": self.sound.gap,
            },
            "windows": [
                {
                    "start_s": window.start_s,
                    "end_s": window.end_s,
                    "scores": dict(window.scores),
                    "faces": {"found": window.faces.found, "looked_at": window.faces.looked_at},
                    "text": window.text,
                }
                for window in self.windows
            ],
            "summary": {target: dict(values) for target, values in self.summary.items()},
            "files": sorted(self.files),
        }


def explain_video(
    predictor: Predictor,
    path: Path,
    out: Path,
    *,
    transcript: str | Path | None = None,
    target: str = "interview",
    layer: Layer | None = None,
    window_s: float | None = None,
    stride_s: float | None = None,
    progress: Progress = no_progress,
) -> VideoExplanation:
    """Score a video and explain the scores.

    Args:
        predictor: The system.
        path: The video.
        out: A folder; files of earlier explanations in it are written over.
        transcript: As in `Predictor.predict`. Subtitles with times place the words exactly.
        target: Which target's Grad-CAM the film shows.
        layer: The stage of the backbones to read; by default `crnet.explain.heat_maps.default_layer`.
        window_s, stride_s: See `crnet.explain.windows.score_windows`.
        progress: Told after every step.

    Raises:
        MediaError: The video cannot be read.
        LabelError: The transcript cannot be read.
        UsageError: No such target.
        StorageError: The folder cannot be written.
    """
    from crnet.report.video_report import write_video_report

    if target not in TARGETS:
        raise UsageError(f"no target {target!r}", remedy=f"one of {', '.join(TARGETS)}")
    stages = _Stages(progress)
    written = find_transcript(path, transcript)
    cues = () if written.file is None else read_cues(written.file)
    stages.next("reading the video")
    clip = predictor.read(path, written)
    text = written.text or clip.recognised
    stages.next("scoring")
    batch = predictor.batch(clip)
    features, scores = predictor.features(batch)
    prediction = predictor.report(clip, features, scores, text)
    stages.next("heat maps")
    shown = _Shown(predictor, clip, batch, layer)
    pictures, strips = shown.sheets()
    stages.next("overlay film")
    files = _write_pictures(out, pictures)
    if shown.maps:
        files[OVERLAY_FILE] = out / OVERLAY_FILE
        write_film(out / OVERLAY_FILE, path, shown.heat(target), progress)
    stages.next("words")
    words = align(text, cues, clip.audio, clip.duration_s)
    effects = occlude(predictor, batch, features, words, progress)
    stages.next("sound")
    sound = _attribute(predictor, clip, batch, progress)
    if clip.has_audio:
        heard = clip.audio[: predictor.bundle.config.transforms.audio_samples]
        files[SOUND_FILE] = out / SOUND_FILE
        write_bytes(out / SOUND_FILE, png(sound_figure(heard, words, sound)))
    stages.next("windows")
    windows: tuple[Window, ...] = ()
    if is_long(predictor, clip.duration_s, window_s):
        windows = score_windows(
            predictor, path, clip.duration_s, words, window_s=window_s, stride_s=stride_s, progress=progress
        )
    stages.next("report")
    files[EXPLANATION_FILE] = out / EXPLANATION_FILE
    explanation = VideoExplanation(
        prediction=prediction,
        transcript=text,
        target=target,
        layer=shown.layer,
        contributions=contributions(predictor.bundle, features),
        words=words,
        word_effects=effects,
        sound=sound,
        windows=windows,
        summary=summary(windows) if windows else {},
        files=files,
        report=out / "report.html",
        strips=strips,
    )
    write_json(out / EXPLANATION_FILE, explanation.to_dict())
    write_video_report(explanation, predictor.bundle)
    stages.next("done")
    return explanation


class _Stages:
    """Tells which of the steps of an explanation is going on."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.done = -1

    def next(self, name: str) -> None:
        self.done += 1
        self.progress("explaining", min(self.done, STEPS), STEPS, name)


class _Shown:
    """The frames that the visual streams were shown, and where they looked."""

    def __init__(self, predictor: Predictor, clip: Clip, batch: Batch, layer: Layer | None) -> None:
        config = predictor.bundle.config.transforms
        self.layer: Layer = layer or default_layer(config.pixels)
        self.frames = choose_frames(source_of(clip), config.frames, None)
        self.times_s = clip.time_s[self.frames].tolist()
        nets: dict[Stream, StreamNet] = {s: net for s, net in predictor.bundle.nets.items() if s != "audio-text"}
        self.pictures: dict[Stream, list[Picture]] = {stream: _frames_of(batch, stream) for stream in nets}
        self.maps: dict[Stream, Maps] = {
            stream: look(net, batch.to(next(net.parameters()).device), self.layer) for stream, net in nets.items()
        }
        self.boxes = face_squares(clip, self.frames, float(predictor.bundle.media["face_margin"]))

    def sheets(self) -> tuple[dict[str, Picture], dict[tuple[str, str], bytes]]:
        """Every contact sheet by the name of its file, and strips of a few frames for the page."""
        sheets: dict[str, Picture] = {}
        strips: dict[tuple[str, str], bytes] = {}
        few = np.unique(np.linspace(0, len(self.frames) - 1, STRIP_FRAMES).round().astype(int)).tolist()
        for stream, maps in self.maps.items():
            pictures = self.pictures[stream]
            under = [with_feature_map(p, heat) for p, heat in zip(pictures, maps.features, strict=True)]
            rows = [Row("the frames as the network sees them", pictures, self.times_s)]
            rows.append(Row("their feature maps", under, self.times_s))
            note = FEATURE_NOTE.format(layer=self.layer)
            sheets[f"{stream}_maps.png"] = contact_sheet(f"{stream} stream: feature maps", note, rows)
            strips[stream, "frames"] = jpeg_of(strip([pictures[i] for i in few]))
            strips[stream, "features"] = jpeg_of(strip([under[i] for i in few]))
        for number, target in enumerate(TARGETS):
            rows = []
            for stream, maps in self.maps.items():
                under = [
                    with_gradcam(p, heat) for p, heat in zip(self.pictures[stream], maps.gradcam[number], strict=True)
                ]
                rows.append(Row(f"{stream} stream", under, self.times_s))
                strips[stream, target] = jpeg_of(strip([under[i] for i in few]))
            if rows:
                note = GRADCAM_NOTE.format(layer=self.layer)
                sheets[f"gradcam_{target}.png"] = contact_sheet(f"{target}: Grad-CAM", note, rows)
        return sheets, strips

    def heat(self, target: str) -> list[Heat]:
        """The panels of the film."""
        number, time_s = TARGETS.index(target), np.array(self.times_s)
        return [
            Heat(time_s, maps.gradcam[number], self.boxes if stream == "face" else None)
            for stream, maps in self.maps.items()
        ]


def _frames_of(batch: Batch, stream: Stream) -> list[Picture]:
    """The frames of a batch of one clip, as pictures [P, P, 3]."""
    frames = batch.scene if stream == "scene" else batch.face
    assert frames is not None  # noqa: S101  (a system with this stream was given its frames)
    return list(frames[0].permute(0, 2, 3, 1).numpy())


def _write_pictures(out: Path, pictures: Mapping[str, Picture]) -> dict[str, Path]:
    for name, picture in pictures.items():
        write_bytes(out / name, png_of(picture))
    return {name: out / name for name in pictures}


def _attribute(predictor: Predictor, clip: Clip, batch: Batch, progress: Progress) -> SoundAttribution | None:
    """What the sound does; None where there is none, or a system that does not hear."""
    bundle = predictor.bundle
    if not clip.has_audio or "audio-text" not in bundle.nets or bundle.config.model.audio_text == "text":
        return None
    net = bundle.nets["audio-text"]
    heard = min(len(clip.audio), batch.audio.shape[1]) if batch.audio is not None else 0
    return attribute_sound(net, batch.to(next(net.parameters()).device), heard, progress=progress)
