"""From a video file to a `Prediction`: the frames, transforms and networks of evaluation, behind one door."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from crnet.bundle import Bundle
from crnet.config import from_dict
from crnet.data.making import clip_from_video, count_faces
from crnet.data.source import find_files, is_video
from crnet.data.store import source_of
from crnet.data.transforms import collate, sample
from crnet.errors import CrnetError, LabelError, UsageError
from crnet.files import write_text
from crnet.schema import SAMPLE_RATE_HZ, STREAMS, TARGETS, Batch, Clip, Prediction, Stream
from crnet.text.encoders import encoder_by_name
from crnet.text.transcripts import SUFFIXES, clean_transcript, find_sidecar, read_transcript

if TYPE_CHECKING:
    from crnet.media.reader import MediaSettings

DRAWN_PEOPLE = "trained on drawn people: scores of real people are meaningless"
"""First warning wherever a model of simulated people meets anything else."""

NO_TRANSCRIPT = "no transcript: the audio-text stream hears the sound alone"
LONGER_BY_S = 0.5  # a clip may exceed the longest training clip by so much without a word
LONGEST_FILE_NAME = 255  # what file systems allow; a longer text is no file

Scores = NDArray[np.float64]


def system_scores(
    bundle: Bundle, features: Mapping[Stream, ArrayLike], scores: Mapping[Stream, ArrayLike]
) -> tuple[Scores, dict[Stream, Scores]]:
    """What a bundle says of N clips whose features are known; evaluation and prediction both end here.

    The networks' outputs are not bounded, the scores they estimate are: a stream's score is clipped to [0, 1]. The
    trees answer within the range of the training scores by themselves.

    Args:
        bundle: The trained system.
        features: [N, 6, F] of each stream.
        scores: [N, 6] of each stream, as the network gave them.

    Returns:
        The fused scores [N, 6], and those of each stream, all in [0, 1].
    """
    streams = {s: np.clip(np.asarray(scores[s], dtype=np.float64), 0, 1) for s in STREAMS if s in scores}
    return np.clip(bundle.fusion.predict(features), 0, 1), streams


class Predictor:
    """A trained system, ready to score videos. `crnet.load(run)` makes one.

    Args:
        bundle: The trained system.
        device: Where the networks compute; None leaves them where they are (the CPU, after loading).
    """

    def __init__(self, bundle: Bundle, device: torch.device | None = None) -> None:
        self.bundle = bundle
        self._device = device or torch.device("cpu")
        self._encoder = encoder_by_name(bundle.encoder)
        for net in bundle.nets.values():
            net.to(self._device).eval()

    def predict(self, path: Path | str, transcript: str | Path | None = None) -> Prediction:
        """Score one video.

        Args:
            path: Any video that FFmpeg reads, with one person talking to the camera.
            transcript: What is said, or a `.txt`, `.srt` or `.vtt` file of it. By default such a file beside the
                video is taken (`talk.srt` beside `talk.mp4`); "" means that nothing is said.

        Raises:
            MediaError: The video cannot be read.
            LabelError: The transcript cannot be read.
        """
        if Path(path).is_dir():
            raise UsageError("a folder, and no videos are in it or below", path=path, remedy="name a video")
        clip = clip_from_video(
            Path(path),
            clip_id=str(path),
            transcript=_transcript_of(Path(path), transcript),
            encoder=self._encoder,
            settings=self._media_settings(),
        )
        return self.predict_clip(clip)

    def predict_many(self, paths: Iterable[Path | str], transcript: str | Path | None = None) -> Iterator[Prediction]:
        """Score videos one after the other; a file that cannot be scored yields a `Prediction` with its `error`.

        Args:
            paths: Videos, and folders of them, which are searched at any depth.
            transcript: As in `predict`, for all of them.
        """
        for path in paths:
            for video in list_videos([path]):
                try:
                    yield self.predict(video, transcript)
                except CrnetError as error:
                    yield Prediction(str(video), None, None, error=str(error))

    def predict_clip(self, clip: Clip) -> Prediction:
        """Score a clip that is already decoded, such as one of a store.

        Raises:
            FormatError: The clip is damaged.
            ConfigError: The clip has another number of segments than the system's frames can be drawn from.
        """
        seen = sample(source_of(clip), self.bundle.config.transforms, None, tuple(self.bundle.nets), clip.clip_id)
        fused, streams = self.predict_batch(collate([seen]))
        return Prediction(
            clip=clip.clip_id,
            duration_s=clip.duration_s,
            scores=_by_target(fused[0]),
            streams={stream: _by_target(scores[0]) for stream, scores in streams.items()},
            faces=count_faces(source_of(clip), clip.face_box),
            warnings=tuple(self._warnings(clip)),
        )

    def predict_batch(self, batch: Batch) -> tuple[Scores, dict[Stream, Scores]]:
        """Fused scores [B, 6] and those of each stream, in [0, 1], of samples that are ready for the models.

        Raises:
            FormatError: The batch lacks a stream that the system needs.
        """
        features: dict[Stream, NDArray[np.float32]] = {}
        scores: dict[Stream, NDArray[np.float32]] = {}
        with torch.inference_mode():
            on_device = batch.to(self._device)
            for stream, net in self.bundle.nets.items():
                output = net(on_device)
                features[stream] = output.features.float().cpu().numpy()
                scores[stream] = output.scores.float().cpu().numpy()
        return system_scores(self.bundle, features, scores)

    def _media_settings(self) -> MediaSettings:
        """The training clips' settings, keeping only the frames that the networks are shown.

        Where the training store kept all frames, those are the frames nearest the middles of the parts; where it kept
        a few of each segment, they are drawn from the same few, unless a part is a segment: then they are its middle.
        """
        from crnet.media.reader import MediaSettings

        settings = from_dict(MediaSettings, dict(self.bundle.media), self.bundle.path or Path())
        frames = self.bundle.config.transforms.frames
        if settings.frames_per_segment is None or settings.segments == frames:
            return replace(settings, segments=frames, frames_per_segment=1)
        return settings

    def _warnings(self, clip: Clip) -> Iterator[str]:
        if self.bundle.training_source == "simulated" and not clip.simulated:
            yield DRAWN_PEOPLE
        yield from clip.warnings
        if not clip.has_transcript and "audio-text" in self.bundle.nets and NO_TRANSCRIPT not in clip.warnings:
            yield NO_TRANSCRIPT
        longest_s = self.bundle.config.transforms.audio_samples / SAMPLE_RATE_HZ
        if clip.duration_s > longest_s + LONGER_BY_S:
            yield (
                f"{clip.duration_s:.1f} s long, the training clips at most {longest_s:.1f} s: "
                "later sound is not heard, and the frames lie further apart"
            )


def list_videos(paths: Iterable[Path | str]) -> list[Path]:
    """The files given, and the videos below each folder given, in a stable order; a folder without any stays as it is.

    Nothing is looked into: a file that is missing or no video is kept, for its error to be told.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        below = [file for file in find_files(path) if is_video(file.name)] if path.is_dir() else []
        found += below or [path]
    return found


def write_predictions(predictions: Iterable[Prediction], path: Path) -> None:
    """Write predictions as a CSV table, one row a clip: scores, each stream's scores, faces, warnings, error.

    Raises:
        StorageError: The file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    of_streams = [f"{stream}.{target}" for stream in STREAMS for target in TARGETS]
    table.writerow(["clip", "duration_s", *TARGETS, *of_streams, "faces_found", "faces_looked_at", "warnings", "error"])
    for one in predictions:
        scores = [(one.scores or {}).get(target) for target in TARGETS]
        streams = [one.streams.get(stream, {}).get(target) for stream in STREAMS for target in TARGETS]
        faces = (None, None) if one.faces is None else (one.faces.found, one.faces.looked_at)
        table.writerow([one.clip, one.duration_s, *scores, *streams, *faces, "; ".join(one.warnings), one.error])
    write_text(path, text.getvalue())


def _by_target(scores: Scores) -> dict[str, float]:
    return {target: float(score) for target, score in zip(TARGETS, scores, strict=True)}


def _transcript_of(video: Path, transcript: str | Path | None) -> str:
    """What is said, from what the caller gave or from a file beside the video; "" if there is none."""
    if transcript is None:
        beside = find_sidecar(video)
        return "" if beside is None else read_transcript(beside)
    if isinstance(transcript, Path):
        return read_transcript(transcript)
    # One word that ends like a transcript's file name is meant as a file, whether it is there or not.
    named = transcript.strip()
    if named.lower().endswith(SUFFIXES) and len(named) <= LONGEST_FILE_NAME and "\n" not in named:
        if Path(named).is_file():
            return read_transcript(Path(named))
        if " " not in named:
            raise LabelError("transcript not found", path=named, remedy="give a file that exists, or the text itself")
    return clean_transcript(transcript)
